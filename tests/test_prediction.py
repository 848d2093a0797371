"""A trained run is loaded by its folder alone, and predicts new clips as evaluation does."""

import json

import jax
import numpy as np
import pytest

from emi_jax import results
from emi_jax.errors import UserError
from emi_jax.experiment import Experiment
from emi_jax.prediction import Predictor
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import NAMES, make_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config, dataset = tiny_stage2(), make_dataset()
    config.train.epochs = 2
    experiment = Experiment.open(config, dataset, folder, jax.devices()[:1])
    experiment.train()
    return experiment, folder


def test_predictions_are_those_of_evaluation(trained):
    experiment, folder = trained
    examples = experiment.dataset.split("test")
    outputs = experiment.evaluator("test").gather(experiment.best())
    predictor = Predictor.load(folder, batch_size=4, devices=jax.devices()[:1])
    assert predictor.label_names == NAMES
    unlabelled = [{**example, "labels": np.zeros(0, np.float32), "id": example["id"].decode()} for example in examples]
    predictions = list(predictor.predict(iter(unlabelled)))
    assert [prediction.id for prediction in predictions] == [example["id"].decode() for example in examples]
    found = np.array([list(prediction.intensities.values()) for prediction in predictions])
    np.testing.assert_allclose(found, outputs["predictions"], atol=1e-5)
    for prediction, weights, present in zip(predictions, outputs["weights"], outputs["present"], strict=True):
        np.testing.assert_allclose(list(prediction.weights.values()), weights, atol=1e-5)
        np.testing.assert_array_equal([len(steps) > 0 for steps in prediction.reliability.values()], present)
        assert len(prediction.tokens) == len(prediction.reliability["text"])


def test_a_clip_with_nothing_in_it_gets_the_prior_and_is_flagged(trained):
    experiment, folder = trained
    predictor = Predictor.load(folder, batch_size=2, devices=jax.devices()[:1])
    empty = {**experiment.dataset.split("test")[0], "faces": [], "times": np.zeros(0), "face_found": np.zeros(0, bool)}
    empty |= {"audio": np.zeros(0, np.int16), "transcript": ""}
    (prediction,) = predictor.predict([empty])
    assert not prediction.informed
    assert set(prediction.weights.values()) == {0.0}
    assert np.isfinite(list(prediction.intensities.values())).all()


def test_what_is_kept_of_predictions(trained, tmp_path):
    experiment, folder = trained
    predictor = Predictor.load(folder, batch_size=4, devices=jax.devices()[:1])
    predictions = list(predictor.predict([experiment.dataset.split("test")[k] for k in range(3)]))
    table, written = results.keep_predictions(predictor, predictions, tmp_path, pages=True)
    assert {path.name for path in written} == {
        "predictions.csv",
        *(f"0000{k}.{ending}" for k in range(3) for ending in ("json", "html")),
    }
    facts = json.loads((tmp_path / "00001.json").read_text())
    assert facts["intensities"].keys() == set(NAMES)
    assert facts["reliability"].keys() == {"vision", "audio", "text"}
    assert len(table.splitlines()) == 5
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0] == ",".join(("Filename", *NAMES))


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no trained run in .*config.json is not there"):
        Predictor.load(tmp_path)


def test_a_run_of_stage_1_does_not_predict_intensities(tmp_path):
    config, dataset = tiny_stage1(), make_dataset()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    labels = {"names": dataset.label_names, "range": dataset.label_range}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(UserError, match="a run of stage 1"):
        Predictor.load(tmp_path, 2)
