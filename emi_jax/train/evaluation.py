"""Runs a stage over a whole split and scores it."""

import copy
from collections.abc import Callable, Iterator

import jax
import numpy as np

from emi_jax.inputs.lengths import LengthBuckets
from emi_jax.inputs.loader import RandomAccess, batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import Transform
from emi_jax.progress import progress_bar
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.signals import stop_if_signalled
from emi_jax.train.step import Batch, Stage

Forward = Callable[[dict, Batch], dict[str, jax.Array]]
Outputs = dict[str, np.ndarray]
Scores = dict[str, float]
PASSED_ON = ("clip", "valid", "labels", "label_mask", "transcript", "present")
"""Arrays of a batch that scoring needs in addition to the outputs."""


class Evaluator:
    """Evaluates a stage on one split; the compiled function is reused in every call.

    Attributes:
        split: name of the split.
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
        seeds: int = 0,
        buckets: LengthBuckets | None = None,
        threads: int = 0,
    ):
        """Prepares the forward pass.

        Args:
            stage: the stage to evaluate.
            mapping: maps the forward pass over devices.
            examples: the examples of the split.
            transform: from an example to arrays, without augmentation.
            batch_size: global batch size; divisible by the number of devices.
            split: name of the split.
            function: computes the outputs of a batch, `stage.forward` by default.
            seeds: S, if the function takes parameters of several seeds and returns arrays [b, S, ...]; otherwise 0.
            buckets: of the clips by their length; the function is compiled for the size of each.
            threads: that read clips, as in `batches`.
        """
        computed = function or stage.forward

        def forward(params: dict, batch: Batch) -> dict[str, jax.Array]:
            return computed(params, batch) | {name: batch[name] for name in PASSED_ON}

        self.split = split
        self._stage, self._mapping, self._examples, self._transform = stage, mapping, examples, transform
        self._plan, self._seeds, self._threads = Epochs(len(examples), batch_size, None, buckets), seeds, threads
        self._forward = mapping.map(forward, (REPLICATED, SHARDED), output=SHARDED)

    def outputs(self, params: dict, progress: bool = False, seed: int = 0) -> Iterator[Outputs]:
        """Yields the outputs batch by batch, padding included, in the order of the split or, with buckets, of lengths.

        Args:
            params: all parameters of the stage, on the devices.
            progress: whether to show a progress bar.
            seed: seeds the transform's augmentation, if it has any.

        Raises:
            StoppedError: a stop signal was received.
        """
        host = batches(
            self._examples,
            self._transform,
            self._plan,
            seed=seed,
            steps=self._plan.steps,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self._threads,
        )
        on_device = to_device(host, self._mapping.put)
        bar = {"desc": self.split, "total": self._plan.steps, "unit": "batch", "disable": not progress, "leave": False}
        running = None  # the devices process a batch while the previous one is fetched
        for batch in progress_bar(on_device, **bar):
            stop_if_signalled()
            dispatched = self._forward(params, batch)
            if running is not None:
                yield self._mapping.fetch(running)
            running = dispatched
        if running is not None:
            yield self._mapping.fetch(running)

    def over(
        self,
        examples: RandomAccess,
        transform: Transform | None = None,
        split: str = "",
        buckets: LengthBuckets | None = None,
    ) -> "Evaluator":
        """An evaluator of other clips of the same shapes with the same compiled functions.

        Args:
            examples: the clips.
            transform: from an example to arrays; by default the same.
            split: the name of these clips; by default the same.
            buckets: of these clips by their length.
        """
        other = copy.copy(self)
        other._examples, other._transform = examples, transform or self._transform
        other.split = split or self.split
        other._plan = Epochs(len(examples), self._plan.batch_size, None, buckets)
        return other

    def gather(self, params: dict, progress: bool = False) -> Outputs:
        """The outputs of all clips, arrays [n, ...] in the order of the split; [n, S, ...] for several seeds."""
        parts = list(self.outputs(params, progress))
        outputs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        kept = np.flatnonzero(outputs["valid"])
        kept = kept[np.argsort(outputs["clip"][kept])]
        return jax.tree.map(lambda leaf: leaf[kept], outputs)

    def score(self, outputs: Outputs) -> list[Scores]:
        """The stage's scores of the outputs of `gather`: one for each seed, or a single one without seeds."""
        if not self._seeds:
            return [self._stage.score(outputs, self.split)]
        return [self._stage.score(_of_seed(outputs, seed), self.split) for seed in range(self._seeds)]

    def run(self, params: dict, progress: bool = False) -> tuple[list[Scores], Outputs]:
        """Evaluates parameters.

        Args:
            params: all parameters of the stage, on the devices.
            progress: whether to show a progress bar.

        Returns:
            The scores as from `score`, and the scored outputs as from `gather`.
        """
        outputs = self.gather(params, progress)
        return self.score(outputs), outputs


def _of_seed(outputs: Outputs, seed: int) -> Outputs:
    return {name: array if name in PASSED_ON else array[:, seed] for name, array in outputs.items()}
