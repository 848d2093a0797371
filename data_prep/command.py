"""The command line that `python -m data_prep` and `python -m data_prep.beam` share."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from data_prep.build.prepare import default_options
from data_prep.clips.detectors import HAAR
from data_prep.clips.options import ClipOptions
from data_prep.corpora.reading import CORPORA, Request
from data_prep.corpora.synthetic import COUNTS, SEED
from data_prep.errors import CorpusError
from data_prep.workers import TIME_LIMIT

CANNOT_GO_ON, STOPPED = 2, 130
"""Exit codes: a corpus that cannot be used; Ctrl-C."""


def tell(work: Callable[[], int | None]) -> int:
    """Does the work and gives its exit code; what a user can put right is told in one line."""
    try:
        return work() or 0
    except CorpusError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return CANNOT_GO_ON
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return STOPPED


def request_of(arguments: argparse.Namespace) -> Request:
    """The corpus that is asked for."""
    counts = dict(zip(COUNTS, arguments.clips, strict=True))
    return Request(
        arguments.corpus,
        arguments.source,
        arguments.labels,
        arguments.label_range,
        arguments.transcripts,
        counts,
        arguments.seed,
    )


def clip_options(arguments: argparse.Namespace) -> ClipOptions:
    """How clips are to be read."""
    own = default_options(arguments.corpus)
    return dataclasses.replace(
        own,
        max_frames=arguments.max_frames or own.max_frames,
        max_seconds=arguments.max_seconds,
        face_size=arguments.face_size or own.face_size,
        no_face=arguments.no_face,
        detector=arguments.detector,
        asr=arguments.asr,
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        "python -m data_prep", description="Turns a corpus of clips into the dataset `emi`."
    )
    parser.add_argument("--corpus", choices=CORPORA, default="synthetic")
    parser.add_argument(
        "--out", type=Path, default=Path("data/demo"), help="data folder to write (default: %(default)s)"
    )
    parser.add_argument("--source", type=Path, help="folder of the raw corpus (synthetic: OUT/raw_corpus)")
    parser.add_argument("--labels", type=Path, help="CSV of a folder corpus (default: SOURCE/labels.csv)")
    parser.add_argument("--label-range", type=_numbers(float, 2), default=(0.0, 1.0), metavar="LOW,HIGH")
    parser.add_argument("--transcripts", type=Path, help="CSV (Filename,Transcript) or JSON {name: text}")
    parser.add_argument("--max-frames", type=int, help="pictures kept of a clip (400; synthetic: 8)")
    parser.add_argument(
        "--max-seconds", type=float, default=ClipOptions.max_seconds, help="read of a clip (default: %(default)s)"
    )
    parser.add_argument("--face-size", type=int, help="side of the face crops in pixels (224; synthetic: 64)")
    parser.add_argument(
        "--no-face",
        choices=("absent", "centre"),
        default="absent",
        help="what a video without any face gives: no vision, or the centre of its pictures (default: %(default)s)",
    )
    parser.add_argument("--detector", default=HAAR, metavar="MODULE:FUNCTION", help="makes the face detector")
    parser.add_argument(
        "--asr",
        default="",
        metavar="MODEL",
        help="writes transcripts for clips that have none: a folder or hub name of a Whisper model, or MODULE:FUNCTION",
    )
    parser.add_argument(
        "--clips",
        type=_numbers(int, 3),
        default=tuple(COUNTS.values()),
        metavar="TRAIN,VALID,TEST",
        help="synthetic only",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the synthetic corpus (default: %(default)s)")
    parser.add_argument("--processes", type=int, help="worker processes (default: one per CPU)")
    parser.add_argument(
        "--time-limit", type=float, default=TIME_LIMIT, help="seconds for one clip, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--check", type=Path, metavar="DIR", help="check the dataset in DIR instead of preparing one")
    return parser


def _numbers(kind: type, count: int):
    def parse(text: str) -> tuple:
        values = tuple(kind(part) for part in text.split(","))
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {count} numbers with commas between")
        return values

    return parse
