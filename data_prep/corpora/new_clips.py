"""New clips for prediction: one file, a folder of files, or a CSV table of names."""

import collections
import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count

from data_prep.clips.clip import Clip, ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.clips.stretches import Stretch
from data_prep.corpora.feature_files import FeatureRequest, join_features
from data_prep.corpora.folder import find_words, lost_names, words_remarks
from data_prep.corpora.media_files import list_media
from data_prep.corpora.names import AmbiguousNameError, clip_ids
from data_prep.corpora.tables import FILENAME, TRANSCRIPT, read_table
from data_prep.errors import ClipError, CorpusError
from data_prep.features.source import Schema, no_features
from data_prep.media.remarks import BROKEN_OFF, Remark
from data_prep.workers import TIME_LIMIT, WorkerPool, map_clips
from emi_jax.inputs.pieces import Piece, empty_example

TABLE_ENDINGS = (".csv", ".tsv")


class NewClips(NamedTuple):
    """Clips to predict.

    Attributes:
        clips: one source per clip, ordered by id.
        notes: notes on what was not read from the folder or table, and on how it was read.
    """

    clips: tuple[ClipSource, ...]
    notes: tuple[str, ...]


def find_clips(path: Path, recursive: bool = False) -> NewClips:
    """Finds the clips that a path refers to. A clip whose features are the user's own needs no file, only a name.

    The words of a clip may be in a file of the same name next to it, in any format of `data_prep.corpora.transcripts`.

    Args:
        path: a media file; a folder, whose media files are all read; or a table with a column Filename and optionally a
            column Transcript, whose names are looked up in the table's folder.
        recursive: whether to search the folder's subfolders as well.

    Raises:
        CorpusError: the path is none of these, or a name in the table does not match exactly one file.
    """
    if path.is_dir():
        folder = list_media(path, recursive)
        files = {name: folder.media.find(name) for name in sorted(folder.media.names())}
        if not files:
            raise CorpusError(
                f"{path}: found no media file, expected one that ends as FFmpeg's formats do (.mp4, .mov, .wav, ...), "
                "or a table of names for clips of features alone" + "".join(f"; {note}" for note in folder.notes())
            )
        clips, used, unmatched = _sources({name: (found[1], None) for name, found in files.items() if found})
        return NewClips(clips, (*folder.notes(used), *unmatched))
    if path.suffix.lower() in TABLE_ENDINGS:
        return _clips_of_table(path, recursive)
    if not path.exists() and not path.is_symlink():
        nearest = list_media(path.parent).media.nearest(path.name)
        like = f"; like it are {', '.join(nearest)}" if nearest else ""
        raise CorpusError(
            f"{path}: no such file or folder, expected a clip, a folder of clips or a table of names{like}"
        )
    return NewClips(_sources({path.name: (path, None)})[0], ())


def _clips_of_table(path: Path, recursive: bool) -> NewClips:
    table, folder = read_table(path, [], folders=recursive), list_media(path.parent, recursive)
    files: dict[str, tuple[Path, str | None]] = {}
    lines: dict[str, int] = {}
    lost: list[str] = []
    for row in table.rows:
        try:
            found = folder.media.find(row.name)
        except AmbiguousNameError as error:
            raise row.fault(FILENAME, f"a name that fits one file, not {' and '.join(error.candidates)}") from None
        if not found:
            lost.append(row.name)
        name, file = found or (row.name, path.parent / row.name)
        if name in files:
            raise row.fault(FILENAME, f"another clip: line {lines[name]} names the same file {name}")
        files[name], lines[name] = (file, row.cells.get(TRANSCRIPT)), row.line
    if not files:
        raise CorpusError(f"{path}: found no rows, expected the name of a clip in each")
    unfound = lost_names(lost, folder) if len(folder.media) else [f"{folder.path} holds no media file"]
    return NewClips(_sources(files)[0], (*table.notes, *unfound))


def add_features(found: NewClips, requests: Mapping[str, FeatureRequest], stored: Mapping[str, Any]) -> NewClips:
    """Adds the user's own features to new clips, to be read like those of the dataset on which a model was trained.

    Args:
        found: the clips.
        requests: by modality, where the features are.
        stored: by modality for which the model reads the user's own features, the dataset's metadata on them.

    Raises:
        CorpusError: a modality is in only one of `requests` and `stored`, the metadata is damaged, or as
            `data_prep.corpora.feature_files.join_features`.
    """
    schemas = {modality: Schema.from_metadata(facts) for modality, facts in stored.items()}
    joined = join_features(found.clips, requests, schemas)
    return NewClips(joined.clips, (*found.notes, *joined.notes))


def _sources(files: Mapping[str, tuple[Path, str | None]]) -> tuple[tuple[ClipSource, ...], set[Path], list[str]]:
    """Returns the clips, the files next to them that hold their words, and notes on words that match no clip.

    Args:
        files: by name, each file and its words from the table, if any.
    """
    ids = clip_ids(files)
    words = {parent: find_words(parent, None, False) for parent in {file.parent for file, _ in files.values()}}
    clips = []
    for name, (file, text) in files.items():
        place = words[file.parent]
        spoken = None if text or place is None else place.find(file.name)
        clips.append(
            ClipSource(
                ids[name],
                file,
                transcript=spoken.text if spoken else text,
                word_times=spoken.times if spoken else (),
                remarks=tuple(words_remarks(spoken)),
            )
        )
    used = {file for place in words.values() if place for file in place.files()}
    unmatched = [note for place in words.values() if place for note in place.unmatched()]
    return tuple(sorted(clips, key=lambda clip: clip.id)), used, unmatched


