import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest
from pebble import ProcessFuture

from data_prep import workers
from data_prep.errors import ClipError
from data_prep.workers import WorkerPool, map_clips
from emi_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def _die_or_fail(item: int) -> int:
    if item in (3, 6):
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 5:
        raise ClipError("clip5", "is broken")
    return 10 * item


def test_item_that_kills_its_worker_does_not_affect_others():
    started = time.monotonic()
    results = dict(map_clips(_die_or_fail, range(40), processes=2))
    assert time.monotonic() - started < 30
    assert {item: value for item, value in results.items() if isinstance(value, int)} == {
        item: 10 * item for item in range(40) if item not in (3, 5, 6)
    }
    assert str(results[3]) == "3: the process that read it died (SIGKILL)"
    assert str(results[6]) == "6: the process that read it died (SIGKILL)"
    assert str(results[5]) == "clip5: is broken"


def test_workers_that_do_not_start_raise_a_one_line_error(monkeypatch):
    monkeypatch.setattr(workers, "START_LIMIT", 0.0)
    expected = r"^the processes that read clips do not work here: no item was started within 0 s; rerun"
    with pytest.raises(UserError, match=expected):
        list(map_clips(_hang, [0], processes=1))


def _hang(item: int) -> int:
    if item == 1:
        time.sleep(600)
    if item == 2:  # a hang in native code, which handles no signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGALRM])
        time.sleep(600)
    return item


def test_item_that_exceeds_the_time_limit_is_abandoned():
    results = dict(map_clips(_hang, range(4), processes=2, seconds=0.5))
    assert [results[0], results[3]] == [0, 3]
    assert str(results[1]) == "1: took longer than the time limit of 0.5 s"
    assert str(results[2]) == "2: took longer than the time limit of 0.5 s"


def _time_out_on_disk(item: int) -> int:
    raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", "/net/disk")


def test_other_errors_are_raised():
    with pytest.raises(TimeoutError, match="/net/disk"):
        list(map_clips(_time_out_on_disk, [1], processes=1, seconds=60))
    with pytest.raises(ValueError, match="processes: found 0, expected at least 1"):
        list(map_clips(_die_or_fail, [1], processes=0))


def test_workers_end_when_the_consumer_stops():
    results = map_clips(_die_or_fail, [0, *[1] * 1000], processes=1)
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 10
    assert not [child for child in multiprocessing.active_children() if "pebble" in child.name]


def test_workers_that_stay_are_replaced_and_end_with_the_block():
    ended = []

    def call(pool):
        try:
            pool(3)
        except CancelledError as error:
            ended.append(error)

    with WorkerPool(_answer, processes=1, seconds=2.0) as pool:
        process = pool(0)
        assert pool(0) == process  # it stays
        assert str(pool(1)) == "1: the process that read it died (SIGKILL)"
        assert str(pool(2)) == "clip2: is broken"
        assert str(pool(3)) == "3: took longer than the time limit of 2 s"
        process = pool(0)
        thread = threading.Thread(target=call, args=(pool,))
        thread.start()
        _until(lambda: any(future.running() for future in tuple(pool._running)))
    thread.join(10)
    assert len(ended) == 1
    assert not _runs(process)
    with pytest.raises(CancelledError):
        pool(0)


def test_waiting_ends_with_a_cancelled_item_of_which_no_pool_takes_note():
    future = ProcessFuture()
    future.set_running_or_notify_cancel()
    future.cancel()
    assert not wait([future], 0).done
    with pytest.raises(CancelledError):
        workers._is_done(future)


def _answer(item: int) -> int:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 2:
        raise ClipError("clip2", "is broken")
    if item == 3:
        time.sleep(600)
    return os.getpid()


def _leave_id_and_wait(item: int, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "import functools, pathlib, sys\n"
        "from data_prep.workers import map_clips\n"
        "from tests.data_prep.test_workers import _leave_id_and_wait\n"
        "if __name__ == '__main__':\n"
        "    list(map_clips(functools.partial(_leave_id_and_wait, folder=pathlib.Path(sys.argv[1])), range(2), 2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    ids = tmp_path / "ids"
    ids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(ids)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    _until(lambda: len(list(ids.iterdir())) == 2)
    workers = [int(path.name) for path in ids.iterdir()]
    parent.kill()
    parent.wait(60)
    _until(lambda: not any(map(_runs, workers)))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie has ended, but its parent has not waited for it yet


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
