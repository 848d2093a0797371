"""Staging: stores each finished clip in a file until all are read, so that an interrupted preparation can resume."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from data_prep.clips.clip import Clip, ClipSource, duration, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.errors import CorpusError
from data_prep.media.container import SAMPLE_RATE
from data_prep.media.remarks import Remark
from emi_jax.files import whole_file, write_tensors

DAMAGE = (ValueError, KeyError, TypeError, SafetensorError)
"""The exceptions that reading a damaged staged file raises."""

ENDING = ".safetensors"
"""Ending of staged files."""

PACKED = ("faces", "face_sizes", "text", "summary")
"""Arrays of a staged file that are no arrays of the example."""

FORMAT = 7  # increment when the same files yield a different example


@dataclasses.dataclass(frozen=True)
class Staged:
    """What the report needs to know about a finished clip.

    Attributes:
        digest: hash of the example's content.
        frames: number of pictures kept; `faces` of them show a face.
        seconds: length of the sound.
        length: seconds until the last picture or sample.
        words: whether there is a transcript.
        features: by modality with the user's own features, the number of valid rows and of all rows.
        remarks: irregularities found in its files.
    """

    digest: str
    frames: int
    faces: int
    seconds: float
    length: float
    words: bool
    features: dict[str, tuple[int, int]]
    remarks: tuple[Remark, ...]

    def has(self, modality: str) -> bool:
        """Whether the clip has something to see ("vision"), hear ("audio") or read ("text")."""
        if modality in self.features:
            return self.features[modality][0] > 0
        return {"vision": self.faces > 0, "audio": self.seconds > 0, "text": self.words}[modality]

    def to_json(self) -> str:
        """Serialises to text for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Staged":
        """Parses the text that `to_json` returned."""
        fields = json.loads(text)
        return cls(**{**fields, "remarks": tuple(Remark(*remark) for remark in fields["remarks"])})


def signature(source: ClipSource, options: ClipOptions) -> str:
    """A hash of everything that an example depends on: its files' names, sizes and mtimes, table cells, options."""
    files = [_file_mark(path) for path in (source.video, source.audio, source.faces)]
    words, labels = [source.transcript, source.word_times], [repr(label) for label in source.labels]
    cells = [source.id, source.split, source.muted, *words, source.subject, labels]
    features = [
        [modality, _file_mark(own.path), own.ranges, own.schema.metadata()] for modality, own in source.features.items()
    ]
    return _hash(json.dumps([FORMAT, files, features, cells, source.remarks, options.stored()]).encode())


def stage_clip(source: ClipSource, folder: Path, options: ClipOptions, asr_cache: Path | None = None) -> Staged:
    """Reads a clip into the folder, unless it is already staged there completely.

    Raises:
        ClipError: the clip cannot be read.
        OSError: the folder cannot be written to.
    """
    path = staged_path(source, folder, options)
    if path.exists():
        try:
            return _load(path, len(source.labels))[1]
        except DAMAGE:  # a power cut or a full disk left an incomplete file
            path.unlink(missing_ok=True)
    arrays, summary = _pack(read_clip(source, options, asr_cache))
    with whole_file(path, durable=False) as partial:  # `_load` verifies it
        write_tensors(partial, arrays)
    return summary


def staged_path(source: ClipSource, folder: Path, options: ClipOptions) -> Path:
    """The file in which `stage_clip` stores a clip; it depends on the signature."""
    return folder / f"{source.split}-{signature(source, options)[:32]}{ENDING}"  # an id may be as long as a file name


def load_staged(path: Path, labels: int) -> dict[str, Any]:
    """The example in a staged file; an unlabelled clip gets NaN for each of the `labels` labels.

    Raises:
        CorpusError: the file is damaged.
    """
    try:
        return _load(path, labels)[0]
    except DAMAGE as error:
        raise CorpusError(f"{path}: damaged ({error}); rerun the same command to read the clip again") from error


def content_digest(example: Mapping[str, Any]) -> str:
    """A hash of an example's content, the same before writing to the dataset and after reading it back.

    Labels that are all NaN hash like no labels, because a staged unlabelled clip does not know the number of labels.
    """
    hasher = hashlib.sha256()
    for name in sorted(example):
        value = example[name]
        if name == "faces":
            data = b"".join(len(face).to_bytes(8, "little") + face for face in value)
        elif name == "labels" and not np.isfinite(value).any():
            data = b""
        else:
            data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else value.tobytes()
        hasher.update(f"{name} {len(data)} ".encode() + data)
    return hasher.hexdigest()


def fingerprint(label_names: Sequence[str], label_range: Sequence[float], clips: Sequence[tuple[str, str, str]]) -> str:
    """A hash of a dataset's content: the labels' names and range, and (split, id, digest) of all clips, unordered."""
    return _hash(json.dumps([list(label_names), list(label_range), sorted(clips)]).encode())


def _load(path: Path, labels: int) -> tuple[dict[str, Any], Staged]:
    """The example in a staged file and its summary, after verifying that the content is intact.

    Raises:
        ValueError: the content has changed. A damaged file may raise any exception in DAMAGE.
    """
    arrays = load(path.read_bytes())
    text, summary = json.loads(arrays["text"].tobytes()), Staged.from_json(arrays["summary"].tobytes().decode())
    ends = np.cumsum(arrays["face_sizes"])
    blob = arrays["faces"].tobytes()
    known = arrays["labels"]
    example = {
        **text,
        **{name: value for name, value in arrays.items() if name not in PACKED},
        "faces": [blob[end - size : end] for size, end in zip(arrays["face_sizes"], ends, strict=True)],
        "labels": known if len(known) else np.full(labels, np.nan, np.float32),
    }
    if content_digest(example) != summary.digest:
        raise ValueError(f"{path.name}: another content than its summary says")
    return example, summary


def _pack(clip: Clip) -> tuple[dict[str, np.ndarray], Staged]:
    example = clip.example
    blob = b"".join(example["faces"])
    # safetensors would write the elements of other arrays in another order
    arrays = {name: np.ascontiguousarray(value) for name, value in example.items() if isinstance(value, np.ndarray)}
    arrays["faces"] = np.frombuffer(blob, np.uint8)
    arrays["face_sizes"] = np.array([len(face) for face in example["faces"]], np.int64)
    arrays["text"] = _as_bytes(json.dumps({name: example[name] for name in ("id", "transcript", "subject")}))
    summary = Staged(
        digest=content_digest(example),
        frames=len(example["faces"]),
        faces=int(example["face_found"].sum()),
        seconds=len(example["audio"]) / SAMPLE_RATE,
        length=duration(example),
        words=bool(example["transcript"]),
        features=clip.feature_rows,
        remarks=clip.remarks,
    )
    arrays["summary"] = _as_bytes(summary.to_json())
    return arrays, summary


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _file_mark(path: Path | None) -> list | None:
    """Name, size and mtime of a file; for a folder, those of the files in it."""
    if path is None:
        return None
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return [path.name, sorted(_mark(entry.name, entry.stat()) for entry in entries)]
        return _mark(path.name, path.stat())
    except OSError:
        return [path.name]


def _mark(name: str, status: os.stat_result) -> list:
    return [name, status.st_size, status.st_mtime_ns]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
