"""Cross-validation: each clip is predicted by a run that has not seen its subject; finished folds are kept."""

import csv
import json
import signal

import jax
import numpy as np
import pytest
import scipy.stats

from configs import crossval as shipped
from emi_jax.errors import UserError
from emi_jax.inputs.features import CLEAN
from emi_jax.inputs.standardisation import load
from emi_jax.runs import results
from emi_jax.runs.evaluation import TRAINED_ON, chosen_params, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_clips
from emi_jax.runs.standardisation import FILE
from emi_jax.studies import crossval
from emi_jax.train.hooks import Log
from emi_jax.train.signals import StoppedError
from tests.configs import shrink_sizes
from tests.fakes import NAMES, make_dataset, with_subjects


def make_config(folder, **changes):
    config = shrink_sizes(shipped.get_config("descriptors"))
    config.features.dir = str(folder / "features")
    config.model.modalities = ("text",)
    config.train.update(members=2, epochs=2, warmup_epochs=0.5, evaluate_every=1.0, save_every=1.0)
    config.train.rate_factors = ((".*", 1.0),)
    config.crossval.folds = 2
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossval")
    dataset, config = with_subjects(make_dataset()), make_config(folder)
    summary = crossval.run(config, dataset, folder / "run", jax.devices()[:1])
    with (folder / "run" / "folds.csv").open() as file:
        folds = list(csv.DictReader(file))
    return folder, dataset, config, summary, folds


