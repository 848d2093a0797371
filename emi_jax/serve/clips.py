"""The clips of a local page: each is read, predicted and drawn in turn, and nothing of it stays on the disk."""

import csv
import dataclasses
import enum
import io
import itertools
import logging
import shutil
import threading
import wave
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Example
from emi_jax.inputs.windows import Windows
from emi_jax.modalities import SAMPLE_RATE
from emi_jax.report.clip import render_clip_page
from emi_jax.report.terminal import printable
from emi_jax.runs.predicted import file_names
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.submission import format_row, header

MOST_CLIPS = 100
"""Clips in the list. Their results are in memory."""
MOST_FILES = 4
"""Clips whose files are on the disk at the same time."""
LONGEST_NAME = 200
"""Characters of a clip's name."""

log = logging.getLogger(__name__)


class State(enum.StrEnum):
    """How far a clip is."""

    RECEIVED = "received"
    READING = "reading"
    PREDICTING = "predicting"
    DONE = "done"
    FAILED = "failed"


FINISHED = (State.DONE, State.FAILED)


@dataclasses.dataclass
class Clip:
    """A clip in the list.

    Attributes:
        number: its name in addresses.
        name: its name for people, unique in the list.
        state: how far it is.
        part: which part of a long clip has been read, in [0, 1]; None if that is unknown.
        reason: why it failed, a sentence; "" if it has not.
        facts: `Prediction.facts` when it is done.
        page: its page, HTML, when it is done.
    """

    number: str
    name: str
    state: State = State.RECEIVED
    part: float | None = None
    reason: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    page: str = ""

    def summary(self) -> dict[str, Any]:
        """What the list shows of it, JSON-able."""
        shown = {name: getattr(self, name) for name in ("number", "name", "state", "part", "reason")}
        remarks = [remark.partition(" (")[0] for remark in self.facts.get("remarks", ())]
        return shown | {"intensities": self.facts.get("intensities"), "remarks": remarks}


class Upload(NamedTuple):
    """A clip as it was sent.

    Attributes:
        name: its name for people.
        file: the media file.
        words: what is said in it; None if unknown.
    """

    name: str
    file: Path
    words: str | None


Reader = Callable[[Upload], Iterable[Example]]
"""Yields a clip as one example, or a long one in pieces; raises UserError if it cannot be read."""


class Clips:
    """The list of clips. All methods but `process` are called by one thread, that of the server.

    Attributes:
        folder: holds the files of the clips that are not read yet.
    """

    def __init__(self, read: Reader, predictor: Predictor, windows: Windows | None, folder: Path, workers: int):
        """Starts an empty list.

        Args:
            read: reads a clip; is called by `workers` threads.
            predictor: predicts clips.
            windows: as for `Predictor.predict`.
            folder: an empty folder.
            workers: number of clips to read at the same time.
        """
        self.folder = folder
        self._read, self._predictor, self._windows = read, predictor, windows
        self._clips: dict[str, Clip] = {}
        self._numbers = itertools.count(1)
        self._model = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, "clips")

    def __iter__(self) -> Iterator[Clip]:
        return iter(self._clips.values())

    def get(self, number: str) -> Clip | None:
        """The clip with this number, if it is in the list."""
        return self._clips.get(number)

    def has_room(self) -> bool:
        """Whether a further file may be put on the disk; if not, it may be when a clip has been finished."""
        return sum(clip.state not in FINISHED for clip in self) < MOST_FILES

    def add(self, name: str) -> Clip:
        """Adds a clip whose file is about to arrive at `file`.

        Raises:
            UserError: the list is full.
        """
        if len(self._clips) >= MOST_CLIPS:
            raise UserError(f"the list is full with {MOST_CLIPS} clips: save the results and remove some of them")
        number = str(next(self._numbers))
        name = printable(name.strip())[:LONGEST_NAME] or f"clip {number}"
        taken = {clip.name for clip in self}
        unique = next(each for each in _variants(name) if each not in taken)
        self._clips[number] = Clip(number, unique)
        return self._clips[number]

    def file(self, clip: Clip) -> Path:
        """Where the file of a clip is until it has been read; its folder exists. Remarks show its name."""
        (self.folder / clip.number).mkdir(exist_ok=True)
        return self.folder / clip.number / file_names([clip.name])[clip.name]

    def delete_file(self, clip: Clip) -> None:
        """Deletes the file of a clip, and its folder."""
        shutil.rmtree(self.folder / clip.number, ignore_errors=True)

    def start(self, clip: Clip, words: str | None) -> None:
        """Has a clip processed whose file has arrived; the thread of the server does not wait for it."""
        self._threads.submit(self.process, clip, words)

    def remove(self, clip: Clip) -> None:
        """Forgets a clip; one that is being processed is dropped when it is done."""
        self._clips.pop(clip.number, None)
        self.delete_file(clip)

    def process(self, clip: Clip, words: str | None = None) -> None:
        """Reads and predicts a clip, deletes its file and draws its page; a failure is its state."""
        try:
            clip.state = State.READING
            examples = _followed(clip, self._read(Upload(clip.name, self.file(clip), words)))
            first = list(itertools.islice(examples, 1))  # while the model predicts another clip
            clip.state = State.PREDICTING
            with self._model:  # one at a time: the program uses all processors, and matplotlib's style is global
                (prediction,) = self._predictor.predict(itertools.chain(first, examples), self._windows)
                self.delete_file(clip)
                clip.page = render_clip_page(prediction, self._predictor.label_range)
            clip.facts = prediction.facts()
            clip.state = State.DONE
        except UserError as error:
            clip.reason, clip.state = printable(str(error)), State.FAILED
        except CancelledError:
            clip.reason, clip.state = "the program is stopping", State.FAILED
        except Exception:
            log.exception("clip %s", clip.name)
            clip.reason, clip.state = "an unexpected error, which the terminal shows", State.FAILED
        finally:
            self.delete_file(clip)

    def warm_up(self) -> None:
        """Processes a second of a tone, so that the first clip does not wait for compilation.

        Raises:
            UserError: clips cannot be processed.
        """
        clip = Clip("0", "tone.wav")
        tone = 3000 * np.sin(np.arange(SAMPLE_RATE) * 2 * np.pi * 220 / SAMPLE_RATE)
        with wave.open(str(self.file(clip)), "wb") as sound:
            sound.setparams((1, 2, SAMPLE_RATE, SAMPLE_RATE, "NONE", ""))
            sound.writeframes(tone.astype("<i2").tobytes())
        self.process(clip)
        if clip.state is not State.DONE:
            raise UserError(f"a second of a tone cannot be processed: {clip.reason}")

    def results(self) -> list[Mapping[str, Any]]:
        """`Prediction.facts` of the clips that are done, in the order of the list."""
        return [clip.facts for clip in self if clip.state is State.DONE]

    def table(self) -> str:
        """The intensities of the clips that are done, as the CSV of a submission."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(header(self._predictor.label_names))
        writer.writerows(format_row(facts["id"], facts["intensities"].values()) for facts in self.results())
        return text.getvalue()

    def close(self) -> None:
        """Drops the clips that wait; those in work are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _followed(clip: Clip, examples: Iterable[Example]) -> Iterator[Example]:
    """Keeps the clip's `part` up to date while its examples are taken."""
    for example in examples:
        piece = example.get("piece")
        if piece is not None and piece.seconds:
            clip.part = min(1.0, piece.end / piece.seconds)
        yield example


def _variants(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in itertools.count(2))
