"""One compiled program for each shape of the batches of a function."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from emi_jax.train import flops

log = logging.getLogger(__name__)


class Programs:
    """Compiles a mapped function for each shape of batches when it first comes.

    Attributes:
        compile_seconds: time spent on compilation so far.
        operations: of the program that was last used, as `flops.count` counts them; 0 unless they are counted.
    """

    def __init__(self, function: Any, name: str = "", counts: bool = False):
        """Compiles nothing yet.

        Args:
            function: from `Mapping.map`; its second argument is a batch, and the others keep their shapes.
            name: what the function is, to log its compilations; empty for no log.
            counts: whether to count operations, for which the function is traced once more.
        """
        self._function, self._name, self._counts = function, name, counts
        self._programs: dict[tuple, tuple[Callable, float]] = {}
        self.compile_seconds, self.operations = 0.0, 0.0

    def program(self, first: Any, batch: dict[str, Any], *others: Any) -> Callable:
        """The program for the shapes of a batch, compiled if it is new."""
        shapes = tuple(array.shape for array in batch.values())
        if shapes not in self._programs:
            began = time.perf_counter()
            operations = flops.count(self._function, first, batch, *others) if self._counts else 0.0
            compiled = self._function.lower(first, batch, *others).compile()
            seconds = time.perf_counter() - began
            self._programs[shapes] = compiled, operations
            self.compile_seconds += seconds
            if self._name:
                named = {array.shape: name for name, array in reversed(batch.items())}  # the first of those alike
                largest = sorted(named, key=math.prod, reverse=True)[:3]
                sizes = ", ".join(f"{named[shape]} {shape}" for shape in largest)
                log.info("%s compiled in %.1f s for batches of %s", self._name, seconds, sizes)
        program, self.operations = self._programs[shapes]
        return program

    def __call__(self, *arguments: Any) -> Any:
        """The function's result, by the program for the shapes of its batch."""
        return self.program(*arguments)(*arguments)
