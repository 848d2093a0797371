"""Progress of long work: a bar on a terminal; elsewhere, as in the log of a job, a line every half minute."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import tqdm

SECONDS = 30.0
"""Between two lines where there is no terminal; work that takes less prints none."""
_LINE = "{desc} {percentage:.0f}%, {n_fmt} of {total_fmt}, {elapsed} < {remaining}, {rate_fmt}{postfix}"


class _Lines:
    """A file that turns what redraws a bar in place into lines."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, text: str) -> None:
        """Writes a drawn bar as one line, and nothing for what only moves the cursor."""
        if text := text.replace("\x1b[A", "").strip():
            self._file.write(f"{text}\n")

    def flush(self) -> None:
        """Flushes the file."""
        self._file.flush()


def progress_bar(iterable: Iterable | None = None, **options: Any) -> tqdm.tqdm:
    """A progress bar on stderr.

    Args:
        iterable: what is counted; None if `update` is called.
        **options: of `tqdm.tqdm`.
    """
    if not sys.stderr.isatty():
        lines = {"mininterval": SECONDS, "maxinterval": SECONDS, "delay": SECONDS, "miniters": 1, "bar_format": _LINE}
        options |= {"file": _Lines(sys.stderr), **lines}
    return tqdm.tqdm(iterable, **options)


class LogHandler(logging.StreamHandler):
    """Writes lines of a log above the bars that are drawn on the same terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record as one line."""
        try:
            tqdm.tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except Exception:
            self.handleError(record)
