"""The interface between a side of the comparison and the process that measures it."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Work:
    """A repeatable piece of work.

    Attributes:
        feed: gives the next batch on the device; time in it is time spent waiting for data.
        step: works on a batch and returns when all is done.
        clips: in a batch.
        count: floating-point operations of the matrix products and convolutions of one step.
    """

    feed: Callable[[], Any]
    step: Callable[[Any], Any]
    clips: int
    count: Callable[[], float]


class UnavailableError(Exception):
    """A case cannot run here; the message says what is missing."""
