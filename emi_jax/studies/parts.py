"""The parts of a study, which processes can do independently: runs of a sweep, folds, cells of a grid."""

import dataclasses
from collections.abc import Callable

SHARED = ("study", "launch")
"""What the configs of all studies have, and those of their parts lack, as they lack the study's own section."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a study.

    Attributes:
        name: name of its log, unique in the study.
        is_done: whether it is complete; asked only where it matters, as it may read the weights of encoders.
        do: does it, resuming it if it was begun.
        check: raises a UserError if it was begun with another config or on another dataset; nothing to check where
            another config has another place.
    """

    name: str
    is_done: Callable[[], bool]
    do: Callable[[], object]
    check: Callable[[], object] = lambda: None
