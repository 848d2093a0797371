"""The command line that `python -m data_prep` and `python -m data_prep.beam` share."""

import argparse
import dataclasses
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from data_prep.build.prepare import default_options
from data_prep.clips.detectors import HAAR, YUNET
from data_prep.clips.options import LANDMARKS, LARGEST, NO_ALIGNMENT, ONLY, SPEAKING, ClipOptions
from data_prep.clips.yunet import FILE
from data_prep.corpora.cremad import RATINGS
from data_prep.corpora.ravdess import VOCAL
from data_prep.corpora.reading import CORPORA, Request
from data_prep.corpora.synthetic import COUNTS, SEED
from data_prep.options.features import add_feature_options, feature_requests
from data_prep.options.values import counts, names, number, number_range
from data_prep.workers import TIME_LIMIT
from emi_jax.errors import UserError
from emi_jax.files import path_option
from emi_jax.report.terminal import printable

CANNOT_CONTINUE, INTERNAL_ERROR, STOPPED = 2, 70, 130
"""Exit codes: an error that its message explains; a bug in the program, with a traceback; Ctrl-C."""

DEFAULTS: dict[str, Any] = {
    "corpus": "synthetic",
    "out": Path("data/demo"),
    "source": None,
    "labels": None,
    "label_range": (0.0, 1.0),
    "label_columns": (),
    "recursive": False,
    "transcripts": None,
    "features": (),
    "feature_columns": (),
    "feature_rate": (),
    "max_frames": None,
    "max_seconds": ClipOptions.max_seconds,
    "face_size": None,
    "no_face": ClipOptions.no_face,
    "face": None,
    "align": ClipOptions.align,
    "margin": None,
    "detector": None,
    "detector_model": "",
    "asr": "",
    "asr_language": "",
    "clips": tuple(COUNTS.values()),
    "seed": SEED,
    "ratings": Request.ratings,
    "vocal": Request.vocal,
    "processes": None,
    "time_limit": TIME_LIMIT,
    "check": None,
}
CORPUS_OPTIONS = {
    "labels": ("folder",),
    "label_range": ("folder",),
    "label_columns": ("folder",),
    "recursive": ("folder",),
    "transcripts": ("folder", "vidmimic2"),
    "clips": ("synthetic",),
    "seed": ("synthetic",),
    "ratings": ("cremad",),
    "vocal": ("ravdess",),
}
"""Options that say which clips and labels a corpus has, and the corpora to which they apply."""

CHECK_OPTIONS = ("check", "corpus", "source", *CORPUS_OPTIONS)
"""Options that may be combined with --check."""

WORDLESS_CORPORA = ("folder", "vidmimic2")
"""Corpora whose clips may come without their words, which --asr recognises."""

VISION_OPTIONS = ("max_frames", "face_size", "no_face", "detector", "detector_model", "align", "margin", "face")
"""Options that say how pictures are read."""


class OneLineParser(argparse.ArgumentParser):
    """Reports an invalid option in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Prints the error and exits."""
        self.exit(CANNOT_CONTINUE, f"error: {printable(message)}; --help explains all options\n")


def run_command(work: Callable[[], int | None]) -> int:
    """Calls `work` and returns its exit code; prints an error that a user can fix as one line."""
    try:
        return work() or 0
    except (UserError, OSError) as error:
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        print("error:", printable(" ".join(text.split())), file=sys.stderr)
        return CANNOT_CONTINUE
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return STOPPED
    except Exception:
        traceback.print_exc()
        return INTERNAL_ERROR


def parse(arguments: Sequence[str] | None = None, without: Sequence[str] = ()) -> argparse.Namespace:
    """Reads the command line.

    Args:
        arguments: the options; by default those of the process.
        without: attribute names of options that the command does not support.

    Raises:
        SystemExit: an option is invalid, or has no effect in combination with the others.
    """
    own = parser()
    given = vars(own.parse_args(arguments))
    found = argparse.Namespace(**{**DEFAULTS, **given})
    for name in given:
        option = f"--{name.replace('_', '-')}"
        if name in without:
            own.error(f"this command has no option {option}")
        if "check" in given and name not in CHECK_OPTIONS:
            own.error(f"{option} does nothing with --check")
        if "check" in given and "source" not in given and name != "check":
            own.error(f"{option} does nothing with --check unless --source names the corpus to compare with")
        if "corpus" not in given and name in ("source", "labels"):
            own.error(f"{option} needs --corpus={{{','.join(CORPORA)}}} to say which layout the corpus has")
        if name == "asr_language" and not found.asr:
            own.error(f"{option} does nothing without --asr")
        if name == "detector_model" and clip_options(found).detector != YUNET:
            own.error(f"{option} does nothing without --detector={YUNET}")
        if name in VISION_OPTIONS and found.ratings == "voice":
            own.error(f"{option} does nothing with --ratings=voice, which reads no pictures")
        replaced = "vision" if name in VISION_OPTIONS else "text" if name in ("asr", "asr_language") else None
        if replaced in dict(found.features):
            own.error(f"{option} does nothing with --features={replaced}=..., which replace what it reads")
        corpora = WORDLESS_CORPORA if name in ("asr", "asr_language") else CORPUS_OPTIONS.get(name, CORPORA)
        if found.corpus not in corpora:
            own.error(f"{option} does nothing with --corpus={found.corpus}, only with {' and '.join(corpora)}")
    try:
        found.features = feature_requests(found.features, found.feature_columns, found.feature_rate)
    except ValueError as error:
        own.error(str(error))
    return found


