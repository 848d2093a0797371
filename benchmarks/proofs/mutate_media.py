"""Prepares a folder of deliberately corrupted media files and counts the outcomes.

python -m benchmarks.proofs.mutate_media 1000 [--seed=0] [--keep=DIR]

Nothing may crash or hang, no good clip may change, and a corrupted clip must be left out or remarked on in the report.
A clip counts as whole if every picture and sample is read as before its file was corrupted. Bytes flipped inside a
picture or sample may still decode without an error; such clips count as undetected damage.
"""

import argparse
import collections
import csv
import io
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

FORMATS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "libmp3lame"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "libmp3lame"),
    "flv": ("libx264", "aac"),
    "ts": ("libx264", "aac"),
    "mpg": ("mpeg2video", "mp2"),
    "wav": (None, "pcm_s16le"),
    "mp3": (None, "libmp3lame"),
    "flac": (None, "flac"),
    "m4a": (None, "aac"),
    "ogg": (None, "libopus"),
}
SIZES = (b"mvhd", b"mdhd", b"stsz", b"stts", b"stsc", b"avc1", b"tkhd", b"fmt ", b"data", b"RIFF", b"fLaC", b"moov")
RATE = 16_000
OUTCOMES = ("left out", "remarked on", "read whole", "not detected")


