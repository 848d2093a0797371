"""Runs that several modules share."""

import jax
import pytest

from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from tests.configs import tiny_stage2
from tests.fakes import make_dataset


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A tiny trained run of stage 2, and its folder, in which nothing may be written."""
    folder = tmp_path_factory.mktemp("run")
    config, dataset = tiny_stage2(), make_dataset()
    config.train.epochs = 2
    experiment = Experiment.open(config, dataset, folder, jax.devices()[:1])
    train(experiment)
    return experiment, folder
