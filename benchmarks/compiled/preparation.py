"""Compares the clips per second of preparation with bare decoding and detection of the same clips.

python -m benchmarks.compiled.preparation [--clips=24] [--repeats=5] [--media=shared/media]

Bare: one function call per clip decodes the same pictures and sound and runs the detector on them, split over the
same number of processes; no tracking, crops, staging, report or dataset. Both include starting the processes;
they alternate, and medians are compared. The goal is a ratio of at least 80%.
"""

import argparse
import functools
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

PROCESSES = (1, 2)


def bare(path: Path, max_seconds: float, max_frames: int) -> int:
    """Only decodes and detects; returns the number of pictures with a face."""
    from data_prep.clips.detectors import HAAR, load_detector
    from data_prep.clips.vision import pick_evenly
    from data_prep.media.pictures import read_pictures
    from data_prep.media.sound import read_sound
    from data_prep.media.timeline import read_timeline

    timeline = read_timeline(path, max_seconds)
    stamps = timeline.stamps[pick_evenly(timeline.seconds, max_frames)]
    read_sound(path, timeline, max_seconds, [])
    return sum(bool(load_detector(HAAR)(picture)) for _, picture in read_pictures(path, stamps, []))


def bare_seconds(paths: list[Path], processes: int, max_seconds: float, max_frames: int) -> float:
    """Seconds for bare decoding and detection of all clips."""
    from data_prep.workers import map_clips

    work = functools.partial(bare, max_seconds=max_seconds, max_frames=max_frames)
    started = time.perf_counter()
    for path, result in map_clips(work, paths, processes):
        assert isinstance(result, int), (path, result)
    return time.perf_counter() - started


def prepared_seconds(source: Path, out: Path, processes: int) -> float:
    """Seconds for the whole preparation, from the tables to the dataset and report."""
    from data_prep.build.prepare import prepare
    from data_prep.clips.options import ClipOptions

    started = time.perf_counter()
    prepare("folder", out, source=source, options=ClipOptions(detector="haar"), processes=processes, progress=False)
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds


def write_clips(folder: Path, count: int, media: Path | None) -> None:
    """Fills a folder with synthetic clips, or with copies of real ones, and its labels.csv."""
    from data_prep.corpora.synthetic import write_synthetic

    if media is None:
        write_synthetic(folder.parent / "corpus", {"train": count}, 1, os.cpu_count() or 1)
    originals = sorted((media or folder.parent / "corpus" / "raw").glob("*.mp4"))
    for number in range(count):
        shutil.copy(originals[number % len(originals)], folder / f"clip{number:04d}.mp4")
    names = [path.stem for path in sorted(folder.glob("*.mp4"))]
    (folder / "labels.csv").write_text("Filename,Joy\n" + "".join(f"{name},0.5\n" for name in names))


def main() -> None:
    """Prints the table."""
    from data_prep.build import dataset  # noqa: F401  its imports take seconds and are not part of the work
    from data_prep.clips.options import ClipOptions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--media", type=Path, help="folder of real clips; synthetic ones are used where not given")
    arguments = parser.parse_args()
    options = ClipOptions(detector="haar")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clips"
        folder.mkdir()
        write_clips(folder, arguments.clips, arguments.media)
        paths = sorted(folder.glob("*.mp4"))
        print("| processes | bare, clips/s | preparation, clips/s | share of bare |\n| ---: | ---: | ---: | ---: |")
        for processes in PROCESSES:
            alone, whole = [], []
            for _ in range(arguments.repeats):
                alone.append(bare_seconds(paths, processes, options.max_seconds, options.max_frames))
                whole.append(prepared_seconds(folder, Path(temporary) / "out", processes))
            rates = [len(paths) / statistics.median(seconds) for seconds in (alone, whole)]
            share = statistics.median(a / b for a, b in zip(alone, whole, strict=True))
            print(f"| {processes} | {rates[0]:.2f} | {rates[1]:.2f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
