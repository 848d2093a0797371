"""Finds the files with users' own features of the clips of a corpus: `--features MODALITY=PATH`."""

import dataclasses
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.clips.clip import ClipSource
from data_prep.corpora.media_files import some
from data_prep.corpora.names import AmbiguousNameError, NameIndex
from data_prep.errors import ClipError, CorpusError
from data_prep.features.rows import Layout
from data_prep.features.source import ARRAYS, ENDINGS, PICKLES, TABLES, FeatureSource, Schema, layout
from data_prep.features.tables import Ranges, lines_by_clip
from emi_jax.report.terminal import counted, printable

SHOWN = 10
"""Most columns that a note lists."""


@dataclasses.dataclass(frozen=True)
class FeatureRequest:
    """Features of one modality, as given on the command line.

    Attributes:
        path: a folder with one file per clip, or a table with a column of clip names.
        columns: glob patterns of the columns to read; by default all that the files' format calls features.
        rate: rows, or pictures, per second, for files without times; 0 if not given.
    """

    path: Path
    columns: tuple[str, ...] = ()
    rate: float = 0.0


class Joined(NamedTuple):
    """Clips with their features, what these have in common by modality, and notes."""

    clips: tuple[ClipSource, ...]
    schemas: dict[str, Schema]
    notes: tuple[str, ...]


class _Place(NamedTuple):
    """A file, or the lines of a clip in a table of several clips; `rows` is 0 where it is not known."""

    path: Path
    ranges: Ranges = ()
    rows: int = 0


def join_features(
    clips: Sequence[ClipSource],
    requests: Mapping[str, FeatureRequest],
    schemas: Mapping[str, Schema] | None = None,
) -> Joined:
    """Adds the features of each clip.

    The modality is then not read from the media of any clip. A clip with features needs no media.

    Args:
        clips: the clips.
        requests: by modality, where the features are.
        schemas: by modality, what the features of a dataset have in common, for new clips that are to be read in the
            same way; None to find out from the files.

    Raises:
        CorpusError: no file matches a clip, a name matches several, a file is a pickle or no file of features, or the
            files differ in their columns, or from the schemas.
    """
    if schemas is not None:
        _check_modalities(requests, schemas)
    found: dict[str, Schema] = {}
    notes: list[str] = []
    features: list[dict[str, FeatureSource]] = [{} for _ in clips]
    for modality, request in requests.items():
        wanted = schemas[modality] if schemas is not None else None
        places, unread = _places(modality, request.path, clips)
        matches = _matches(modality, request.path, clips, places)
        schema, more = _schema(modality, _as_in_dataset(request, wanted), matches)
        if wanted is None and request.rate and not schema.rate:
            raise CorpusError(f"--feature-rate={modality}={request.rate:g} does nothing: the files hold times")
        if wanted is not None and (schema.source, set(schema.names)) != (wanted.source, set(wanted.names)):
            raise CorpusError(
                f"--features {modality}={request.path}: found {len(schema.names)} columns ({schema.source}), expected "
                f"the {len(wanted.names)} ({wanted.source}) of the dataset: {_first(wanted.names)}"
            )
        found[modality] = schema = wanted or schema
        for own, place in zip(features, matches, strict=True):
            own[modality] = FeatureSource(schema, place.path, place.ranges) if place else FeatureSource(schema)
        notes += [*unread, *more, *_join_notes(modality, request.path, clips, places, matches)]
    joined = [_with_features(clip, own) for clip, own in zip(clips, features, strict=True)]
    if alone := [clip.id for clip, old in zip(joined, clips, strict=True) if clip.video is None is not old.video]:
        notes.append(f"{counted(len(alone), 'clip')} without a media file, with features alone: {some(alone)}")
    return Joined(tuple(joined), found, tuple(notes))


def _check_modalities(requests: Mapping[str, FeatureRequest], schemas: Mapping[str, Schema]) -> None:
    for modality, schema in schemas.items():
        if modality not in requests:
            raise CorpusError(
                f"the run was trained on {modality} features of one's own ({len(schema.names)} columns, "
                f"{schema.source}): add --features {modality}=PATH with those of the new clips"
            )
    for modality, request in requests.items():
        if modality not in schemas:
            raise CorpusError(
                f"--features {modality}={request.path} does nothing: the run was not trained on {modality} features of "
                "one's own; leave it out"
            )


def _with_features(clip: ClipSource, features: dict[str, FeatureSource]) -> ClipSource:
    """The clip with its features; a media file that does not exist is dropped if there are any."""
    has_some = any(source.path for source in features.values())
    is_there = clip.video is not None and (clip.video.exists() or clip.video.is_symlink())
    return dataclasses.replace(clip, features=features, video=clip.video if is_there or not has_some else None)


