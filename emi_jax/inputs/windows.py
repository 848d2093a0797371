"""Windows over time: parts of a clip of equal length, cut from a whole clip or from pieces of it as they arrive."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Example, transcript
from emi_jax.inputs.pieces import TOLERANCE, Piece
from emi_jax.inputs.texts import SECONDS_PER_WORD
from emi_jax.modalities import AUDIBLE, SAMPLE_RATE

FRAMES = ("times", "faces", "face_found", "landmarks", "person")
"""The parts of an example with an entry for each picture, the last one of new clips alone."""
LEFT_OUT = ("piece", "places", "remarks", "others")
"""What a piece has and a window has not."""
WHOLE = Piece(0.0, math.inf, True)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of equal length, a hop apart, from second 0 on; the last one ends with the clip.

    Attributes:
        seconds: length of a window.
        hop: seconds from the start of one window to that of the next, at most `seconds`.
    """

    seconds: float
    hop: float

    def __post_init__(self) -> None:
        """Checks the lengths.

        Raises:
            UserError: a length is not positive and finite, or parts of the clip would lie in no window.
        """
        for name, value in (("window", self.seconds), ("hop", self.hop)):
            if not 0 < value < math.inf:
                raise UserError(f"--{name}={value:g}: expected a number of seconds above 0")
        if self.hop > self.seconds:
            raise UserError(
                f"--hop={self.hop:g} is longer than the window of {self.seconds:g} s: what lies between two windows "
                "would not be read; choose a hop of at most the window's length"
            )


class Window(NamedTuple):
    """A window of a clip.

    Attributes:
        start: seconds since the clip's start.
        end: the same of its end.
        last: whether it is the clip's last one.
        example: what lies in it; its times are seconds since the window's start.
        person: the number of the person who is seen in it; 0 for nobody, or if people are not numbered.
        other: whether this is a person besides the one who is read.
    """

    start: float
    end: float
    last: bool
    example: Example
    person: int = 0
    other: bool = False


def length(example: Example) -> float:
    """The length of a clip in seconds by its sound, pictures and features, else by its timed words; 0 if unknown."""
    times = ["times", *(name for name, _ in _features(example))]
    ends = [len(example["audio"]) / SAMPLE_RATE, *(float(np.max(example[name], initial=0.0)) for name in times)]
    return max(ends) or float(np.max(example["word_times"], initial=0.0))


