"""`python -m data_prep`: prepares a corpus, or checks a prepared dataset."""

import argparse
import dataclasses
import sys
from pathlib import Path

from data_prep.clip import ClipOptions
from data_prep.corpora.synthetic import COUNTS, SEED
from data_prep.errors import CorpusError
from data_prep.prepare import CORPORA, DEMO_OPTIONS, prepare


def main() -> int:
    """Runs the command line: 0 is success, 1 a checked dataset with faults, 2 a corpus that cannot be used."""
    arguments = _parser().parse_args()
    try:
        return _check(arguments.check) if arguments.check else _prepare(arguments)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _prepare(arguments: argparse.Namespace) -> int:
    own = DEMO_OPTIONS if arguments.corpus == "synthetic" else ClipOptions()
    report = prepare(
        arguments.corpus,
        arguments.out,
        source=arguments.source,
        labels=arguments.labels,
        label_range=arguments.label_range,
        transcripts=arguments.transcripts,
        counts=dict(zip(COUNTS, arguments.clips, strict=True)),
        seed=arguments.seed,
        options=dataclasses.replace(
            own,
            max_frames=arguments.max_frames or own.max_frames,
            max_seconds=arguments.max_seconds,
            face_size=arguments.face_size or own.face_size,
        ),
        processes=arguments.processes,
    )
    print(report.summary())
    return 0


def _check(out: Path) -> int:
    from data_prep.check import check_dataset  # TFDS is not needed for --help

    faults = check_dataset(out)
    print("\n".join(faults) or f"{out}: no faults found")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m data_prep", description=__doc__)
    parser.add_argument("--corpus", choices=CORPORA, default="synthetic")
    parser.add_argument(
        "--out", type=Path, default=Path("data/demo"), help="data folder to write (default: %(default)s)"
    )
    parser.add_argument("--source", type=Path, help="folder of the raw corpus (synthetic: OUT/raw_corpus)")
    parser.add_argument("--labels", type=Path, help="CSV of a folder corpus (default: SOURCE/labels.csv)")
    parser.add_argument("--label-range", type=_numbers(float, 2), default=(0.0, 1.0), metavar="LOW,HIGH")
    parser.add_argument("--transcripts", type=Path, help="CSV (Filename,Transcript) or JSON {name: text}")
    parser.add_argument("--max-frames", type=int, help="pictures kept of a clip (400; synthetic: 16)")
    parser.add_argument(
        "--max-seconds", type=float, default=ClipOptions.max_seconds, help="read of a clip (default: %(default)s)"
    )
    parser.add_argument("--face-size", type=int, help="side of the face crops in pixels (224; synthetic: 64)")
    parser.add_argument(
        "--clips",
        type=_numbers(int, 3),
        default=tuple(COUNTS.values()),
        metavar="TRAIN,VALID,TEST",
        help="synthetic only",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the synthetic corpus (default: %(default)s)")
    parser.add_argument("--processes", type=int, help="worker processes (default: one per CPU)")
    parser.add_argument("--check", type=Path, metavar="DIR", help="check the dataset in DIR instead of preparing one")
    return parser


def _numbers(kind: type, count: int):
    def parse(text: str) -> tuple:
        values = tuple(kind(part) for part in text.split(","))
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {count} numbers with commas between")
        return values

    return parse


if __name__ == "__main__":
    sys.exit(main())
