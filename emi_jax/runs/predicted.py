"""The folder of predictions of new clips, which grows clip by clip and can be resumed.

Each clip has a JSON file, and on request a page and a film with an overlay, written as soon as it is predicted.
`predictions.csv` and `left_out.csv` gain a line at a time, and `windows.csv` the lines of a clip that is predicted in
windows. A clip is skipped if its JSON file was made by the same model from the same files, and one of which a part was
predicted resumes from its state.
"""

import collections
import contextlib
import csv
import hashlib
import itertools
import signal
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from emi_jax.errors import UserError
from emi_jax.files import lock, read_json, whole_file, write_json
from emi_jax.prediction import Prediction
from emi_jax.report import tables
from emi_jax.report.clip import write_clip_page
from emi_jax.report.index import write_index
from emi_jax.report.terminal import counted, printable
from emi_jax.runs.submission import format_row, header
from emi_jax.runs.unfinished import Unfinished, remove_state
from emi_jax.train.signals import StoppedError

OVERLAY = ".overlay.mp4"
"""Ending of a clip's film with an overlay."""
STATE = ".unfinished.safetensors"
"""Ending of the state of a recording that is predicted in part."""
PREDICTIONS, WINDOWS, LEFT_OUT, INDEX = "predictions.csv", "windows.csv", "left_out.csv", "index.html"
LONGEST_NAME = 150
"""Bytes of a clip's id to keep in its file names; file systems allow 255 for a whole name."""
SHOWN = 20
"""Rows and lines shown at the end."""


Draw = Callable[[Path, Prediction], bool]


