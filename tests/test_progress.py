"""Progress is drawn in place on a terminal; in a log it is a line at long intervals."""

import io
import logging

import pytest

from emi_jax import progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def run(monkeypatch):
    def run(terminal, seconds):
        stream = Stream(terminal)
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(progress, "SECONDS", seconds)
        assert list(progress.progress_bar(range(3), desc="reading clips", unit="clip")) == [0, 1, 2]
        return stream.getvalue()

    return run


def test_work_of_a_few_seconds_adds_nothing_to_a_log(run):
    assert run(terminal=False, seconds=30.0) == ""


def test_long_work_adds_whole_lines_to_a_log(run):
    text = run(terminal=False, seconds=0.0)
    lines = text.splitlines()
    assert [line.partition(",")[0] for line in lines[-1:]] == ["reading clips 100%"]
    assert "3 of 3" in lines[-1]
    assert text.endswith("\n")
    assert not set(text) & {"\r", "\x1b"}


def test_a_terminal_gets_a_bar_that_is_drawn_in_place(run):
    text = run(terminal=True, seconds=30.0)
    assert "\r" in text
    assert "100%" in text


def test_lines_of_the_log_stand_above_a_bar(monkeypatch):
    """The bar is cleared before a line and drawn again after it."""
    stream = Stream(terminal=True)
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    with progress.progress_bar(total=4, desc="work", mininterval=0, ncols=60) as bar:
        bar.update(2)
        progress.LogHandler(stream).emit(logging.makeLogRecord({"msg": "half done"}))
    lines = stream.getvalue().replace("\r", "\n").split("\n")
    place = lines.index("half done")
    assert lines[place - 1].strip() == ""
    assert next(filter(None, lines[place + 1 :])).startswith("work:  50%")
