"""The seal of a checkpoint: the layout of its arrays, a few facts, and the SHA-256 of every file.

It defines damage: a file whose hash differs, a missing file, or a seal that cannot be parsed. Any other problem with a
checkpoint (an unresponsive disk, lack of memory, a model of another shape) does not make it damaged.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from emi_jax.errors import UserError

FILE = "seal.json"

Layout = dict[str, list]
"""Dtype and shape of each array by its path, as `["float32", 64, 3]`."""


class DamagedError(Exception):
    """A file of a checkpoint differs from what was written."""


@dataclasses.dataclass(frozen=True)
class Seal:
    """The content of `seal.json`.

    Attributes:
        files: SHA-256 of each file, by its path in the folder.
        arrays: the layout of the arrays.
        facts: any JSON-serialisable value.
    """

    files: Mapping[str, str]
    arrays: Layout
    facts: Mapping[str, Any]


def layout(tree: Any) -> Layout:
    """The layout of a tree of arrays or of their shapes."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): [str(leaf.dtype), *leaf.shape]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def first_difference(stored: Layout, expected: Layout) -> str:
    """The first array in which a stored layout differs from the expected one, in words; empty if they agree."""
    for path in sorted(stored.keys() | expected.keys()):
        if path not in stored:
            return f"it lacks {path}"
        if path not in expected:
            return f"it holds {path}, which this run does not have"
        if stored[path] != expected[path]:
            (dtype, *shape), (wanted, *wanted_shape) = stored[path], expected[path]
            return f"{path} is {dtype} {shape}, in this run {wanted} {wanted_shape}"
    return ""


def read_seal(folder: Path) -> Seal:
    """The seal of a folder of arrays.

    Raises:
        DamagedError: the seal is missing or cannot be parsed.
        UserError: the seal was written by another version of this project.
        OSError: the seal cannot be read.
    """
    try:
        content = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise DamagedError(f"its {FILE} is missing") from None
    except ValueError as error:
        raise DamagedError(f"its {FILE} cannot be parsed") from error
    try:
        return Seal(**content)
    except TypeError:
        raise UserError(
            f"{folder / FILE} was written by another version of emi-jax: use the version that trained the run"
        ) from None


def check_files(folder: Path, seal: Seal) -> None:
    """Compares every file of a folder of arrays with its seal.

    Raises:
        DamagedError: a file is missing or its content differs.
        OSError: a file cannot be read.
    """
    for name, sealed in seal.files.items():
        try:
            found = _sha256(folder / name)
        except FileNotFoundError:
            raise DamagedError(f"its file {name} is missing") from None
        if found != sealed:
            raise DamagedError(f"its file {name} has the SHA-256 {found[:12]}, sealed was {sealed[:12]}")


class SealedHandler(ocp.StandardCheckpointHandler):
    """Saves arrays as orbax does, together with their seal.

    The files are hashed in orbax's background thread after the last one is written and before the checkpoint is
    renamed into place, so every checkpoint has a seal and no step waits for hashing.
    """

    async def async_save(self, directory: Any, args: "SealedSave") -> list[ocp.future.Future] | None:
        """Copies the arrays to host memory and returns; they are written in the background."""
        self._args = args
        return await super().async_save(directory, args=ocp.args.StandardSave(args.arrays))

    def finalize(self, directory: Any) -> None:
        """Called in the first process when all processes have written their files."""
        super().finalize(directory)
        folder = Path(directory)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        hashes = {path.relative_to(folder).as_posix(): _sha256(path) for path in files}
        seal = Seal(hashes, self._args.layout, self._args.facts)
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(seal)))


@ocp.args.register_with_handler(SealedHandler, for_save=True, for_restore=True)  # orbax requires both
@dataclasses.dataclass
class SealedSave(ocp.args.CheckpointArgs):
    """The content of a checkpoint to save.

    Attributes:
        arrays: a tree of arrays.
        facts: any JSON-serialisable value.
    """

    arrays: Any
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        self.layout = layout(self.arrays)  # now, because the next step donates the arrays


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