class PredictionFolder:
    """Predictions on disk.

    Attributes:
        path: the folder.
        done: clips that have been predicted.
        left_out: clips that could not be read.
        unfinished: the states of recordings that are predicted in part.
    """

    def __init__(
        self,
        path: Path,
        label_names: Sequence[str],
        label_range: tuple[float, float],
        pages: bool,
        draw: Draw | None = None,
    ):
        """Starts a table in a folder that exists and is locked; the arguments are those of `open`.

        Raises:
            UserError: the folder cannot be written.
        """
        self.path, self.done, self.left_out = path, 0, 0
        self._names, self._range, self._pages, self._draw = tuple(label_names), label_range, pages, draw
        self._made_from: Mapping[str, str] = {}
        self.unfinished = Unfinished({}, {})
        self._files: dict[str, str] = {}
        self._rows: dict[str, list[float]] = {}
        self._windows: dict[str, list[list[str]]] = {}
        self._modalities: tuple[str, ...] = ()  # of the windows' weights
        self._remarks: collections.Counter[str] = collections.Counter()
        self._reasons: list[str] = []
        with _reported(path):
            self._write_tables()
            (path / LEFT_OUT).unlink(missing_ok=True)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        path: Path,
        label_names: Sequence[str],
        label_range: tuple[float, float],
        pages: bool,
        draw: Draw | None = None,
    ) -> Iterator["PredictionFolder"]:
        """Makes the folder and locks out other writers until the block or the process ends.

        Args:
            path: path of the folder; other files in it are left alone.
            label_names: the K label names.
            label_range: lowest and highest label in the users' units.
            pages: whether each clip gets a page.
            draw: writes a clip's film with an overlay to a path, and returns whether it can; None for no films.

        Raises:
            UserError: the folder cannot be made or written, or another program writes predictions to it.
        """
        with contextlib.ExitStack() as held:
            with _reported(path):
                path.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock(path))
            yield cls(path, label_names, label_range, pages, draw)

    def resume(self, made_from: Mapping[str, str]) -> set[str]:
        """Finds the clips that are already predicted.

        Args:
            made_from: a hash of the model and of the clip's files, by the id of each clip to predict.

        Returns:
            The ids of the clips whose results are complete and were made from the same model and files.
        """
        self._made_from, self._files = made_from, file_names(made_from)
        for clip, key in made_from.items():
            if self._pages and not self._path(clip, ".html").exists():
                continue
            facts = _read_facts(self._path(clip, ".json")) or {}
            if self._draw and not (self._path(clip, OVERLAY).exists() or facts.get("overlay") is False):
                continue
            if facts.get("made_from") == key:
                self._keep(clip, facts)
        self._write_tables()
        states = {clip: self._path(clip, STATE) for clip in made_from}
        for clip in self._rows:
            remove_state(states.pop(clip))  # the program was killed before it did this
        self.unfinished = Unfinished(states, made_from)
        return set(self._rows)

    def add(self, prediction: Prediction) -> None:
        """Writes a clip's prediction."""
        page = self._path(prediction.id, ".html")
        if self._pages:
            write_clip_page(page, prediction, self._range)
        else:
            page.unlink(missing_ok=True)  # from an earlier prediction
        film = self._path(prediction.id, OVERLAY)
        film.unlink(missing_ok=True)
        drawn = {"overlay": self._draw(film, prediction)} if self._draw else {}
        facts = prediction.facts() | drawn | {"made_from": self._made_from.get(prediction.id, "")}
        write_json(self._path(prediction.id, ".json"), facts)
        self.unfinished.remove(prediction.id)
        self._keep(prediction.id, facts)
        self._append(PREDICTIONS, [self._row(prediction.id)])
        if windows := self._windows.get(prediction.id):
            if len(self._windows) == 1:
                self._append(WINDOWS, [self._header()])
            self._append(WINDOWS, windows)

    def leave_out(self, clip: str, reason: str) -> None:
        """Records a clip that cannot be read, and the reason."""
        path = self.path / LEFT_OUT
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if not self.left_out:
                writer.writerow(["Filename", "Reason"])
            writer.writerow([printable(clip), printable(reason)])
        self.left_out += 1
        if len(self._reasons) < SHOWN:
            self._reasons.append(printable(reason))

    def finish(self) -> str:
        """Sorts the table by clip and, if clips have pages, writes an index page that links to them.

        Returns:
            A summary for the terminal: some rows, remarks, and the clips left out.
        """
        self._write_tables()
        clips = sorted(self._rows)
        remarks = sorted(self._remarks.items(), key=lambda remark: (-remark[1], remark[0]))
        if self._pages:
            rows = {clip: (self._path(clip, ".html").name, self._rows[clip]) for clip in clips}
            write_index(self.path / INDEX, self._names, self._range, rows, remarks)
        shown: list[list[str | float]] = [[printable(clip), *self._rows[clip]] for clip in clips[:SHOWN]]
        parts = [tables.plain(["", *self._names], shown) if shown else "no clip was predicted"]
        if more := len(self._rows) - len(shown):
            parts.append(f"... and {more} more in {self.path / PREDICTIONS}")
        parts += [f"{counted(count, 'clip')}: {kind}" for kind, count in remarks]
        parts += [f"left out: {reason}" for reason in self._reasons]
        if more := self.left_out - len(self._reasons):
            parts.append(f"left out: {more} more, named in {self.path / LEFT_OUT}")
        return "\n".join(parts)

    def _keep(self, clip: str, facts: Mapping[str, Any]) -> None:
        self._rows[clip] = [float(facts["intensities"][name]) for name in self._names]
        if windows := facts.get("windows"):
            self._windows[clip] = [self._window(clip, window) for window in windows]
            self._modalities = tuple(windows[0]["weights"])
        self._remarks.update({remark.partition(" (")[0] for remark in facts["remarks"]})
        self.done = len(self._rows)

    def _row(self, clip: str) -> list[str]:
        return format_row(printable(clip), self._rows[clip])

    def _header(self) -> list[str]:
        """The first row of the table of windows."""
        weights = (f"weight_{name}" for name in self._modalities)
        return ["Filename", "Start", "End", "Person", *self._names, *weights, "Flags"]

    def _window(self, clip: str, window: Mapping[str, Any]) -> list[str]:
        seconds = (f"{window[name]:.3f}" for name in ("start", "end"))
        values = [*(window["intensities"][name] for name in self._names), *window["weights"].values()]
        return [
            printable(clip),
            *seconds,
            str(window["person"] or ""),
            *(f"{value:.6f}" for value in values),
            "; ".join(window["flags"]),
        ]

    def _append(self, name: str, rows: Iterable[Sequence[str]]) -> None:
        with (self.path / name).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def _write_tables(self) -> None:
        self._write_table(PREDICTIONS, header(self._names), map(self._row, sorted(self._rows)))
        if self._windows:
            rows = itertools.chain.from_iterable(self._windows[clip] for clip in sorted(self._windows))
            self._write_table(WINDOWS, self._header(), rows)
        else:
            (self.path / WINDOWS).unlink(missing_ok=True)

    def _write_table(self, name: str, first: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        with whole_file(self.path / name) as part, part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([first, *rows])

    def _path(self, clip: str, ending: str) -> Path:
        return self.path / f"{self._files.get(clip) or file_names([clip])[clip]}{ending}"


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """A file name for each clip, without its extension: the id itself if it is safe as a file name.

    An unsafe id (it holds control characters or a slash, starts with a dot, is very long, is the name of a table, or
    differs from another id only in case or Unicode form) is cleaned, and a hash is appended.
    """
    ids = list(ids)
    counts = collections.Counter(map(_folded, ids))
    reserved = {name.partition(".")[0] for name in (PREDICTIONS, WINDOWS, LEFT_OUT, INDEX)}
    return {clip: _file_name(clip, counts[_folded(clip)] > 1 or _folded(clip) in reserved) for clip in ids}


def _file_name(clip: str, ambiguous: bool) -> str:
    clean = "".join(sign if sign != "/" and printable(sign) == sign else "_" for sign in clip)
    if clean.startswith("."):
        clean = "_" + clean[1:]
    clean = clean.encode()[:LONGEST_NAME].decode(errors="ignore")
    if clean == clip and not ambiguous:
        return clean
    return f"{clean}-{hashlib.sha256(clip.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@contextlib.contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Reports in one line why a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); name another with --output=DIR") from error


def _read_facts(path: Path) -> dict[str, Any] | None:
    """The content of a clip's JSON file; None if it is missing or incomplete."""
    try:
        return read_json(path)
    except (OSError, UserError):
        return None


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the context SIGTERM and SIGINT raise StoppedError at once, since all predictions so far are on disk."""

    def stop(number: int, frame: object) -> NoReturn:
        raise StoppedError(f"stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
