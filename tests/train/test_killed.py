"""A run that is stopped and resumed ends like an uninterrupted one; see also `benchmarks.proofs.kill_training`."""

import signal

import pytest

from benchmarks.proofs.kill_training import Training, make_data, share_workdir, stop

EPOCHS = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    make_data(folder)
    return folder


def test_an_interrupted_run_ends_like_the_winner_of_two_concurrent_starts(root):
    stopped = Training(root, "stopped", EPOCHS)
    assert stop(stopped, signal.SIGKILL, steps=6, delay=0.0, moment=stopped.is_saving)
    ended = stopped.finish()
    assert f" of {EPOCHS * 3}" in stopped.printed(r"(resumed: .*)")
    assert share_workdir(root, "shared", EPOCHS, ended)
