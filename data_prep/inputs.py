"""New clips for prediction: one file, a folder of them, or a CSV of names."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.clip import Clip, ClipOptions, ClipSource, read_clip
from data_prep.corpora import MEDIA_SUFFIXES, find_media
from data_prep.errors import ClipError, CorpusError
from data_prep.tables import read_table
from data_prep.transcripts import plain_name
from data_prep.workers import map_clips

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
            _source(files.get(plain_name(row.name), path.parent / row.name), row.cells.get("Transcript", ""))
            for row in read_table(path, []).rows
        ]
    if not path.is_file():
        raise CorpusError(f"{path}: no such file or folder, expected a clip, a folder of clips or a CSV of names")
    return [_source(path)]


def read_clips(sources: Sequence[ClipSource], options: ClipOptions) -> Iterator[tuple[ClipSource, Clip | Exception]]:
    """Reads clips, many of them on all CPUs, in any order; one that cannot be read comes as its error."""
    read = functools.partial(read_clip, options=options)
    if len(sources) > FEW:
        yield from map_clips(read, sources, len(os.sched_getaffinity(0)))
        return
    for source in sources:
        try:
            yield source, read(source)
        except ClipError as error:
            yield source, error


def _source(file: Path, transcript: str = "") -> ClipSource:
    beside = file.with_suffix(".txt")
    if not transcript and beside.is_file():
        transcript = beside.read_text(encoding="utf-8", errors="replace")
    return ClipSource(file.stem, video=file, transcript=transcript)
