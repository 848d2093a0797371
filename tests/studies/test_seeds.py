"""Several seeds in one compiled step are the runs that each would be alone."""

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.runs.experiment import Experiment
from emi_jax.studies.seeds import Best, evaluate_seeds, seed_goals, train_seeds
from tests.configs import tiny_stage2
from tests.fakes import make_dataset


def test_each_seed_is_the_run_of_its_own(tmp_path):
    dataset = make_dataset(train=13)
    config = tiny_stage2()
    config.train.epochs = 2
    config.train.evaluate_every = 1.0
    config.model.modality_dropout = 0.2
    config.features.dir = str(tmp_path / "features")

    together = Experiment.open(config, dataset, tmp_path / "together", jax.devices()[:2])
    params = train_seeds(together, (0, 5))
    goals = seed_goals(together.stage, evaluate_seeds(together, "test").gather(params), "test")

    config.init_from = ""
    for modality in ("vision", "audio", "text"):  # the encoders that the seeds shared
        config.model[modality].pretrained = str(tmp_path / "saved" / modality)
    together.encoders.save(tmp_path / "saved", jax.device_get(params["towers"]))
    config.train.seed = 5
    alone = Experiment.open(config, dataset, tmp_path / "alone", jax.devices()[:2])
    alone.train()
    best = alone.best()
    for mine, theirs in zip(jax.tree.leaves(params["fusion"]), jax.tree.leaves(best["fusion"]), strict=True):
        np.testing.assert_allclose(np.asarray(mine)[1], theirs, atol=2e-3)
    scores, _ = alone.evaluator("test").run(best)
    assert goals[1] == pytest.approx(scores["mean/pearson"], abs=2e-3)
    assert goals[0] != pytest.approx(goals[1], abs=1e-3)


def test_the_best_epoch_is_each_seeds_own():
    best = Best(2)
    for goals, value in (((0.1, 0.5), 1.0), ((0.3, 0.4), 2.0), ((0.2, 0.6), 3.0)):
        best.offer({"w": np.full((2, 3), value, np.float32)}, np.array(goals))
    np.testing.assert_array_equal(best.params["w"], [[2, 2, 2], [3, 3, 3]])
    np.testing.assert_array_equal(best.goals, [0.3, 0.6])


def test_trained_encoders_cannot_be_shared(tmp_path):
    config = tiny_stage2()
    config.train.frozen = ("^towers/vision", "^towers/audio")
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    with pytest.raises(UserError, match="freeze them"):
        train_seeds(experiment, (0, 1))
