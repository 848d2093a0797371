import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from data_prep.errors import ClipError
from data_prep.workers import map_clips

ROOT = Path(__file__).resolve().parents[2]


def _deadly(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 5:
        raise ClipError("clip5", "is broken")
    return 10 * item


def test_a_clip_that_kills_its_worker_is_named_and_the_rest_goes_on():
    results = dict(map_clips(_deadly, range(9), processes=2))
    assert set(results) == set(range(9))
    assert {item: value for item, value in results.items() if isinstance(value, int)} == {
        item: 10 * item for item in range(9) if item not in (3, 5)
    }
    assert str(results[3]) == "3: the process that read it died, or hung and was ended"
    assert str(results[5]) == "clip5: is broken"


def _slow(item: int) -> int:
    if item == 1:
        time.sleep(600)
    if item == 2:  # a hang inside native code, where Python's signals are not heard
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(600)
    return item


def test_a_clip_that_takes_too_long_is_given_up():
    results = dict(map_clips(_slow, range(4), processes=2, seconds=0.5))
    assert [results[0], results[3]] == [0, 3]
    assert str(results[1]) == "1: took longer than the time limit of 0.5 s"
    assert str(results[2]) == "2: the process that read it died, or hung and was ended"


def _tell_and_wait(item: int, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "import functools, pathlib, sys\n"
        "from data_prep.workers import map_clips\n"
        "from tests.data_prep.test_workers import _tell_and_wait\n"
        "if __name__ == '__main__':\n"
        "    list(map_clips(functools.partial(_tell_and_wait, folder=pathlib.Path(sys.argv[1])), range(2), 2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    told = tmp_path / "told"
    told.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(told)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    _until(lambda: len(list(told.iterdir())) == 2)
    workers = [int(path.name) for path in told.iterdir()]
    parent.kill()
    parent.wait()
    _until(lambda: not any(map(_runs, workers)))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # ended, and nobody has asked for its exit code yet


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