def read_clips(
    clips: Sequence[ClipSource],
    options: ClipOptions,
    left_out: Callable[[ClipSource, ClipError], object],
    seconds: float | None = TIME_LIMIT,
    bookmarks: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Reads clips in worker processes, so that a clip that crashes or hangs its reader does not affect the others.

    A clip that is longer than `options.max_seconds` comes in pieces of this length, one after the other, each of them
    read as a clip of that length is. Only a few clips, or a piece of each, are in memory at any time.

    Args:
        clips: the clips to read.
        options: how to read them: the options of the dataset on which the model was trained.
        left_out: called with each clip that cannot be read, and its error. A clip that can be read up to some piece is
            not left out: an empty last piece has a remark.
        seconds: time limit per clip or piece; None for no limit.
        bookmarks: by the id of each clip of which a part was read before, the bookmark of its last piece then, after
            which it is read on.

    Yields:
        Examples as documented in `data_prep.build.dataset`, in order of completion. Each also has `remarks`:
        (kind, detail) of the irregularities in the clip's files; `places`, float32 [N, 4], as in
        `data_prep.clips.vision.Vision`; `person`, int [N], the number of the person in each picture, 0 for nobody; and
        `others`: by number, faces, times, face_found and landmarks of the other people. Those of long clips have their
        `piece`, and the times of their pictures and words are seconds since the clip's start.
    """
    read = functools.partial(_read_stretch, options=options)
    bookmarks = bookmarks or {}
    waiting = collections.deque(
        _Part(clip, Stretch.resume(bookmarks[clip.id]) if clip.id in bookmarks else Stretch(0.0, options.max_seconds))
        for clip in clips
    )
    for part, result in map_clips(read, waiting, min(cpu_count(), max(1, len(clips))), seconds):
        if not isinstance(result, ClipError):
            clip, stretch = result
            if following := part.following(stretch):
                waiting.appendleft(following)  # a clip is finished before others are started
            yield _example(clip, stretch)
        elif part.stretch.start:
            yield _broken_off(part, result)
        else:
            left_out(part.clip, result)


@contextlib.contextmanager
def clip_reader(
    options: ClipOptions, processes: int, seconds: float | None = TIME_LIMIT
) -> Iterator[Callable[[ClipSource], Iterator[Mapping[str, Any]]]]:
    """Reads clips that come one at a time, in worker processes that stay until the block ends.

    Args:
        options: how to read them, as for `read_clips`.
        processes: number of worker processes.
        seconds: time limit per clip or piece; None for no limit.

    Yields:
        A function that yields the example of a clip or the pieces of a long one, as `read_clips` does, and raises
        ClipError if the clip cannot be read. As many threads as there are processes may use it.
    """
    with WorkerPool(functools.partial(_read_stretch, options=options), processes, seconds) as pool:

        def read(clip: ClipSource) -> Iterator[Mapping[str, Any]]:
            part: _Part | None = _Part(clip, Stretch(0.0, options.max_seconds))
            while part is not None:
                result = pool(part)
                if isinstance(result, ClipError):
                    if not part.stretch.start:
                        raise result
                    yield _broken_off(part, result)
                    return
                yield _example(*result)
                part = part.following(result[1])

        yield read


class _Part(NamedTuple):
    """A stretch of a clip that is to be read."""

    clip: ClipSource
    stretch: Stretch

    @property
    def id(self) -> str:
        """The clip's name."""
        return self.clip.id

    def following(self, read: Stretch) -> "_Part | None":
        """The next stretch of the clip, given this one as it was read; None if the clip does not go on."""
        return _Part(self.clip, read.next) if read.goes_on else None


def _read_stretch(part: _Part, options: ClipOptions) -> tuple[Clip, Stretch]:
    """What was read, and the stretch that was read, which says whether the clip goes on."""
    return read_clip(part.clip, options, stretch=part.stretch), part.stretch


def _example(clip: Clip, stretch: Stretch) -> dict[str, Any]:
    example = {**clip.example, "remarks": tuple(map(tuple, clip.remarks))}
    if not stretch.whole:
        length = max((timeline.length for timeline in stretch.timelines.values()), default=0.0)
        bookmark = stretch.next.bookmark if stretch.goes_on else None
        example["piece"] = Piece(stretch.start, stretch.end, not stretch.goes_on, length, bookmark)
    return example


def _broken_off(part: _Part, error: ClipError) -> dict[str, Any]:
    """The last piece of a clip that cannot be read from here on."""
    remark = Remark(BROKEN_OFF, f"{error}, from {part.stretch.start:g} s on")
    empty = {
        **empty_example(part.clip.id),
        "places": np.zeros((0, 4), np.float32),
        "person": np.zeros(0, int),
        "others": {},
    }
    for modality, own in part.clip.features.items():
        none = no_features(own)
        empty |= {f"{modality}_features": none.values, f"{modality}_feature_times": none.times}
    return {**empty, "remarks": (tuple(remark),), "piece": Piece(part.stretch.start, part.stretch.end, True)}


def fingerprint(clip: ClipSource, options: ClipOptions) -> str:
    """A hash of a clip's files (path, size and mtime), its words and their times, and the options for reading it."""
    files: list[object] = []
    for path in (clip.video, clip.audio, clip.faces, *(own.path for own in clip.features.values())):
        try:
            facts = path.stat() if path else None
        except OSError:
            facts = None
        files.append((os.fspath(path.absolute()), facts.st_size, facts.st_mtime_ns) if path and facts else None)
    facts_of_clip = repr((files, clip.features, clip.transcript, clip.word_times, options.stored()))
    return hashlib.sha256(facts_of_clip.encode("utf-8", "surrogateescape")).hexdigest()
