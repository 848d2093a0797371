"""The interface between a side of the comparison and the process that measures it."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Work:
    """A repeatable piece of work.

    Attributes:
        feed: returns the next batch on the device; its time counts as waiting for data.
        step: processes a batch and returns when the device has finished.
        clips: number of clips in a batch.
        count: floating-point operations of the matrix products and convolutions of one step.
    """

    feed: Callable[[], Any]
    step: Callable[[Any], Any]
    clips: int
    count: Callable[[], float]


class UnavailableError(Exception):
    """A case cannot run here; the message says what is missing."""
