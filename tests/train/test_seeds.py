"""Several seeds in one compiled step equal separate runs of each seed, and stop and resume together."""

import signal

import jax
import numpy as np
import pytest

from emi_jax.runs.evaluation import chosen_params, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train.checkpoints import Checkpoints, restore_best
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.hooks import Log
from emi_jax.train.mapping import Mapping
from emi_jax.train.parameters import fingerprint
from emi_jax.train.seeds import Best
from emi_jax.train.signals import StoppedError
from tests.configs import tiny_stage2
from tests.fakes import make_dataset

SEEDS = (0, 5)


def recorded(experiment, name):
    return [record[name] for record in experiment.workdir.metrics() if name in record]


@pytest.fixture
def config(tmp_path):
    """A head that compiles fast."""
    config = tiny_stage2()
    config.model.modalities = ("vision", "text")
    config.model.head.fusion.update(width=8, num_heads=2, tcn=False, bilstm=False, decoder=False)
    config.train.update(epochs=2, evaluate_every=1.0, save_every=1.0)
    config.model.modality_dropout = 0.2
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    return config


def test_each_seed_equals_a_separate_run_with_that_seed(config, tmp_path):
    dataset = make_dataset(train=13)
    together = Experiment.open(config, dataset, tmp_path / "together", jax.devices()[:2])
    train(together, SEEDS)
    params = chosen_params(together, len(SEEDS))
    scores, _ = evaluator(together, "test", len(SEEDS)).run(params)

    for modality in config.model.modalities:  # the encoders that the seeds share
        config.model[modality].pretrained = str(tmp_path / "saved" / modality)
    together.encoders.save(tmp_path / "saved", jax.device_get(params["towers"]))
    config.train.seed = SEEDS[1]
    alone = Experiment.open(config, dataset, tmp_path / "alone", jax.devices()[:2])
    train(alone)
    best = chosen_params(alone)
    for mine, theirs in zip(jax.tree.leaves(params["fusion"]), jax.tree.leaves(best["fusion"]), strict=True):
        np.testing.assert_allclose(np.asarray(mine)[1], theirs, atol=2e-3)
    [expected], _ = evaluator(alone, "test").run(best)
    goals = [found["mean/pearson"] for found in scores]
    assert goals[1] == pytest.approx(expected["mean/pearson"], abs=2e-3)
    assert goals[0] != pytest.approx(goals[1], abs=1e-3)

    for split, name in (("", "loss"), ("valid/", "mean/pearson")):
        first, second = (recorded(together, f"{split}seed-{seed}/{name}") for seed in SEEDS)
        np.testing.assert_allclose(second, recorded(alone, split + name), atol=2e-3)
        np.testing.assert_allclose(recorded(together, split + name), np.mean([first, second], axis=0), rtol=1e-6)


def test_interrupted_seeds_resume_to_the_same_parameters_and_scores(config, tmp_path, monkeypatch):
    """The run is stopped once after a step, and once during the evaluation at the end of an epoch."""
    config.train.optimizer = "muon"  # whose state is the harder one to store
    dataset = make_dataset(train=13)
    whole = Experiment.open(config, dataset, tmp_path / "whole", jax.devices()[:1])
    train(whole, SEEDS)

    parts = Experiment.open(config, dataset, tmp_path / "parts", jax.devices()[:1])
    for owner, name, message in (
        (Log, "flush", r"stopped by SIGTERM after step \d, which is saved"),
        (Evaluator, "outputs", r"stopped by SIGTERM in the evaluation after step 2, which is saved"),
    ):
        original = getattr(owner, name)

        def interrupted(self, *arguments, original=original, owner=owner, name=name, **options):
            signal.raise_signal(signal.SIGTERM)
            monkeypatch.setattr(owner, name, original)
            return original(self, *arguments, **options)

        monkeypatch.setattr(owner, name, interrupted)
        with pytest.raises(StoppedError, match=message):
            train(parts, SEEDS)
    train(parts, SEEDS)

    one, other = (jax.device_get(chosen_params(run, len(SEEDS))) for run in (whole, parts))
    assert fingerprint(one["fusion"]) == fingerprint(other["fusion"])
    timed = ("clips_per_second", "seconds_per_step/data", "seconds_per_step/step", "seconds_per_step/rest")
    one, other = (
        [{name: value for name, value in record.items() if name not in timed} for record in run.workdir.metrics()]
        for run in (whole, parts)
    )
    assert one == other


def test_the_best_parameters_are_kept_for_each_seed_separately_across_a_restart(tmp_path):
    mapping = Mapping("shard_map", jax.devices()[:1])

    def params(value):
        return mapping.replicate({"w": np.full((2, 3), value, np.float32)})

    checkpoints = Checkpoints(tmp_path, 1)
    best = Best(checkpoints, params(0), 2)
    for step, goals in enumerate([(0.1, 0.5), (0.3, 0.4)], 1):
        best.update(step, params(step), goals)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, 1)
    again = Best(checkpoints, params(0), 2)
    again.update(3, params(3), (0.2, 0.6))
    checkpoints.close()
    np.testing.assert_array_equal(restore_best(tmp_path, params(0))["w"], [[2, 2, 2], [3, 3, 3]])
    assert checkpoints.best_goals == (0.3, 0.6)


def test_each_seed_may_train_its_own_towers(config, tmp_path):
    config.features.update(dir="", renditions=0)
    config.train.frozen = ("^towers/vision",)
    config.train.epochs = 1
    config.train.warmup_epochs = 0.0
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    train(experiment, SEEDS)
    towers = chosen_params(experiment, len(SEEDS))["towers"]
    text, shared = (jax.tree.leaves(towers[name]) for name in ("text", "vision"))
    assert all(leaf.shape[0] == len(SEEDS) for leaf in text)
    assert any(np.ptp(leaf, axis=0).max() > 0 for leaf in map(np.asarray, text))
    frozen = jax.tree.leaves(experiment.initial_params()[1]["towers"]["vision"])
    assert [leaf.shape for leaf in shared] == [leaf.shape for leaf in frozen]
