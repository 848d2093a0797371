"""A training that is stopped goes on to the same parameters; `benchmarks.proofs.kill_training` does it more often."""

import signal

import pytest

from benchmarks.proofs.kill_training import Training, make_data, stop

EPOCHS = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    make_data(folder)
    return folder


def test_killed_in_a_save_and_told_to_stop_it_ends_with_the_same_parameters(root):
    stopped = Training(root, "stopped", EPOCHS)
    assert stop(stopped, signal.SIGKILL, steps=6, delay=0.0, saving=True)
    assert stop(stopped, signal.SIGTERM, steps=2, delay=0.0, saving=False)  # which checks the exit code
    step = stopped.said(r"after step (\d+), which is saved")
    assert stopped.finish() == Training(root, "whole", EPOCHS).finish()
    assert f"step {step} of {EPOCHS * 3}" in stopped.said(r"(resumed: .*)")
