"""Runs a stage over a whole split and scores it."""

import copy
from collections.abc import Callable, Iterator

import jax
import numpy as np
import tqdm

from emi_jax.inputs.loader import RandomAccess, batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import Transform
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.step import Batch, Stage

Forward = Callable[[dict, Batch], dict[str, jax.Array]]
PASSED_ON = ("clip", "valid", "labels", "label_mask", "transcript", "present")
"""Arrays of a batch that scores need beside the outputs."""


class Evaluator:
    """Evaluates a stage on one split; the compiled function serves every call.

    Attributes:
        split: the split's name.
    """

    def __init__(
        self,
        stage: Stage,
        mapping: Mapping,
        examples: RandomAccess,
        transform: Transform,
        batch_size: int,
        split: str,
        function: Forward | None = None,
    ):
        """Prepares the forward pass.

        Args:
            stage: what is evaluated.
            mapping: over which devices.
            examples: the split.
            transform: without augmentation.
            batch_size: global; divisible by the number of devices.
            split: its name.
            function: what is computed of each clip, `stage.forward` by default.
        """
        computed = function or stage.forward

        def forward(params: dict, batch: Batch) -> dict[str, jax.Array]:
            return computed(params, batch) | {name: batch[name] for name in PASSED_ON}

        self.split = split
        self._stage, self._mapping, self._examples, self._transform = stage, mapping, examples, transform
        self._plan = Epochs(len(examples), batch_size, seed=None)
        self._forward = mapping.map(forward, (REPLICATED, SHARDED), output=SHARDED)

    def outputs(self, params: dict, progress: bool = False, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The outputs batch by batch, padding included; `seed` decides what a transform with augmentation does."""
        host = batches(
            self._examples,
            self._transform,
            self._plan,
            seed=seed,
            steps=self._plan.steps,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        on_device = tqdm.tqdm(
            to_device(host, self._mapping.put), self.split, self._plan.steps, unit="batch", disable=not progress
        )
        for batch in on_device:
            yield self._mapping.fetch(self._forward(params, batch))

    def over(self, examples: RandomAccess, transform: Transform) -> "Evaluator":
        """The same compiled function over other clips of the same shapes."""
        other = copy.copy(self)
        other._examples, other._transform = examples, transform
        other._plan = Epochs(len(examples), self._plan.batch_size, seed=None)
        return other

    def gather(self, params: dict, progress: bool = False) -> dict[str, np.ndarray]:
        """The outputs of all clips, arrays [n, ...] in the order of the split."""
        parts = list(self.outputs(params, progress))
        outputs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        kept = np.flatnonzero(outputs["valid"])
        kept = kept[np.argsort(outputs["clip"][kept])]
        return jax.tree.map(lambda leaf: leaf[kept], outputs)

    def run(self, params: dict, progress: bool = False) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Evaluates parameters.

        Args:
            params: all of the stage's, on the devices.
            progress: show a bar.

        Returns:
            The stage's scores, and the outputs they were made from: arrays [n, ...] in the order of the split.
        """
        outputs = self.gather(params, progress)
        return self._stage.score(outputs, self.split), outputs
