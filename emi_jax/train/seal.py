"""What lies beside the arrays of a checkpoint: a few facts, and the SHA-256 of the arrays' content."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from emi_jax.train.parameters import fingerprint
from emi_jax.train.processes import is_first

FILE = "seal.json"


def content_hash(tree: Any) -> str:
    """SHA-256 over paths, dtypes, shapes and bits of the arrays of any tree."""
    return fingerprint({jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)})


class SealHandler(ocp.AsyncCheckpointHandler):
    """Copies the arrays at once, since the next step reuses their memory, and hashes the copy in the background.

    orbax renames a checkpoint into place when all its items are written, so that none is there without its seal.
    """

    async def async_save(self, directory: Any, args: "SealSave") -> list[ocp.future.Future]:
        """Returns before the file is written."""
        if not is_first():
            return []
        copies = jax.tree.map(np.array, args.arrays)
        return [ocp.future.CommitFutureAwaitingContractedSignals(_write(directory, copies, args.facts), name="seal")]

    def save(self, directory: Any, args: "SealSave") -> None:
        """Not used: checkpoints are saved in the background."""
        raise NotImplementedError

    def restore(self, directory: Any, args: "SealRestore") -> dict[str, Any]:
        """The facts, and the hash as `sha256`."""
        return json.loads((Path(directory) / FILE).read_text())


async def _write(directory: Any, arrays: Any, facts: dict[str, Any]) -> None:
    (Path(directory) / FILE).write_text(json.dumps(facts | {"sha256": content_hash(arrays)}))


@ocp.args.register_with_handler(SealHandler, for_save=True)
@dataclasses.dataclass
class SealSave(ocp.args.CheckpointArgs):
    """What is sealed.

    Attributes:
        arrays: the tree that is saved beside it.
        facts: anything that JSON takes.
    """

    arrays: Any
    facts: dict[str, Any]


@ocp.args.register_with_handler(SealHandler, for_restore=True)
@dataclasses.dataclass
class SealRestore(ocp.args.CheckpointArgs):
    """Nothing to say."""
