"""New clips for prediction: one file, a folder of them, or a CSV of names."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.clips.clip import Clip, ClipOptions, ClipSource, read_clip
from data_prep.corpora import MEDIA_SUFFIXES, find_media
from data_prep.corpora.tables import read_table
from data_prep.corpora.transcripts import plain_name
from data_prep.errors import ClipError, CorpusError
from data_prep.workers import TIME_LIMIT, count_cpus, map_clips

FEW = 16
"""Up to this many clips are read before worker processes would have started."""


def find_clips(path: Path) -> list[ClipSource]:
    """The clips that a path stands for, by name.

    Args:
        path: a media file; a folder, of which every media file is taken; or a CSV with a column Filename, and words in
            a column Transcript where it has one, whose names lie in the CSV's folder. The words of a clip may also
            stand in a `.txt` file of its name beside it.

    Raises:
        CorpusError: there is nothing of the kind.
    """
    if path.is_dir():
        found = [_source(file) for file in find_media(path).values()]
        if not found:
            raise CorpusError(f"{path}: found no media file, expected one that ends in {', '.join(MEDIA_SUFFIXES)}")
        return sorted(found, key=lambda source: source.id)
    if path.suffix.lower() == ".csv":
        files = find_media(path.parent)
        return [
            _source(files.get(plain_name(row.name), path.parent / row.name), row.cells.get("Transcript"))
            for row in read_table(path, []).rows
        ]
    if not path.is_file():
        raise CorpusError(f"{path}: no such file or folder, expected a clip, a folder of clips or a CSV of names")
    return [_source(path)]


def read_clips(
    sources: Sequence[ClipSource], options: ClipOptions, left_out: list[Exception]
) -> Iterator[Mapping[str, Any]]:
    """Reads clips, many of them on all CPUs.

    Args:
        sources: the clips.
        options: how they are read; as the dataset was on which the model was trained.
        left_out: takes the errors of the clips that cannot be read.

    Yields:
        Examples as `data_prep.build.dataset` documents them, in any order.
    """
    for outcome in _outcomes(sources, functools.partial(read_clip, options=options)):
        if isinstance(outcome, Exception):
            left_out.append(outcome)
        else:
            yield outcome.example


def _outcomes(sources: Sequence[ClipSource], read: Callable[[ClipSource], Clip]) -> Iterator[Clip | Exception]:
    if len(sources) > FEW:
        yield from (outcome for _, outcome in map_clips(read, sources, count_cpus(), TIME_LIMIT))
        return
    for source in sources:
        try:
            yield read(source)
        except ClipError as error:
            yield error


def _source(file: Path, transcript: str | None = None) -> ClipSource:
    beside = file.with_suffix(".txt")
    if not transcript and beside.is_file():
        transcript = beside.read_text(encoding="utf-8", errors="replace")
    return ClipSource(file.stem, video=file, transcript=transcript)
