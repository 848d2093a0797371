"""A run that is stopped and resumed ends like an uninterrupted one; see also `benchmarks.proofs.kill_training`."""

import signal

from benchmarks.proofs.kill_training import Training, share_workdir, stop
from tests.fakes import make_dataset, store

EPOCHS = 8


def test_an_interrupted_run_ends_like_the_winner_of_two_concurrent_starts(tmp_path):
    store(make_dataset(train=24), tmp_path / "data")
    stopped = Training(tmp_path, "stopped", EPOCHS)
    assert stop(stopped, signal.SIGKILL, steps=6, delay=0.0, moment=stopped.is_saving)
    ended = stopped.finish()
    assert f" of {EPOCHS * 3}" in stopped.printed(r"(resumed: .*)")
    assert share_workdir(tmp_path, "shared", EPOCHS, ended)