class Cutter:
    """Cuts a clip into windows, and holds no more of the clip than the next windows need.

    Attributes:
        windows: their length and hop.
        untimed: whether the clip has words whose times are unknown; they are spread evenly over the clip.
    """

    def __init__(self, windows: Windows):
        """Starts at second 0 of a clip."""
        self.windows, self.untimed = windows, False
        self._held: dict[str, Any] | None = None
        self._first = 0  # which sample of the clip is the first of the held sound
        self._end = 0.0  # of everything held so far
        self._words: list[tuple[str, float, float]] = []
        self._others: dict[int, dict[str, Any]] = {}
        self._count = 0  # windows on the grid so far

    def state(self) -> dict[str, Any]:
        """What is held of the clip, for `restore`: arrays, bytes and plain values in mappings and sequences."""
        return {
            "untimed": self.untimed,
            "held": self._held,
            "first": self._first,
            "end": self._end,
            "words": self._words,
            "others": self._others,
            "count": self._count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continues where another cutter of the same windows was when it gave its state."""
        self.untimed, self._held, self._others = state["untimed"], state["held"], state["others"]
        self._first, self._end, self._count = state["first"], state["end"], state["count"]
        self._words = [(word, start, end) for word, start, end in state["words"]]

    def add(self, example: Example) -> Iterator[Window]:
        """Yields the windows that are complete with the next piece of the clip.

        There is one for each place, after those of other people whose face is found at this place.

        Args:
            example: a whole clip, or a piece of one that holds its `Piece` under "piece".
        """
        piece = example.get("piece", WHOLE)
        self.hold(example, piece)
        yield from self.finish() if piece.last else self.until(piece.end)

    def until(self, seconds: float) -> Iterator[Window]:
        """Yields the windows that end before a second up to which everything has been added."""
        if self._held is not None:
            yield from self._on_the_grid(seconds, last=False)

    def finish(self) -> Iterator[Window]:
        """Yields the remaining windows, at the end of the clip."""
        if self._held is None:
            return
        end = self._end or max((last for _, _, last in self._words), default=0.0)
        yield from self._on_the_grid(end, last=True)
        size, hop = self.windows.seconds, self.windows.hop
        covered = (self._count - 1) * hop + size if self._count else 0.0
        if not self._count or end - covered > min(TOLERANCE, hop / 2):
            yield from self._cut(max(0.0, end - size), end, last=True)

    def _on_the_grid(self, end: float, last: bool) -> Iterator[Window]:
        size, hop = self.windows.seconds, self.windows.hop
        spare = min(TOLERANCE, hop / 2)
        limit = end + (spare if last else 0.0)
        while (start := self._count * hop) + size <= limit:
            self._count += 1
            ends = last and self._count * hop + size > limit and end - (start + size) <= spare
            self._drop(start)
            yield from self._cut(start, start + size, ends)

    def _cut(self, start: float, end: float, last: bool) -> Iterator[Window]:
        """The windows from one second to another; the last one includes what is held beyond its end."""
        assert self._held is not None
        held, until = self._held, math.inf if last else end
        first, stop = (max(0, round(second * SAMPLE_RATE) - self._first) for second in (start, end))
        words = [(word, a - start, b - start) for word, a, b in self._words if start <= (a + b) / 2 < until]
        example: dict[str, Any] = {
            **held,
            **_between(held, start, until),
            "audio": _audible(held["audio"][first:stop]),
            "transcript": " ".join(word for word, _, _ in words),
            "word_times": np.array([times for _, *times in words], np.float32).reshape(-1, 2),
        }
        for name in ("times", *(name for name, _ in _features(held))):
            example[name] = (example[name] - start).astype(np.float32)
        seen = example.pop("person", np.zeros(len(example["times"]), int))[example["face_found"]]
        person = int(np.bincount(seen).argmax()) if len(seen) else 0
        for number, frames in self._others.items():
            inside = _between(frames, start, until)
            if number != person and inside["face_found"].any():
                inside["times"] = (inside["times"] - start).astype(np.float32)
                yield Window(start, end, False, example | inside, number, other=True)
        yield Window(start, end, last, example, person)

    def hold(self, example: Example, piece: Piece) -> None:
        """Adds a piece to what is held."""
        new = _arrays(example)
        sound, at = np.asarray(example["audio"]), round(piece.start * SAMPLE_RATE)
        self._words += self._timed(example, piece)
        self._end = max(
            self._end, length({**example, "word_times": ()}), len(sound) and (at + len(sound)) / SAMPLE_RATE
        )
        if self._held is None:
            rest = {name: value for name, value in example.items() if name not in LEFT_OUT}
            self._held = {**rest, **new, "audio": sound[:0]}
        else:
            self._held |= _joined(self._held, new)
        for number, frames in example.get("others", {}).items():
            arrays = _arrays(frames)
            self._others[number] = _joined(self._others[number], arrays) if number in self._others else arrays
        if len(sound):
            gap = at - self._first - len(self._held["audio"])
            silence, late = np.zeros(max(0, gap), np.int16), max(0, -gap)  # what is late lies in windows that are gone
            self._held["audio"] = np.concatenate([self._held["audio"], silence, sound[late:]])

    def _timed(self, example: Example, piece: Piece) -> list[tuple[str, float, float]]:
        """The words of an example, each with its start and end."""
        words, times = transcript(example).split(), np.asarray(example["word_times"], np.float64).reshape(-1, 2)
        if words and not len(times):
            self.untimed = True
            seconds = piece.seconds or (length(example) if piece.last else 0.0)
            each = (seconds or SECONDS_PER_WORD * len(words)) / len(words)
            times = each * (np.arange(len(words))[:, None] + [0, 1])
        return [(word, first, last) for word, (first, last) in zip(words, times.tolist(), strict=True)]

    def _drop(self, start: float) -> None:
        """Drops what lies before a second."""
        assert self._held is not None
        self._held |= _between(self._held, start, math.inf)
        self._others = {
            number: kept
            for number, frames in self._others.items()
            if len((kept := _between(frames, start, math.inf))["times"])
        }
        first = max(self._first, round(start * SAMPLE_RATE))
        self._held["audio"] = self._held["audio"][first - self._first :].copy()  # a view would keep the whole in memory
        self._first = first
        self._words = [word for word in self._words if word[2] >= start]


def _arrays(example: Example) -> dict[str, Any]:
    """The pictures and features of an example, with their times in double precision."""
    arrays: dict[str, Any] = {}
    for times, *values in _groups(example):
        arrays[times] = np.asarray(np.asarray(example[times], np.float32), np.float64)
        arrays |= {name: list(example[name]) if name == "faces" else np.asarray(example[name]) for name in values}
    return arrays


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The pictures and features of two examples, one after the other."""
    return {
        name: first[name] + part if name == "faces" else np.concatenate([first[name], part])
        for name, part in second.items()
    }


def _between(example: Example, start: float, end: float) -> dict[str, Any]:
    """The pictures and features of an example whose times lie between two seconds."""
    kept: dict[str, Any] = {}
    for times, *values in _groups(example):
        inside = slice(*np.searchsorted(example[times], (start, end)).tolist())
        kept |= {name: example[name][inside] for name in (times, *values)}
    return kept


def _groups(example: Example) -> list[list[str]]:
    """The names of the parts of an example that have times, each after the name of its times."""
    frames = [name for name in FRAMES if name in example]
    return [frames, *([name, values] for name, values in _features(example))]


def _audible(sound: np.ndarray) -> np.ndarray:
    """The sound int16 [samples], or [0] if it is silent: it then counts as absent, as in a clip."""
    return sound if len(sound) and np.abs(sound - sound.mean()).max() >= AUDIBLE * 32768 else sound[:0]


def _features(example: Example) -> list[tuple[str, str]]:
    """The names of the times and of the values of the user's own features."""
    ending = "_feature_times"
    return [(name, name.removesuffix(ending) + "_features") for name in example if name.endswith(ending)]