def _places(modality: str, path: Path, clips: Sequence[ClipSource]) -> tuple[NameIndex[_Place], list[str]]:
    """What a path holds, by clip name without the file's ending; and notes on what is not read."""
    option = f"--features {modality}={path}"
    if path.is_file():
        if path.suffix.lower() in PICKLES:
            layout_or_error(path)
        if path.suffix.lower() not in TABLES:
            raise CorpusError(f"{option}: found a file, expected a folder of files, or a table with a column of names")
        return _table_places(path), []
    if not path.is_dir():
        raise CorpusError(f"{option}: no such file or folder")
    files = sorted(file for file in path.rglob("*") if not file.is_dir() and not _is_hidden(file.relative_to(path)))
    usable = [file for file in files if file.suffix.lower() in ENDINGS]
    pickles = [file for file in files if file.suffix.lower() in PICKLES]
    if pickles and not usable:
        layout_or_error(pickles[0])
    if not usable:
        raise CorpusError(f"{option}: found no file of features, expected files ending with {', '.join(ENDINGS)}")
    others = [file.name for file in files if file not in usable]
    notes = [f"{counted(len(others), 'file')} in {path} without features: {some(others)}"] if others else []
    is_table = len(usable) == 1 and usable[0].suffix.lower() in TABLES
    if is_table and layout_or_error(usable[0]).clip and not _is_named_after_one(usable[0], clips):
        return _table_places(usable[0]), notes
    by_name: dict[str, _Place] = {}
    for file in usable:
        name = file.relative_to(path).with_suffix("").as_posix()
        if name in by_name:
            raise CorpusError(f"{option}: both {by_name[name].path.name} and {file.name} are features of one clip")
        by_name[name] = _Place(file)
    return NameIndex(by_name), notes


def _is_named_after_one(path: Path, clips: Sequence[ClipSource]) -> bool:
    index = NameIndex({path.stem: path})
    return any(index.find(name) for clip in clips for name in _names(clip))


def _table_places(path: Path) -> NameIndex[_Place]:
    try:
        return NameIndex({name.replace("\\", "/"): _Place(path, *lines) for name, lines in lines_by_clip(path).items()})
    except ClipError as error:
        raise CorpusError(str(error)) from None


def layout_or_error(path: Path, patterns: Sequence[str] = ()) -> Layout:
    """The layout of a file of features, whose faults end the preparation before any clip is read.

    Raises:
        CorpusError: as the ClipError of `layout`.
    """
    try:
        return layout(path, patterns)
    except ClipError as error:
        raise CorpusError(str(error)) from None


def _matches(modality: str, path: Path, clips: Sequence[ClipSource], places: NameIndex[_Place]) -> list[_Place | None]:
    found: list[_Place | None] = []
    owners: dict[_Place, ClipSource] = {}
    for clip in clips:
        place = None
        for name in _names(clip):
            try:
                match = places.find(name)
            except AmbiguousNameError as error:
                raise CorpusError(f"--features {modality}={path}: clip {error}; keep the features of one") from None
            if match:
                place = match[1]
                break
        if place and (other := owners.setdefault(place, clip)) is not clip:
            raise CorpusError(
                f"{place.path}: found features for both clips {printable(other.id)} and {printable(clip.id)}, expected "
                "those of one"
            )
        found.append(place)
    if not any(found):
        raise CorpusError(
            f"--features {modality}={path}: none is named like a clip; there are {some(sorted(places.names()))} for "
            f"the clips {some(clip.id for clip in clips)}"
        )
    return found


def _names(clip: ClipSource) -> Iterator[str]:
    """The names under which features of a clip may be found, the most specific first."""
    for file in filter(None, (clip.video, clip.audio, clip.faces)):
        yield f"{file.parent.name}/{file.name}"
        yield file.name
    yield clip.id


def _schema(modality: str, request: FeatureRequest, matches: Sequence[_Place | None]) -> tuple[Schema, list[str]]:
    """What all files have in common, and notes."""
    layouts = {place.path: layout_or_error(place.path, request.columns) for place in matches if place}
    first_path, first = next(iter(layouts.items()))
    texts = {column for own in layouts.values() for column in own.texts}
    names = tuple(name for name in first.names if name not in texts)
    for path, own in layouts.items():
        columns = set(own.names) - texts
        if own.source != first.source or columns != set(names):
            differing = sorted(columns ^ set(names))
            why = f"{differing[0]!r} is in one alone" if differing else "the files are of different kinds"
            is_table = path.suffix.lower() in TABLES and bool(differing)
            choice = f"; --feature-columns={modality}=NAME,NAME chooses those that all files have" if is_table else ""
            raise CorpusError(
                f"{path}: found {len(columns)} columns ({own.source}), expected the {len(names)} ({first.source}) of "
                f"{first_path}: {why}{choice}"
            )
    needs = [place for place in matches if place and layouts[place.path].needs_rate and place.rows != 1]
    if needs and not request.rate:
        raise CorpusError(
            f"{needs[0].path}: found no times of its rows, expected --feature-rate={modality}=HZ with the rows (or "
            "pictures) per second"
        )
    notes = [f"{modality}: {len(names)} columns ({first.source}) are its features: {_first(names)}"]
    if words := sorted(texts):
        notes.append(f"{modality}: columns of text are no features: {_first(words)}")
    return Schema(first.source, names, request.rate if needs else 0.0), notes


def _as_in_dataset(request: FeatureRequest, wanted: Schema | None) -> FeatureRequest:
    """The request with the columns and the rate of a dataset; unchanged if there is none."""
    if wanted is None:
        return request
    columns = tuple(map(glob.escape, wanted.names)) if f".{wanted.source}" not in ARRAYS else ()
    return dataclasses.replace(request, columns=columns, rate=wanted.rate)


def _join_notes(
    modality: str, path: Path, clips: Sequence[ClipSource], places: NameIndex[_Place], matches: Sequence[_Place | None]
) -> Iterator[str]:
    if without := [clip.id for clip, place in zip(clips, matches, strict=True) if place is None]:
        yield f"{counted(len(without), 'clip')} without {modality} features in {path}: {some(without)}"
    used = set(matches)
    if unused := [name for name in sorted(places.names()) if (match := places.find(name)) and match[1] not in used]:
        yield f"{modality} features in {path} without a clip, {len(unused)} in all: {some(unused)}"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(printable, names[:SHOWN])) + more


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
