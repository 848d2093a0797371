"""Past one machine: the same preparation with an Apache Beam pipeline in the place of this machine's processes.

    python -m data_prep.beam --corpus=vidmimic2 --source=DIR --out=DIR [options] -- --runner=FlinkRunner ...

What follows `--` is Beam's own. Every worker must see the source and the data folder under the same paths. Each clip
goes through the per-clip function of `python -m data_prep` into the data folder's staging; what becomes of it, a
summary or an error, comes back as lines of text, and the dataset is written as ever. Content, report and resumption
are therefore the same, in whatever order the clips come.
"""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from data_prep.build.prepare import Outcomes, Work, build
from data_prep.build.report import Report
from data_prep.build.staging import Staged
from data_prep.clips.clip import ClipSource
from data_prep.command import clip_options, parser, request_of, tell
from data_prep.errors import ClipError
from data_prep.workers import map_clips

BATCH = 64
"""Clips that a Beam worker hands to one process of its own: a clip that kills it or hangs costs no more than these."""


def run_pipeline(
    work: Work, clips: Sequence[ClipSource], folder: Path, arguments: Sequence[str], time_limit: float | None
) -> Iterator[tuple[ClipSource, Staged | Exception]]:
    """Does the work on every clip in a Beam pipeline.

    Args:
        work: the per-clip function.
        clips: the clips.
        folder: for the lines of text; seen by all workers, and deleted here.
        arguments: Beam's own options.
        time_limit: seconds for one clip.
    """
    shutil.rmtree(folder, ignore_errors=True)
    batches = [(start, list(clips[start : start + BATCH])) for start in range(0, len(clips), BATCH)]
    with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
        lines = (
            pipeline
            | "clips" >> beam.Create(batches)
            | "spread" >> beam.Reshuffle()
            | "read" >> beam.FlatMapTuple(functools.partial(_read_batch, work=work, time_limit=time_limit))
        )
        _ = lines | "outcomes" >> beam.io.WriteToText(str(folder / "outcomes"), file_name_suffix=".jsonl")
    for path in sorted(folder.glob("outcomes*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            staged = Staged.from_json(told["staged"]) if "staged" in told else ClipError(*told["error"])
            yield clips[told["clip"]], staged
    shutil.rmtree(folder)


def _read_batch(
    start: int, clips: Sequence[ClipSource], work: Callable[[ClipSource], Staged], time_limit: float | None
) -> Iterable[str]:
    """A line of JSON for each clip: its number, and its summary or its error."""
    numbers = {(clip.split, clip.id): start + k for k, clip in enumerate(clips)}
    for clip, outcome in map_clips(work, clips, 1, time_limit):
        told: dict[str, object] = {"clip": numbers[clip.split, clip.id]}
        if isinstance(outcome, ClipError):
            told["error"] = [outcome.path, outcome.why]
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            told["staged"] = outcome.to_json()
        yield json.dumps(told)


def prepare_with_beam(arguments: Sequence[str]) -> Report:
    """Prepares a corpus as `arguments` say: those of `python -m data_prep`, `--` and Beam's own.

    Raises:
        CorpusError: as `data_prep.build.prepare.prepare`.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    told, own = parser().parse_args(arguments[:cut]), arguments[cut + 1 :]

    def run(work: Work, clips: Sequence[ClipSource]) -> Outcomes:
        return run_pipeline(work, clips, told.out / "staging" / "beam", own, told.time_limit or None)

    return build(request_of(told), told.out, clip_options(told), run)


def main() -> int:
    """Runs the command line and gives the exit code."""
    return tell(lambda: print(prepare_with_beam(sys.argv[1:]).summary()))


if __name__ == "__main__":
    sys.exit(main())
