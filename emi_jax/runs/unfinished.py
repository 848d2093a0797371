"""Recordings that are predicted in part: a file holds the state of each, and a second start resumes from it.

A file holds arrays and JSON as safetensors, and a seal: a hash of its content and of what the state was made from.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from emi_jax.files import whole_file, write_tensors
from emi_jax.report.terminal import printable
from emi_jax.runs.recording import Recording

FORMAT = 1  # increment when the content of a state changes
INTERVAL = 5.0
"""Least seconds between two writes."""
SHARE = 0.02
"""Largest share of the time that writing takes: the more hours a state describes, the less often it is written."""
TREE, SEAL = "tree", "seal"
"""Names of the JSON and of the seal among the arrays of a file."""
DAMAGE = (OSError, ValueError, KeyError, TypeError, SafetensorError)
"""The exceptions that reading a damaged file raises."""

log = logging.getLogger(__name__)


class Unfinished:
    """The states of recordings in a folder that is locked.

    Attributes:
        bookmarks: by id, from where the reader resumes each recording of which a part was predicted, see
            `emi_jax.inputs.pieces.Piece`.
    """

    def __init__(self, files: Mapping[str, Path], made_from: Mapping[str, str]):
        """Reads the states from which recordings can be resumed, and removes all others, which is logged.

        Args:
            files: by the id of each clip that is to be predicted, the path of its state.
            made_from: by id, a hash of the model and of the clip's files.
        """
        self._files, self._made_from = files, made_from
        self._states: dict[str, dict[str, Any]] = {}
        for clip, path in files.items():
            if path.exists() and (state := self._read(clip)):
                self._states[clip] = state
        self.bookmarks: dict[str, Any] = {clip: state["bookmark"] for clip, state in self._states.items()}
        self._next = time.monotonic() + INTERVAL

    @property
    def due(self) -> bool:
        """Whether the time has come to write states again."""
        return time.monotonic() >= self._next

    def restore(self, clip: str, recording: Recording) -> None:
        """Gives a recording that starts the state that is stored for it, if any."""
        if state := self._states.pop(clip, None):
            recording.restore(state)

    def save(self, recordings: Mapping[str, Recording]) -> None:
        """Writes the states of recordings, all of whose windows so far are predicted."""
        began = time.monotonic()
        for clip, recording in recordings.items():
            if recording.bookmark:
                tensors = pack(recording.state())
                tensors[SEAL] = _seal(tensors, self._made_from[clip])
                path = self._files[clip]
                with whole_file(path, durable=False, partial=_partial(path)) as partial:  # `_read` verifies it
                    write_tensors(partial, tensors)
        ended = time.monotonic()
        self._next = ended + max(INTERVAL, (ended - began) / SHARE)

    def remove(self, clip: str) -> None:
        """Removes the state of a recording that is complete."""
        if path := self._files.get(clip):
            remove_state(path)

    def _read(self, clip: str) -> dict[str, Any] | None:
        """The state of a recording; None, and its file is removed, if it cannot be resumed from it."""
        path = self._files[clip]
        try:
            tensors = load(path.read_bytes())
            seal = tensors.pop(SEAL)
            if np.array_equal(seal, _seal(tensors, self._made_from[clip])):
                return unpack(tensors)
            why = "belongs to another model, recording, options or version, or is damaged"
        except DAMAGE as error:
            why = f"is damaged ({error})"
        log.warning("note: %s %s: it is removed, and %s is predicted from its start", path, why, printable(clip))
        remove_state(path)
        return None


def remove_state(path: Path) -> None:
    """Removes the state at a path, and one that was not written completely."""
    path.unlink(missing_ok=True)
    _partial(path).unlink(missing_ok=True)


def pack(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Packs nested mappings and sequences of arrays, bytes, and what JSON has into arrays by name."""
    tensors: dict[str, np.ndarray] = {}
    text = json.dumps(_plain(tree, tensors))
    return tensors | {TREE: np.frombuffer(text.encode(), np.uint8)}


def unpack(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The tree that `pack` packed; its sequences are lists."""
    return _tree(json.loads(tensors[TREE].tobytes()), tensors)


def _plain(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """A tree as JSON, with a name for each array, which is added to `tensors`; keys of mappings need not be strings."""
    if isinstance(value, Mapping):
        return {"items": [(key, _plain(part, tensors)) for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(part, tensors) for part in value]
    if not isinstance(value, bytes | np.ndarray):
        return value
    kind, name = "bytes" if isinstance(value, bytes) else "array", str(len(tensors))
    tensors[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
    return {kind: name}


def _tree(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_tree(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "items":
        return {key: _tree(part, tensors) for key, part in content}
    return tensors[content].tobytes() if kind == "bytes" else tensors[content]


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _seal(tensors: Mapping[str, np.ndarray], made_from: str) -> np.ndarray:
    """uint8 [32]: a hash of arrays, and of what they were made from."""
    hasher = hashlib.sha256(f"{FORMAT} {made_from}".encode())
    for name, array in sorted(tensors.items()):
        hasher.update(f" {name} {array.dtype} {array.shape} ".encode())
        hasher.update(array.tobytes())
    return np.frombuffer(hasher.digest(), np.uint8)