def test_scores_are_scipys_on_the_predictions_out_of_fold(validated):
    folder, dataset, _, summary, _ = validated
    with (folder / "run" / "predictions_out_of_fold.csv").open() as file:
        rows = {row["Filename"]: row for row in csv.DictReader(file)}
    examples = [*dataset.builder.examples["train"], *dataset.builder.examples["valid"]]
    assert list(rows) == [example["id"].decode() for example in examples]
    predictions = np.array([[float(rows[example["id"].decode()][name]) for name in NAMES] for example in examples])
    labels = np.array([example["labels"] for example in examples])
    expected = [scipy.stats.pearsonr(*pair).statistic for pair in zip(predictions.T, labels.T, strict=True)]
    measured = json.loads((folder / "run" / "metrics_out_of_fold.json").read_text())
    assert measured["mean"]["pearson"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert summary.verdict == f"mean pearson {measured['mean']['pearson']:.3f}"
    assert measured["resampled"] == "5 subjects"
    with (folder / "run" / "subjects.csv").open() as file:
        subjects = list(csv.DictReader(file))
    mine = np.array([example["subject"] == b"s1" for example in examples])
    within = [scipy.stats.pearsonr(*pair).statistic for pair in zip(predictions[mine].T, labels[mine].T, strict=True)]
    assert [row["Subject"] for row in subjects] == ["s0", "s1", "s2", "s3", "s4"]
    assert float(subjects[1]["pearson"]) == pytest.approx(np.mean(within), abs=5e-3)
    assert set(measured["baseline"]["rows"]) == {"text"}
    baseline = measured["baseline"]["rows"]["text"]
    assert baseline["interval"][0] < baseline["pearson"] < baseline["interval"][1]
    html = (folder / "run" / "report.html").read_text()
    assert "Scores on held-out clips" in html
    assert html.count("data:image/svg+xml") == 6
    assert set(measured["epochs"]) == {"1", "2"}


def test_a_fold_sees_no_clip_of_its_held_out_subjects(validated):
    folder, dataset, config, _, folds = validated
    assert {row["fold"] for row in folds} == {"0", "1"}
    by_subject = {row["Subject"]: row["fold"] for row in folds}
    assert all(by_subject[row["Subject"]] == row["fold"] for row in folds)
    examples = [*dataset.builder.examples["train"], *dataset.builder.examples["valid"]]
    everyone = Experiment.open(crossval._fold_config(config, folder / "x"), dataset, folder / "x", jax.devices()[:1])
    cached = cached_clips(everyone, "train", [CLEAN])
    clips = [cached[row].rendition(0) for row in range(len(cached))]
    assert len(clips) == len(examples)
    for fold in range(2):
        seen = [clip for clip, row in zip(clips, folds, strict=True) if int(row["fold"]) != fold]
        steps = np.concatenate([clip["text/features"][clip["text/mask"]] for clip in seen]).astype(np.float64)
        moments = load(folder / "run" / "folds" / f"{fold:03d}" / FILE)["text"].steps
        np.testing.assert_allclose(moments.mean, steps.mean(0), rtol=1e-4, atol=1e-5)


def test_a_fold_predicts_its_held_out_clips_like_a_run_without_a_cache(validated):
    folder, dataset, config, _, folds = validated
    own = crossval._fold_config(config, folder / "run" / "folds" / "001")
    own.features.dir = ""
    experiment = Experiment.open(own, dataset, own.workdir, jax.devices()[:1])
    outputs = evaluator(experiment, "train").gather(chosen_params(experiment))["predictions"]
    with (folder / "run" / "predictions_out_of_fold.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [k for k, row in enumerate(folds) if row["fold"] == "1"]
    written = np.array([[float(rows[k][name]) for name in NAMES] for k in chosen])
    assert len(chosen) > 2
    np.testing.assert_allclose(outputs[chosen], written, atol=1e-2)  # the cache holds float16


def test_a_fold_evaluated_on_the_whole_validation_split_carries_a_caution(validated):
    folder, dataset, config, _, _ = validated
    own = crossval._fold_config(config, folder / "run" / "folds" / "000")
    experiment = Experiment.open(own, dataset, own.workdir, jax.devices()[:1], output=folder / "evaluated")
    assert results.evaluate(experiment, "valid").verdict.startswith(TRAINED_ON.format(split="valid"))
    assert (folder / "run" / "folds" / "000" / "predictions_test.csv").exists()


def test_finished_folds_are_kept_and_a_stopped_one_is_resumed_also_alone(validated, monkeypatch):
    folder, dataset, config, summary, _ = validated
    stopped = folder / "stopped"
    with monkeypatch.context() as patch:
        flush, calls = Log.flush, []

        def interrupted(log):
            calls.append(log)
            if len({id(call) for call in calls}) == 2:  # the second fold
                patch.setattr(Log, "flush", flush)
                signal.raise_signal(signal.SIGTERM)
            flush(log)

        patch.setattr(Log, "flush", interrupted)
        with pytest.raises(StoppedError):
            crossval.run(config, dataset, stopped, jax.devices()[:1])
    finished = stopped / "folds" / "000" / crossval.FILE
    before = finished.stat().st_mtime_ns
    parts = crossval.parts(config, dataset, stopped, jax.devices()[:1])
    assert [(part.name, part.is_done()) for part in parts] == [("000", True), ("001", False)]
    parts[1].do()
    assert all(part.is_done() for part in crossval.parts(config, dataset, stopped))
    again = crossval.run(config, dataset, stopped, jax.devices()[:1])
    assert (again.table, again.verdict) == (summary.table, summary.verdict)
    assert finished.stat().st_mtime_ns == before


def test_a_finished_fold_of_another_config_is_refused(validated):
    folder, dataset, _, _, _ = validated
    other = make_config(folder, **{"train.learning_rate": 0.5})
    with pytest.raises(UserError, match=r"another config: train.learning_rate was 0.001, is 0.5"):
        crossval.run(other, dataset, folder / "run", jax.devices()[:1])
    with pytest.raises(UserError, match="a run on another dataset: its fingerprint"):
        crossval.run(make_config(folder, **{"crossval.folds": 4}), dataset, folder / "run", jax.devices()[:1])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"train.select": "best"}, "select the checkpoint of a fold on its held-out clips"),
        ({"data.train_on": ("train", "valid")}, "config.data.train_on has no effect"),
        ({"crossval.splits": ("train", "train")}, "expected one or more splits, each once"),
        ({"crossval.folds": 1}, "1 folds of 5 subjects: expected at least two of both"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused(changes, error, tmp_path):
    with pytest.raises(UserError, match=error):
        crossval.run(make_config(tmp_path, **changes), with_subjects(make_dataset()), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crossval.folds": 3}, r"holds a run on another dataset: .* the division into folds \(config.crossval\)"),
        ({"train.learning_rate": 0.1}, "holds a run of another config: train.learning_rate was 0.001, is 0.1"),
        ({"crossval.seed": -1}, "config.crossval: folds=2, seed=-1: expected non-negative integer"),
    ],
)
def test_folds_of_another_config_or_division_are_found_before_any_is_trained(changes, message, validated):
    folder, dataset, *_ = validated

    def check(config):
        for part in crossval.parts(config, dataset, folder / "run"):
            part.check()

    check(make_config(folder))
    with pytest.raises(UserError, match=message):
        check(make_config(folder, **changes))