def write_media(path: Path, codecs: tuple[str | None, str | None], frames: int = 24, samples: int = RATE) -> None:
    """Writes moving noise and a rising tone; a codec of None omits its stream, 0 frames or samples leave it empty."""
    import av

    rng = np.random.default_rng(frames + samples)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codecs[0], rate=24) if codecs[0] else None
        if video is not None:
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
        audio = container.add_stream(codecs[1], rate=48_000 if codecs[1] == "libopus" else RATE) if codecs[1] else None
        container.start_encoding()
        for number in range(frames if video is not None else 0):
            picture = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode() if video is not None and frames else [])
        if audio is not None and samples:
            sound = 0.3 * np.sin(np.cumsum(np.linspace(0.05, 0.5, samples)))
            block = av.AudioFrame.from_ndarray((sound[None] * 32767).astype(np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(audio.encode(block))
            container.mux(audio.encode())


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(array), int(rng.integers(1, max(2, len(array) // 50))))
    array[places] ^= rng.integers(1, 256, len(places), np.uint8)
    return array.tobytes()


def _huge(data: bytes, rng: np.random.Generator) -> bytes:
    """Sets every bit of a few numbers in the headers: sizes, counts, durations, widths, rates."""
    array = bytearray(data)
    marks = [at + 4 for mark in SIZES if (at := data.find(mark)) >= 0] or [0]
    start = int(rng.choice(marks)) + int(rng.integers(0, 40))
    array[start : start + 4] = b"\xff\xff\xff\xff"
    return bytes(array)


def _zip(data: bytes, rng: np.random.Generator) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../outside.mp4", data)
    return archive.getvalue()


KINDS: Mapping[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "truncated": _truncated,
    "bytes flipped": _flipped,
    "empty": lambda data, rng: b"",
    "another format's ending": lambda data, rng: data,
    "zip": _zip,
    "text": lambda data, rng: b"Dear reader, this is no clip.\n" * int(rng.integers(1, 100)),
    "huge claims": _huge,
    "zero frames": lambda data, rng: data,
    "zero-length audio": lambda data, rng: data,
}


def write_mutants(folder: Path, count: int, seed: int) -> dict[str, str]:
    """Fills a folder with intact and corrupted clips and a labels.csv.

    Returns:
        The kind of damage of each corrupted clip, by name.
    """
    rng = np.random.default_rng(seed)
    originals = {}
    for ending, codecs in FORMATS.items():
        write_media(folder / f"good{len(originals):02d}.{ending}", codecs)
        originals[ending] = (folder / f"good{len(originals):02d}.{ending}").read_bytes()
    kinds: dict[str, str] = {}
    for number in range(count):
        kind, ending = list(KINDS)[number % len(KINDS)], str(rng.choice(list(FORMATS)))
        name = f"bad{number:04d}"
        kinds[name] = kind
        data = KINDS[kind](originals[ending], rng)
        if kind == "another format's ending":
            ending = {"mp4": "wav", "mov": "mkv", "wav": "mp4", "mp3": "flv"}.get(ending, "mp4")
        path = folder / f"{name}.{ending}"
        if kind == "zero frames":
            data = _header_only(folder / "empty.mp4", ("libx264", None))
        elif kind == "zero-length audio":
            data = _header_only(folder / "empty.wav", (None, "pcm_s16le"))
        path.write_bytes(data)
    names = sorted(path.stem for path in folder.iterdir())
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Filename", "Joy"], *([name, 0.5] for name in names)])
    return kinds


def _header_only(path: Path, codecs: tuple[str | None, str | None]) -> bytes:
    write_media(path, codecs, frames=0, samples=0)
    data = path.read_bytes()
    path.unlink()
    return data


def outcomes(folder: Path, out: Path, kinds: Mapping[str, str], processes: int, time_limit: float) -> dict:
    """Prepares the folder and classifies the outcome for each corrupted clip.

    Returns:
        (kind, outcome) -> names of the corrupted clips; the outcome is one of OUTCOMES.

    Raises:
        AssertionError: an intact clip in the dataset differs from the same clip read alone.
    """
    from data_prep.build.dataset import open_dataset
    from data_prep.build.prepare import prepare
    from data_prep.clips.clip import ClipSource, read_clip
    from data_prep.clips.options import ClipOptions
    from data_prep.media.remarks import NO_AUDIO, NO_FACE, NO_TEXT, NO_VISION

    options = ClipOptions(max_frames=8, face_size=32, detector="haar")
    report = prepare(
        "folder", out, source=folder, options=options, processes=processes, time_limit=time_limit, progress=False
    )
    builder = open_dataset(out)
    examples = {e["id"].decode(): e for split in builder.info.splits for e in builder.as_data_source(split)}
    whole = []
    for path in sorted(folder.glob("good*")):
        whole.append(_content(examples[path.stem]))
        alone = read_clip(ClipSource(path.stem, path), options).example
        assert list(examples[path.stem]["faces"]) == alone["faces"], path
        np.testing.assert_array_equal(examples[path.stem]["audio"], alone["audio"], str(path))
    left_out = {entry["id"] for entry in report.left_out}
    usual = {NO_TEXT, NO_VISION, NO_AUDIO, NO_FACE}
    remarked = {entry["id"] for kind, clips in report.remarks.items() if kind not in usual for entry in clips}
    found = collections.defaultdict(list)
    for name, kind in kinds.items():
        if name in left_out:
            outcome = "left out"
        elif name in remarked:
            outcome = "remarked on"
        else:
            outcome = "read whole" if _content(examples[name]) in whole else "not detected"
        assert (name in left_out) != (name in examples), f"{name}: lost"
        found[kind, outcome].append(name)
    return dict(found)


def _content(example: Mapping) -> tuple:
    return (*example["faces"], example["times"].tobytes(), example["audio"].tobytes())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="new folder for the files and the dataset")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        (root / "clips").mkdir(parents=True)
        kinds = write_mutants(root / "clips", arguments.count, arguments.seed)
        started = time.monotonic()
        found = outcomes(root / "clips", root / "out", kinds, arguments.processes, time_limit=20.0)
        seconds = time.monotonic() - started
    print(f"{len(kinds)} broken files, seed {arguments.seed}, {seconds:.0f} s; the good clips are unchanged\n")
    print(f"| damage | {' | '.join(OUTCOMES)} |\n| --- |{' ---: |' * len(OUTCOMES)}")
    for kind in KINDS:
        print(f"| {kind} |", " | ".join(str(len(found.get((kind, column), ()))) for column in OUTCOMES), "|")


if __name__ == "__main__":
    main()
