"""Finished clips wait here, one file each, until all are there: a stopped preparation goes on with what is missing."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.clips.clip import Clip, ClipSource, read_clip
from data_prep.clips.media import SAMPLE_RATE
from data_prep.clips.options import ClipOptions
from data_prep.clips.remarks import Remark
from data_prep.files import whole_file

FORMAT = 2  # raise it when the same files give another example


@dataclasses.dataclass(frozen=True)
class Staged:
    """What the report needs to know of a finished clip.

    Attributes:
        digest: hash of the example's content.
        frames: pictures kept, and `faces` of them that count as a face.
        seconds: of sound.
        length: seconds until the last picture or sample.
        words: whether there is a transcript.
        remarks: what was odd about its files.
    """

    digest: str
    frames: int
    faces: int
    seconds: float
    length: float
    words: bool
    remarks: tuple[Remark, ...]

    def to_json(self) -> str:
        """Text for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Staged":
        """What `to_json` wrote."""
        told = json.loads(text)
        return cls(**{**told, "remarks": tuple(Remark(*remark) for remark in told["remarks"])})


def signature(source: ClipSource, options: ClipOptions) -> str:
    """A hash of all that an example is made from: files by name, size and time of change, table cells, options."""
    files = [_file_mark(path) for path in (source.video, source.audio, source.faces)]
    told = [source.id, source.split, source.transcript, source.subject, [repr(label) for label in source.labels]]
    return _hash(json.dumps([FORMAT, files, told, dataclasses.asdict(options)]).encode())


def stage_clip(source: ClipSource, folder: Path, options: ClipOptions, asr_cache: Path | None = None) -> Staged:
    """Reads a clip into the folder, unless it is there already.

    Raises:
        ClipError: the clip cannot be read.
        OSError: the folder cannot be written to.
    """
    path = staged_path(source, folder, options)
    if not path.exists():
        arrays = _pack(read_clip(source, options, asr_cache))
        with whole_file(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    with np.load(path) as arrays:
        return Staged.from_json(str(arrays["summary"]))


def staged_path(source: ClipSource, folder: Path, options: ClipOptions) -> Path:
    """Where `stage_clip` puts a clip: another signature is another file."""
    return folder / f"{source.split}-{source.id}-{signature(source, options)[:16]}.npz"


def load_staged(path: Path, labels: int) -> dict[str, Any]:
    """The example in a staged file; an unlabelled clip gets `labels` times NaN."""
    with np.load(path) as arrays:
        text = json.loads(str(arrays["text"]))
        ends = np.cumsum(arrays["face_sizes"])
        blob = arrays["faces"].tobytes()
        known = arrays["labels"]
        return {
            **text,
            "faces": [blob[end - size : end] for size, end in zip(arrays["face_sizes"], ends, strict=True)],
            "times": arrays["times"],
            "face_found": arrays["face_found"],
            "audio": arrays["audio"],
            "labels": known if len(known) else np.full(labels, np.nan, np.float32),
        }


def _pack(clip: Clip) -> dict[str, np.ndarray]:
    example = clip.example
    blob = b"".join(example["faces"])
    arrays = {name: example[name] for name in ("times", "face_found", "audio", "labels")}
    arrays["faces"] = np.frombuffer(blob, np.uint8)
    arrays["face_sizes"] = np.array([len(face) for face in example["faces"]], np.int64)
    arrays["text"] = np.array(json.dumps({name: example[name] for name in ("id", "transcript", "subject")}))
    seconds = len(example["audio"]) / SAMPLE_RATE
    summary = Staged(
        digest=_digest(arrays),
        frames=len(example["faces"]),
        faces=int(example["face_found"].sum()),
        seconds=seconds,
        length=max(seconds, float(max(example["times"], default=0.0))),
        words=bool(example["transcript"]),
        remarks=clip.remarks,
    )
    arrays["summary"] = np.array(summary.to_json())
    return arrays


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    return _hash(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))


def _file_mark(path: Path | None) -> list | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return [path.name]
    return [path.name, status.st_size, status.st_mtime_ns]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
