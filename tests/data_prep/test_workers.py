import os
import signal

from data_prep.errors import ClipError
from data_prep.workers import map_clips


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
    assert str(results[3]) == "3: the process that read it died"
    assert str(results[5]) == "clip5: is broken"