def request_of(arguments: argparse.Namespace) -> Request:
    """The corpus that the command line names."""
    return Request(
        arguments.corpus,
        arguments.source,
        arguments.labels,
        arguments.label_range,
        arguments.label_columns,
        arguments.recursive,
        arguments.transcripts,
        dict(zip(COUNTS, arguments.clips, strict=True)),
        arguments.seed,
        arguments.ratings,
        arguments.vocal,
        arguments.features,
    )


def clip_options(arguments: argparse.Namespace) -> ClipOptions:
    """How clips are to be read."""
    own = default_options(arguments.corpus)
    return dataclasses.replace(
        own,
        margin=own.margin if arguments.margin is None else arguments.margin,
        align=arguments.align,
        face=arguments.face or own.face,
        max_frames=arguments.max_frames or own.max_frames,
        max_seconds=arguments.max_seconds,
        face_size=arguments.face_size or own.face_size,
        no_face=arguments.no_face,
        detector=arguments.detector or own.detector,
        detector_path=str(arguments.detector_model),
        asr=arguments.asr,
        asr_language=arguments.asr_language,
    )


def parser() -> argparse.ArgumentParser:
    """The argument parser. Options that are not given are absent from its result, see `parse`."""
    parser = OneLineParser(
        "python -m data_prep",
        description="Turns a corpus of clips into the dataset `emi`, or checks such a dataset.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--corpus",
        choices=CORPORA,
        help="layout of the corpus: synthetic, which is made where it is missing; vidmimic2 (Hume-Vidmimic2); folder, "
        "any folder of clips with a table; cremad (CREMA-D), ravdess or meld as published (default: synthetic; must be "
        "given with --source or --labels)",
    )
    add("--out", type=path_option, help=f"data folder to write (default: {DEFAULTS['out']})")
    add("--source", type=path_option, help="folder of the corpus (synthetic: OUT/raw_corpus)")
    add(
        "--labels", type=path_option, help="folder corpus: table with the names and labels (default: SOURCE/labels.csv)"
    )
    add(
        "--label-range",
        type=number_range,
        metavar="LOW,HIGH",
        help="folder corpus: lowest and highest value of the labels (default: 0,1)",
    )
    add(
        "--label-columns",
        type=names,
        metavar="NAME,NAME",
        help="folder corpus: columns that are labels (default: all but Filename, Split, Subject and Transcript)",
    )
    add("--recursive", action="store_true", help="folder corpus: search the subfolders of SOURCE for clips, too")
    add(
        "--transcripts",
        type=path_option,
        help="words of the clips: a table (Filename, Transcript), JSON {name: text}, or a folder with NAME.txt, "
        "NAME.json (Whisper), NAME.srt, NAME.vtt, NAME.TextGrid or NAME.tsv for each clip",
    )
    add_feature_options(parser)
    add("--max-frames", type=number(int, 1), help="most pictures kept of each clip (default: 400; synthetic: 8)")
    add(
        "--max-seconds",
        type=number(float, 0.1),
        help=f"seconds of each clip that are read (default: {DEFAULTS['max_seconds']:g})",
    )
    add("--face-size", type=number(int, 8), help="side of the face crops in pixels (default: 224; synthetic: 64)")
    add(
        "--no-face",
        choices=("absent", "centre"),
        help="what a video without any face gives: no vision, or the centre of its pictures (default: absent)",
    )
    detectors = f"{YUNET}, {HAAR} or MODULE:FUNCTION (default: {YUNET}; synthetic: {HAAR})"
    add("--detector", metavar="NAME", help=f"face detector: {detectors}")
    add(
        "--detector-model",
        type=path_option,
        metavar="PATH",
        help=f"model file of {YUNET} (default: {FILE} from the hub)",
    )
    add(
        "--align",
        choices=(LANDMARKS, NO_ALIGNMENT),
        help="align crops by the face's landmarks, or cut them out as they are (default: landmarks)",
    )
    add("--margin", type=number(float, 0), help="margin of the crops, in shares of the face (0.1; synthetic: 0)")
    add(
        "--face",
        choices=(LARGEST, SPEAKING, ONLY),
        help="of several people, read the largest face or the one who speaks; only: each clip shows one person, "
        "which is faster (default: largest; synthetic: only)",
    )
    add(
        "--asr",
        metavar="MODEL",
        help="recognise the words of clips without a transcript: folder or hub name of a Whisper model, or "
        "MODULE:FUNCTION (default: no recognition)",
    )
    add(
        "--asr-language",
        metavar="CODE",
        help="language of the speech that --asr recognises, as en or de (default: detected in each clip)",
    )
    add(
        "--clips",
        type=counts,
        metavar="TRAIN,VALID,TEST",
        help=f"synthetic corpus: number of clips in each split (default: {','.join(map(str, COUNTS.values()))})",
    )
    add("--seed", type=number(int, 0), help=f"synthetic corpus: random seed of its content (default: {SEED})")
    add(
        "--ratings",
        choices=RATINGS,
        help="CREMA-D: the ratings that are the labels: of face and voice together, of the voice alone (only the sound "
        f"is read) or of the face alone (only the pictures are read) (default: {DEFAULTS['ratings']})",
    )
    add(
        "--vocal",
        choices=VOCAL,
        help=f"RAVDESS: whether to read the spoken takes, the sung ones or both (default: {DEFAULTS['vocal']})",
    )
    add("--processes", type=number(int, 1), help="worker processes (default: one per CPU)")
    add(
        "--time-limit",
        type=number(float, 0),
        help=f"seconds after which a clip is left out, 0 for no limit (default: {TIME_LIMIT:g})",
    )
    add(
        "--check",
        type=path_option,
        metavar="DIR",
        help="check the dataset in DIR instead of preparing one; writes nothing",
    )
    return parser
