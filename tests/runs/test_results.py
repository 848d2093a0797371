"""Evaluation of a run: scores equal SciPy's on the predictions CSV; the folder holds figures and a page."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest
import scipy.stats

from emi_jax.report import score_tables
from emi_jax.runs import results
from emi_jax.runs.evaluation import SELECTED
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.stages.intensity import Intensity
from tests.configs import tiny_stage2
from tests.fakes import NAMES, make_dataset


def small(select="best"):
    """A head that compiles fast."""
    config = tiny_stage2()
    config.train.update(epochs=2, select=select)
    config.model.head.fusion.update(width=8, num_heads=2, tcn=False, bilstm=False, decoder=False)
    return config


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    dataset = make_dataset(test=24)
    for index, example in enumerate(dataset.builder.examples["test"]):
        example["subject"] = f"s{index % 5}".encode()
    config = small()
    experiment = Experiment.open(config, dataset, folder, jax.devices()[:1])
    train(experiment)
    return dataset, folder, results.evaluate(experiment, "test")


def test_scores_equal_scipys_on_the_written_predictions(evaluated):
    dataset, folder, summary = evaluated
    with (folder / "predictions_test.csv").open() as file:
        rows = {row["Filename"]: row for row in csv.DictReader(file)}
    measured = json.loads((folder / "metrics_test.json").read_text())
    examples = dataset.builder.examples["test"]
    assert len(rows) == len(examples) == measured["clips"]
    every = []
    for k, name in enumerate(NAMES):
        pred = np.array([float(rows[example["id"].decode()][name]) for example in examples])
        labels = np.array([example["labels"][k] for example in examples])
        every.append(scipy.stats.pearsonr(pred, labels).statistic)
        row = measured["labels"][name]
        assert row["pearson"] == pytest.approx(every[-1], abs=2e-4)  # the CSV has six decimals
        assert row["mse"] == pytest.approx(np.mean((pred - labels) ** 2), abs=1e-5)
        assert row["pearson_interval"][0] < row["pearson"] < row["pearson_interval"][1]
    assert measured["mean"]["pearson"] == pytest.approx(np.mean(every), abs=2e-4)
    assert summary.verdict.startswith(f"mean pearson {measured['mean']['pearson']:.3f}")


def test_intervals_are_over_subjects_and_clips_are_counted_by_modality(evaluated):
    _, folder, summary = evaluated
    measured = json.loads((folder / "metrics_test.json").read_text())
    assert measured["resampled"] == "5 subjects"
    assert sum(row["clips"] for row in measured["availability"].values()) == measured["clips"]
    assert {"all three", "no vision"} <= set(measured["availability"])
    assert "intervals over 5 subjects" in summary.table


def test_the_folder_holds_figures_and_a_page_that_shows_them(evaluated):
    _, folder, summary = evaluated
    assert all(path.exists() for path in summary.written)
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {"curves.svg", "pearson_test.svg", "predictions_test.svg", "weights_test.svg"}
    html = (folder / "report.html").read_text()
    assert html.count("data:image/svg+xml") == len(figures)
    for expected in ("Learning curves", "Scores on test", "config.json", "jax", "testing only"):
        assert expected in html


def split_outputs(labels=2, present=None):
    rng = np.random.default_rng(3)
    return {
        "predictions": rng.random((20, labels)),
        "labels": rng.random((20, labels)),
        "label_mask": np.ones((20, labels), bool),
        "present": np.ones((20, 3), bool) if present is None else present,
    }


def test_without_subjects_clips_are_drawn_and_undefined_numbers_are_none():
    rng = np.random.default_rng(0)
    labels = rng.random((20, 2))
    labels[:, 1] = 0.5
    present = np.ones((20, 3), bool)
    present[:3, 1] = False
    outputs = {
        "predictions": rng.random((20, 2)),
        "labels": labels,
        "label_mask": np.ones((20, 2), bool),
        "present": present,
    }
    measured = results.measure(outputs, ("Joy", "Pain"), ["a"] * 19 + [""], {"Joy": 0.9, "Pain": 0.7})
    assert measured["resampled"] == "clips"
    assert measured["labels"]["Pain"]["pearson"] is None
    assert measured["mean"]["pearson"] == measured["labels"]["Joy"]["pearson"]
    assert measured["mean"]["ceiling"] == pytest.approx(0.8)
    assert measured["availability"]["no audio"]["clips"] == 3
    assert "Pain" in score_tables.text_of(score_tables.intensity_tables(measured, "valid"))


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (("vision", "text"), {"vision and text": 14, "no vision": 2, "no text": 3, "none": 1}),
        (("audio",), {"audio": 15, "none": 5}),
    ],
)
def test_clips_are_counted_by_the_modalities_in_use(modalities, expected):
    present = np.ones((20, 3), bool)
    present[:3, 0] = present[2:6, 2] = present[10:15, 1] = False
    measured = results.measure(split_outputs(present=present), ("Joy", "Pain"), [""] * 20, {}, modalities)
    assert {title: row["clips"] for title, row in measured["availability"].items()} == expected


def test_few_subjects_are_reported_and_intervals_over_clips_are_given_as_well():
    outputs = split_outputs()
    few = results.measure(outputs, ("Joy", "Pain"), [f"s{k % 7}" for k in range(20)], {})
    enough = results.measure(outputs, ("Joy", "Pain"), [f"s{k % 8}" for k in range(20)], {})
    clips = results.measure(outputs, ("Joy", "Pain"), [""] * 20, {})
    assert (few["few_subjects"], enough["few_subjects"], clips["few_subjects"]) == (True, False, False)
    for name in ("Joy", "Pain"):
        assert few["labels"][name]["pearson_clip_interval"] == clips["labels"][name]["pearson_interval"]
        assert "pearson_clip_interval" not in enough["labels"][name]
    text = results._text(score_tables.intensity_tables(few, "test"), few, "test")
    assert "7 subjects are too few" in text
    assert "over clips" in text.splitlines()[1]


@pytest.mark.parametrize(("subject", "count"), [("anna", 1), ("", 0)])
def test_clips_of_one_person_are_drawn_one_by_one_and_the_table_says_so(subject, count):
    found = results.measure(split_outputs(), ("Joy", "Pain"), [subject] * 20, {})
    assert (found["subjects"], found["resampled"]) == (count, "clips")
    text = results._text(score_tables.intensity_tables(found, "test"), found, "test")
    assert ("All clips show one person: the intervals say nothing about other people." in text) == bool(count)


def test_labels_named_like_fields_of_the_results_keep_their_own_scores():
    names = ("mean", "seconds", "a $x$_b")
    outputs = split_outputs(labels=3)
    measured = results.measure(outputs, names, [""] * 20, {})
    expected = [scipy.stats.pearsonr(outputs["predictions"][:, k], outputs["labels"][:, k]).statistic for k in range(3)]
    assert [measured["labels"][name]["pearson"] for name in names] == pytest.approx(expected)
    assert measured["mean"]["pearson"] == pytest.approx(np.mean(expected))
    rows = score_tables.intensity_tables(measured, "test")[0].rows
    assert [row[0] for row in rows] == [*names, "mean"]
    stage = Intensity(None, None, {}, names)
    scores = stage.score(outputs, "test")
    assert scores["mean/pearson"] == pytest.approx(np.mean(expected))
    assert scores["label/mean/pearson"] == pytest.approx(expected[0])


def test_a_truncated_line_of_metrics_changes_no_score(evaluated, tmp_path, caplog):
    dataset, folder, before = evaluated
    truncated = tmp_path / "run"
    shutil.copytree(folder, truncated)
    with (truncated / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 9999, "lo')
    after = results.evaluate(Experiment.open(small(), dataset, truncated, jax.devices()[:1]), "test")
    assert (after.table, after.verdict) == (before.table, before.verdict)
    assert 'is cut off and was skipped: \'{"step": 9999, "lo\'' in caplog.text


@pytest.mark.parametrize(
    ("split", "select", "chosen"), [("valid", "best", True), ("valid", "last", False), ("test", "best", False)]
)
def test_scores_on_the_selection_split_carry_a_caution(split, select, chosen, evaluated):
    dataset, folder, _ = evaluated
    summary = results.evaluate(Experiment.open(small(select), dataset, folder, jax.devices()[:1]), split)
    measured = json.loads((folder / f"metrics_{split}.json").read_text())
    assert (measured["selected_on_this_split"], measured["select"]) == (chosen, select)
    assert ("chosen by its score on valid" in measured["table"]) == chosen
    *caution, verdict = summary.verdict.splitlines()
    assert verdict == f"mean pearson {measured['mean']['pearson']:.3f}"
    assert caution == ([SELECTED.format(split=split)] if chosen else [])
