"""Weights of labels follow from the training split."""

import numpy as np

from emi_jax.runs.balance import balanced
from emi_jax.runs.experiment import Experiment
from tests.configs import tiny_stage2
from tests.fakes import make_dataset


def test_weights_are_those_of_the_training_split_with_unknown_labels_left_out(tmp_path):
    config, dataset = tiny_stage2(), make_dataset()
    config.model.modalities, config.loss.balance = ("text",), 1.0
    dataset.builder.examples["train"][3]["labels"][2] = np.nan
    experiment = Experiment.open(config, dataset, tmp_path)
    labels = np.stack([example["labels"] for example in dataset.builder.examples["train"]])
    inverse = 1 / np.nanvar(labels.astype(float), axis=0)
    np.testing.assert_allclose(balanced(experiment).stage.weights.labels, inverse / inverse.mean(), rtol=1e-5)
    assert experiment.stage.weights.labels == ()
