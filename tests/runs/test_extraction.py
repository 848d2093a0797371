"""Which files an extraction of features writes, what a stop signal leaves of them, and when they are refused."""

import signal

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract, inputs
from emi_jax.train import evaluation
from emi_jax.train.signals import StoppedError, StopSignal
from tests.configs import light_stage2, tiny_stage2
from tests.fakes import make_dataset

CLEAN, CORRUPTED = "train-clean.array_record", "train-corrupted-0.array_record"


def opened(tmp_path, folder, corrupt=0.3):
    """A run on cached features of words, with 13 clips for training in batches of 8."""
    config = tiny_stage2()
    config.model.modalities, config.train.corrupt = ("text",), corrupt
    config.features.update(dir=str(tmp_path / folder), renditions=1)
    return Experiment.open(config, make_dataset(train=13), tmp_path / "run", jax.devices()[:1])


def written(folder):
    return sorted(path.name for path in (folder / "text").iterdir() if path.name != "features.json")


def test_no_corrupted_copies_are_written_for_a_run_that_corrupts_nothing(tmp_path):
    extract(opened(tmp_path, "features", corrupt=0.0), "train")
    assert written(tmp_path / "features") == [CLEAN]


def test_a_stopped_extraction_leaves_complete_files_alone_and_resumes_with_the_others(tmp_path, monkeypatch):
    extract(opened(tmp_path, "whole"), "train")
    assert written(tmp_path / "whole") == [CLEAN, CORRUPTED]
    polls = []
    poll = evaluation.stop_if_signalled

    def signalled():
        polls.append(None)
        if len(polls) == 4:  # between the batches of the second file
            signal.raise_signal(signal.SIGTERM)
        poll()

    monkeypatch.setattr(evaluation, "stop_if_signalled", signalled)
    experiment, folder = opened(tmp_path, "parts"), tmp_path / "parts"
    with StopSignal(), pytest.raises(StoppedError, match="SIGTERM"):
        extract(experiment, "train")
    assert written(folder) == [CLEAN]
    since = (folder / "text" / CLEAN).stat().st_mtime_ns

    extract(experiment, "train")
    assert written(folder) == [CLEAN, CORRUPTED]
    assert len(polls) == 6  # the two batches that were missing
    assert (folder / "text" / CLEAN).stat().st_mtime_ns == since
    parts, whole = (inputs(opened(tmp_path, name), "train", augment=True)[0] for name in ("parts", "whole"))
    for number in range(13):
        for rendition in (0, 1):
            one, other = (clips[number].rendition(rendition) for clips in (parts, whole))
            assert one.keys() == other.keys()
            for name, array in one.items():
                np.testing.assert_array_equal(array, other[name], err_msg=name)


def _other_weights(config):
    config.train.seed = 1


def _other_preprocessing(config):
    config.data.num_tokens = 7


def _other_corruption(config):
    corruption.SNR_DB = (5.0, 20.0)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A folder with the features of a split."""
    folder = tmp_path_factory.mktemp("extracted")
    config = light_stage2()
    config.features.update(dir=str(folder / "features"), renditions=1)
    extract(Experiment.open(config, make_dataset(), folder / "run", jax.devices()[:1]), "test")
    return config


@pytest.mark.parametrize("change", [_other_weights, _other_preprocessing, _other_corruption])
def test_features_made_with_other_settings_are_refused(change, extracted, tmp_path, monkeypatch):
    monkeypatch.setattr(corruption, "SNR_DB", corruption.SNR_DB)
    config = extracted.copy_and_resolve_references()
    change(config)
    with pytest.raises(UserError, match="were made from other weights, preprocessing or data"):
        extract(Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1]), "test")
