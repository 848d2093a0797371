"""Preparation on several machines: an Apache Beam pipeline replaces this machine's worker processes.

    python -m data_prep.beam --corpus=vidmimic2 --source=DIR --out=DIR [options] -- --runner=FlinkRunner ...

The options after `--` are Beam's. Every worker must see the source and the data folder under the same paths. Workers
run the per-clip function of `python -m data_prep`, which writes each clip to the data folder's staging folder, and
return its summary or error as a line of text. This process then writes the dataset. Content, report and resumption are
therefore the same as on one machine, in whatever order the clips finish.
"""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.exit(f"error: {error}; python -m data_prep.beam runs in an environment made of requirements-beam.txt")

from data_prep.build.prepare import Outcomes, Work, build
from data_prep.build.report import Report
from data_prep.build.staging import Staged
from data_prep.clips.clip import ClipSource
from data_prep.command import clip_options, parse, request_of, run_command
from data_prep.errors import ClipError
from data_prep.workers import map_clips

BATCH = 64
"""Clips that a Beam worker passes to one subprocess: a clip that crashes or hangs it affects at most these."""


def run_pipeline(
    work: Work, clips: Sequence[ClipSource], folder: Path, arguments: Sequence[str], time_limit: float | None
) -> Iterator[tuple[ClipSource, Staged | Exception]]:
    """Runs the per-clip function on every clip in a Beam pipeline.

    Args:
        work: the per-clip function.
        clips: the clips.
        folder: where workers write their lines of text; visible to all workers, deleted by this function.
        arguments: Beam's options.
        time_limit: seconds per clip; None for no limit.
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
            record = json.loads(line)
            staged = Staged.from_json(record["staged"]) if "staged" in record else ClipError(*record["error"])
            yield clips[record["clip"]], staged
    shutil.rmtree(folder)


def _read_batch(
    start: int, clips: Sequence[ClipSource], work: Callable[[ClipSource], Staged], time_limit: float | None
) -> Iterable[str]:
    """Yields one line of JSON per clip: its index, and its summary or its error."""
    numbers = {(clip.split, clip.id): start + k for k, clip in enumerate(clips)}
    for clip, outcome in map_clips(work, clips, 1, time_limit):
        record: dict[str, object] = {"clip": numbers[clip.split, clip.id]}
        if isinstance(outcome, ClipError):
            record["error"] = [outcome.path, outcome.why]
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            record["staged"] = outcome.to_json()
        yield json.dumps(record)


def prepare_with_beam(arguments: Sequence[str]) -> Report:
    """Prepares a corpus with Beam.

    Args:
        arguments: the options of `python -m data_prep`, then `--`, then those of Beam.

    Raises:
        CorpusError: as `data_prep.build.prepare.prepare`.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, own = parse(arguments[:cut], without=("check", "processes")), arguments[cut + 1 :]

    def run(work: Work, clips: Sequence[ClipSource]) -> Outcomes:
        return run_pipeline(work, clips, options.out / "staging" / "beam", own, options.time_limit or None)

    return build(request_of(options), options.out, clip_options(options), run)


def main() -> int:
    """Runs the command line and returns the exit code."""
    return run_command(lambda: print(prepare_with_beam(sys.argv[1:]).summary()))


if __name__ == "__main__":
    sys.exit(main())
