"""A run on cached features trains on augmented copies of its clips."""

import jax
import numpy as np

from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs, renditions
from tests.configs import tiny_stage2
from tests.fakes import make_dataset


def test_training_reads_augmented_copies_and_evaluation_clean_ones(tmp_path):
    config = tiny_stage2()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    config.model.modalities = ("audio",)
    config.augment.update(voice=1.0, noise=(0.0, 0.0))
    experiment = Experiment.open(config, make_dataset(train=3), tmp_path / "run", jax.devices()[:1])
    names = list(renditions(experiment, "train"))
    assert names[0] == "clean"
    assert names[2] == f"{names[1]}-corrupted"
    assert list(renditions(experiment, "valid")) == ["clean"]

    clips, transform = inputs(experiment, "train", augment=True)
    clean, augmented, corrupted = (clips[1].rendition(number) for number in range(3))
    drawn = transform(clips[1], np.random.default_rng(0), 1)
    mask = clean["audio/mask"] & augmented["audio/mask"]
    assert not np.allclose(augmented["audio/times"][mask], clean["audio/times"][mask], atol=1e-3)
    np.testing.assert_array_equal(corrupted["audio/times"], augmented["audio/times"])
    np.testing.assert_array_equal(drawn["audio/times"], augmented["audio/times"])
    assert augmented["audio/clean"].all()
    assert not corrupted["audio/clean"].all()

    config.augment.tempo = 0.1
    assert names[1] not in renditions(experiment, "train")
