"""Kills a preparation at random moments with SIGKILL, restarts it, and compares the final datasets.

python -m benchmarks.proofs.kill_preparation 10 [--clips=40] [--seed=0]

The dataset must have the same content as one whose preparation was never interrupted, no worker may outlive its
parent, and no partially written dataset may be accepted as complete.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = ("times", "face_found", "landmarks", "audio", "labels")


def command(corpus: Path, out: Path, processes: int = 2) -> list[str]:
    """The command that prepares the clips of a folder."""
    options = ["--detector=haar", "--max-frames=8", "--face-size=48", f"--processes={processes}"]
    return [sys.executable, "-m", "data_prep", "--corpus=vidmimic2", f"--source={corpus}", f"--out={out}", *options]


def run_to_end(corpus: Path, out: Path) -> float:
    """Prepares without interruption; returns the seconds it took."""
    started = time.monotonic()
    subprocess.run(command(corpus, out), cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def kill_at(corpus: Path, out: Path, staged: int, delay: float) -> bool:
    """Starts the preparation and kills it; returns whether it was still running.

    Args:
        corpus: the folder of clips.
        out: the data folder.
        staged: the number of finished clips at which to kill it; if there are fewer clips, when the dataset is written.
        delay: seconds to wait after that.

    Raises:
        AssertionError: its workers outlived it.
    """
    process = subprocess.Popen(
        command(corpus, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while finished(out) < staged and not (out / ".building").exists() and process.poll() is None:
        time.sleep(0.002)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()  # only this process: its workers must exit by themselves
        process.wait()
        deadline = time.monotonic() + 300
        while _group_lives(process.pid):
            assert time.monotonic() < deadline, "workers outlive the preparation that was killed"
            time.sleep(0.02)
        return True
    return False


def finished(out: Path) -> int:
    """The number of clips in the staging folder."""
    return len(list((out / "staging").glob("[!.]*.safetensors")))


def content(out: Path) -> dict[tuple[str, str], str]:
    """A hash of each example of the dataset in `out`, by split and clip."""
    from data_prep.build.dataset import open_dataset

    builder = open_dataset(out)
    return {
        (split, example["id"].decode()): hashlib.sha256(
            b"\0".join([*example["faces"], *(example[name].tobytes() for name in ARRAYS), example["transcript"]])
        ).hexdigest()
        for split in builder.info.splits
        for example in builder.as_data_source(split)
    }


def _group_lives(group: int) -> bool:
    """Whether any process of the group is still running, not counting zombies."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def main() -> None:
    """Prints what happened at each kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=10)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from data_prep.build.dataset import dataset_path
    from data_prep.corpora.synthetic import write_synthetic

    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        half = arguments.clips // 4
        write_synthetic(root / "corpus", {"train": 2 * half, "valid": half, "test": half}, 1, os.cpu_count() or 1)
        whole = run_to_end(root / "corpus", root / "never stopped")
        expected = content(root / "never stopped")
        print(f"never stopped: {len(expected)} clips in {whole:.1f} s")
        for number in range(arguments.kills):
            out = root / f"killed {number}"
            moments = []
            for _ in range(2):  # the second one kills the restart
                if not kill_at(root / "corpus", out, chance.randint(0, len(expected) + 1), chance.uniform(0.0, 0.5)):
                    break
                there = dataset_path(out).is_dir()
                assert not there or content(out) == expected, "a half-written dataset passes for whole"
                moments.append("with the dataset there" if there else f"with {finished(out)} clips staged")
            run_to_end(root / "corpus", out)
            assert content(out) == expected, "the content is another"
            left = sorted(path.name for path in out.iterdir())
            assert left == [".lock", "emi", "report.html", "report.json"], left
            print(f"killed {' and '.join(moments) or 'too late'}: equal in content")


if __name__ == "__main__":
    main()
