"""Kills the prediction of one long recording at random moments with SIGKILL, restarts it, and compares the results.

python -m benchmarks.proofs.kill_prediction runs/demo/stage2 [--minutes=20] [--kills=3] [--latest=10] [--seed=0]

All files must be the same bytes as those of a prediction that was never stopped.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STATE = "long.unfinished.safetensors"


def draw(path: Path, minutes: float) -> None:
    """Writes a recording of clips of the synthetic corpus, one after the other, and their words next to it."""
    from data_prep.synthetic.face import render_frames
    from data_prep.synthetic.plan import FPS, plan_corpus
    from data_prep.synthetic.video import write_mp4
    from data_prep.synthetic.voice import RATE, render_voice

    plans = [plan for plan in plan_corpus({"train": round(40 * minutes)}, seed=1) if not plan.defects.missing]
    while sum(plan.seconds for plan in plans) > 60 * minutes:
        plans.pop()
    frames, sounds = ([render(plan) for plan in plans] for render in (render_frames, render_voice))
    write_mp4(path, np.concatenate(frames), np.concatenate(sounds), FPS, RATE)
    path.with_suffix(".txt").write_text(" ".join(plan.text for plan in plans))


def start(model: Path, recording: Path, output: Path) -> subprocess.Popen:
    """Starts a prediction, whose log is written next to its output."""
    options = [f"--input={recording}", f"--output={output}", "--window=2", "--hop=0.5", "--pages"]
    with output.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "run.py", "--mode=predict", f"--workdir={model}", *options],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(model: Path, recording: Path, output: Path) -> str:
    """Predicts to the end; returns from which second on, and how long it took."""
    began = time.monotonic()
    if start(model, recording, output).wait():
        raise SystemExit(output.with_suffix(".log").read_text())
    return f"{resumed(output)}, ended after {time.monotonic() - began:.1f} s"


def kill(model: Path, recording: Path, output: Path, delay: float) -> str:
    """Kills a prediction some seconds after it wrote its first state; returns what happened."""
    process, began = start(model, recording, output), time.time()
    state = output / STATE
    while process.poll() is None and not (state.exists() and state.stat().st_mtime > began):
        time.sleep(0.05)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        size = f"{state.stat().st_size / 1e6:.1f} MB"
        return f"{resumed(output)}, killed after {time.time() - began:.1f} s, with a state of {size}"
    return f"{resumed(output)}, ended before it was killed"


def resumed(output: Path) -> str:
    """From which second a prediction read the recording, by its log."""
    found = re.search(r"resumed: .* (from second \S+) on", output.with_suffix(".log").read_text())
    return found[1] if found else "from second 0"


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder but its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def main() -> None:
    """Prints what happened at each kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--latest", type=float, default=10.0, help="seconds after the first state of each start")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    chance, model = random.Random(arguments.seed), arguments.model.absolute()
    with tempfile.TemporaryDirectory() as temporary:
        recording, never, killed = (Path(temporary, name) for name in ("long.mp4", "never", "killed"))
        draw(recording, arguments.minutes)
        print(f"never stopped: {arguments.minutes:g} minutes, {finish(model, recording, never)}", flush=True)
        for _ in range(arguments.kills):
            print(kill(model, recording, killed, chance.uniform(0.0, arguments.latest)), flush=True)
        print(finish(model, recording, killed))
        assert contents(killed) == contents(never), "the results differ"
        print("equal in every byte")


if __name__ == "__main__":
    main()
