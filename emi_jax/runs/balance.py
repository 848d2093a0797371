"""Weighs the labels of a run by how much they vary over its training split."""

import dataclasses
import logging

import numpy as np

from emi_jax.runs.experiment import Experiment
from emi_jax.stages.intensity import Intensity
from emi_jax.stages.intensity_loss import label_weights

log = logging.getLogger(__name__)


def balanced(experiment: Experiment) -> Experiment:
    """The same run with weights of the labels, where `config.loss.balance` is not 0.

    They depend on the training split alone, so that a resumed run computes the same ones.
    """
    stage = experiment.stage
    if not isinstance(stage, Intensity) or not stage.weights.balance:
        return experiment
    examples = experiment.dataset.split("train")
    labels = np.stack([np.asarray(examples[row]["labels"], np.float32) for row in range(len(examples))])
    weights = label_weights(labels, stage.weights.balance)
    named = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(stage.label_names, weights, strict=True))
    log.info("weights of the labels: %s", named)
    weights_of_terms = dataclasses.replace(stage.weights, labels=weights)
    return dataclasses.replace(experiment, stage=dataclasses.replace(stage, weights=weights_of_terms))
