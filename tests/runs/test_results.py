"""Evaluation of a run: its numbers are SciPy's on its own predictions CSV; its folder holds figures and a page."""

import csv
import json

import jax
import numpy as np
import pytest
import scipy.stats

from emi_jax.report import score_tables
from emi_jax.runs import results
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from tests.configs import tiny_stage2
from tests.fakes import NAMES, make_dataset


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    dataset = make_dataset(test=24)
    for index, example in enumerate(dataset.builder.examples["test"]):
        example["subject"] = f"s{index % 5}".encode()
    config = tiny_stage2()
    config.train.epochs = 2
    experiment = Experiment.open(config, dataset, folder, jax.devices()[:1])
    train(experiment)
    return dataset, folder, results.evaluate(experiment, "test")


def test_scores_are_scipys_on_the_predictions_that_were_written(evaluated):
    dataset, folder, summary = evaluated
    with (folder / "predictions_test.csv").open() as file:
        rows = {row["Filename"]: row for row in csv.DictReader(file)}
    told = json.loads((folder / "metrics_test.json").read_text())
    examples = dataset.builder.examples["test"]
    assert len(rows) == len(examples) == told["clips"]
    every = []
    for k, name in enumerate(NAMES):
        pred = np.array([float(rows[example["id"].decode()][name]) for example in examples])
        labels = np.array([example["labels"][k] for example in examples])
        every.append(scipy.stats.pearsonr(pred, labels).statistic)
        row = told["labels"][name]
        assert row["pearson"] == pytest.approx(every[-1], abs=2e-4)  # the CSV has six decimals
        assert row["mse"] == pytest.approx(np.mean((pred - labels) ** 2), abs=1e-5)
        assert row["pearson_interval"][0] < row["pearson"] < row["pearson_interval"][1]
    assert told["mean"]["pearson"] == pytest.approx(np.mean(every), abs=2e-4)
    assert summary.verdict.startswith(f"mean pearson {told['mean']['pearson']:.3f}")


def test_intervals_are_over_subjects_and_clips_are_counted_by_what_they_have(evaluated):
    _, folder, summary = evaluated
    told = json.loads((folder / "metrics_test.json").read_text())
    assert told["resampled"] == "5 subjects"
    assert sum(row["clips"] for row in told["availability"].values()) == told["clips"]
    assert {"all three", "no vision"} <= set(told["availability"])
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
    told = results.measure(outputs, ("Joy", "Pain"), ["a"] * 19 + [""], {"Joy": 0.9, "Pain": 0.7})
    assert told["resampled"] == "clips"
    assert told["labels"]["Pain"]["pearson"] is None
    assert told["mean"]["pearson"] == told["labels"]["Joy"]["pearson"]
    assert told["mean"]["ceiling"] == pytest.approx(0.8)
    assert told["availability"]["no audio"]["clips"] == 3
    assert "Pain" in score_tables.text_of(score_tables.intensity_tables(told, "valid"))
