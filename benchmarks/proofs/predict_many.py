"""Predicts many short clips with a tiny trained run, and reports the memory of the process during prediction.

python -m benchmarks.proofs.predict_many [--clips=2000]

The clips are copies of one synthetic clip. Peak resident memory of the predicting process is read when 10%, 50% and
100% of the clips are on disk: it must not grow with the number of clips.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARES = (0.1, 0.5, 1.0)
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
FIELDS = {
    "init_from": "",
    "features.dir": "",
    "features.renditions": 0,
    "data.num_frames": 2,
    "data.seconds": 1.0,
    "data.num_tokens": 8,
    "model.modalities": "('vision','text')",
    "model.head.fusion.width": 16,
    "train.batch_size": 8,
    "train.epochs": 2,
    **{f"model.{name}.config.{field}": value for name in ("vision", "text") for field, value in SMALL.items()},
    "model.vision.config.image_size": 16,
    "model.vision.config.patch_size": 8,
}


def peak_mib(process: int) -> float:
    """Peak resident memory of a process so far, in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(process)


def make_run(root: Path, environment: dict[str, str]) -> Path:
    """Trains the tiny run; returns one of its clips."""
    data = [sys.executable, "-m", "data_prep", "--corpus=synthetic", "--clips=16,8,8", f"--out={root / 'data'}"]
    train = [sys.executable, "run.py", "--config=configs/stage2.py", f"--workdir={root / 'run'}"]
    train += [f"--config.{field}={value}" for field, value in (FIELDS | {"data.dir": root / "data"}).items()]
    for command in (data, train):
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return next(path for path in sorted((root / "data").rglob("*.mp4")))


def main() -> None:
    """Prints a Markdown table with a row for each share of the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000, help="number of clips (default: %(default)s)")
    options = parser.parse_args()
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clip = make_run(root, environment)
        (root / "clips").mkdir()
        for number in range(options.clips):
            shutil.copy(clip, root / "clips" / f"{number:05}.mp4")
        command = [sys.executable, "run.py", "--config=configs/stage2.py", f"--workdir={root / 'run'}"]
        command += ["--mode=predict", f"--input={root / 'clips'}", f"--output={root / 'out'}"]
        print("| clips on disk | peak memory, MiB | seconds |\n| ---: | ---: | ---: |")
        began, waiting = time.monotonic(), [round(share * options.clips) for share in SHARES]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and waiting:
            done = len(list((root / "out").glob("[0-9]*.json")))
            if done >= waiting[0]:
                facts = f"{peak_mib(process.pid):.0f} | {time.monotonic() - began:.0f}"
                print(f"| {waiting.pop(0)} | {facts} |", flush=True)
            time.sleep(0.02)
        assert process.wait() == 0
        assert not waiting, f"{waiting} clips were never on disk"


if __name__ == "__main__":
    main()
