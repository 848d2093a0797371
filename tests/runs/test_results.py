"""Evaluation of a run: scores equal SciPy's on the predictions CSV; the folder holds figures and a page."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest
import scipy.stats

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import seconds
from emi_jax.metrics import bootstrap
from emi_jax.metrics.significance import holm
from emi_jax.report import score_tables
from emi_jax.runs import results
from emi_jax.runs.evaluation import SELECTED
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.scores import measure
from emi_jax.runs.submission import write_predictions
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
    kinds = ("pearson", "predictions", "calibration", "confusion", "groups", "subjects", "weights")
    assert figures == {"curves.svg", *(f"{kind}_test.svg" for kind in kinds)}
    html = (folder / "report.html").read_text()
    assert html.count("data:image/svg+xml") == len(figures)
    tables = ("by the length of a clip", "Pearson within a subject", "labels in [0, 1]", "follows most")
    for expected in ("Learning curves", "Scores on test", "config.json", "jax", "testing only", *tables):
        assert expected in html


def test_subjects_and_lengths_are_those_of_the_clips(evaluated):
    dataset, folder, _ = evaluated
    measured = json.loads((folder / "metrics_test.json").read_text())
    with (folder / "subjects_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Subject"] for row in rows] == [f"s{k}" for k in range(5)]
    assert float(rows[1]["pearson Joy"]) <= 1
    within = [float(row["pearson"]) for row in rows]
    assert measured["by_subject"]["within"]["mean"] == pytest.approx(np.mean(within))
    clips = np.array([seconds(example) for example in dataset.builder.examples["test"]])
    tenths = clips.round(1)
    short = sum((tenths < length).sum() + (tenths == length).sum() / 2 < 12 for length in tenths)
    assert [row["clips"] for row in measured["lengths"].values()] == [short, 24 - short]
    assert next(iter(measured["lengths"])).startswith(f"{min(clips):.1f} to ")


def test_a_run_is_compared_with_another_runs_predictions(evaluated, tmp_path):
    dataset, folder, _ = evaluated
    examples = dataset.builder.examples["test"]
    with (folder / "predictions_test.csv").open() as file:
        rows = {row["Filename"]: [float(row[name]) for name in NAMES] for row in csv.DictReader(file)}
    own = np.array([rows[example["id"].decode()] for example in examples])
    labels = np.array([example["labels"] for example in examples])
    other = 0.5 * labels + 0.5 * own
    ids = [example["id"].decode() for example in examples]
    write_predictions(tmp_path / "other.csv", ids, other, NAMES, (0.0, 1.0))
    experiment = Experiment.open(small(), dataset, folder, jax.devices()[:1], output=tmp_path / "out")
    summary = results.evaluate(experiment, "test", tmp_path / "other.csv")
    found = json.loads((tmp_path / "out" / "metrics_test.json").read_text())["comparison"]
    rho = [[scipy.stats.pearsonr(*pair).statistic for pair in zip(x.T, labels.T, strict=True)] for x in (own, other)]
    apart = np.mean(rho[0]) - np.mean(rho[1])
    assert found["mean"]["difference"] == pytest.approx(apart, abs=1e-3)
    assert found["mean"]["interval"][0] < apart < found["mean"]["interval"][1] < 0
    assert found["mean"]["p"] == 2 / 2**5, "all exchanges of five subjects"
    corrected = holm([found["labels"][name]["p"] for name in NAMES])
    assert [found["labels"][name]["p_holm"] for name in NAMES] == pytest.approx(corrected)
    assert "With 5 subjects no p can be below 0.062." in summary.table
    assert "Comparison with another model" in (tmp_path / "out" / "report.html").read_text()
    results.evaluate(experiment, "test")
    assert not (tmp_path / "out" / "figures" / "comparison_test.svg").exists()
    assert "Comparison with another model" not in (tmp_path / "out" / "report.html").read_text()


def test_a_comparison_with_missing_predictions_is_refused_before_anything_is_computed(evaluated, tmp_path):
    dataset, folder, _ = evaluated
    experiment = Experiment.open(small(), dataset, folder, jax.devices()[:1], output=tmp_path / "out")
    with pytest.raises(UserError, match=r"no predictions in .*none: write those of a run with .*--split=test"):
        results.evaluate(experiment, "test", tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_groups_of_clips_have_intervals_over_subjects():
    outputs = split_outputs()
    seconds = np.repeat([1.0, 2.0], 10)
    subjects = ["a"] * 10 + [f"s{k % 5}" for k in range(10)]
    found = measure(outputs, ("Joy", "Pain"), subjects, {}, seconds=seconds)["lengths"]
    assert list(found) == ["1.0 s", "2.0 s"]
    assert found["1.0 s"]["pearson_interval"] == [None, None], "a single person"
    longer = [outputs[name][10:] for name in ("predictions", "labels", "label_mask")]
    expected = bootstrap.intervals(*longer, subjects[10:])["mse"][-1]
    assert found["2.0 s"]["mse_interval"] == pytest.approx(expected)
    assert measure(outputs, ("Joy", "Pain"), subjects, {}, seconds=np.ones(20))["lengths"] == {}
    assert measure(outputs, ("Joy", "Pain"), subjects, {})["lengths"] == {}


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
    measured = measure(outputs, ("Joy", "Pain"), ["a"] * 19 + [""], {"Joy": 0.9, "Pain": 0.7})
    assert measured["resampled"] == "clips"
    assert measured["labels"]["Pain"]["pearson"] is None
    assert measured["mean"]["pearson"] == measured["labels"]["Joy"]["pearson"]
    assert measured["mean"]["ceiling"] == pytest.approx(0.8)
    assert measured["availability"]["no audio"]["clips"] == 3
    json.dumps(measured, allow_nan=False)
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
    measured = measure(split_outputs(present=present), ("Joy", "Pain"), [""] * 20, {}, modalities)
    assert {title: row["clips"] for title, row in measured["availability"].items()} == expected
    for row in measured["availability"].values():
        assert (row["pearson"] is None) == (row["ccc"] is None) == (row["clips"] < 3)
        assert row["mse"] > 0


def test_few_subjects_are_reported_and_intervals_over_clips_are_given_as_well():
    outputs = split_outputs()
    few = measure(outputs, ("Joy", "Pain"), [f"s{k % 7}" for k in range(20)], {})
    enough = measure(outputs, ("Joy", "Pain"), [f"s{k % 8}" for k in range(20)], {})
    clips = measure(outputs, ("Joy", "Pain"), [""] * 20, {})
    assert (few["few_subjects"], enough["few_subjects"], clips["few_subjects"]) == (True, False, False)
    for name in ("Joy", "Pain"):
        assert few["labels"][name]["pearson_clip_interval"] == clips["labels"][name]["pearson_interval"]
        assert "pearson_clip_interval" not in enough["labels"][name]
    text = results._text(score_tables.intensity_tables(few, "test"), few, "test")
    assert "7 subjects are too few" in text
    assert "over clips" in text.splitlines()[1]


@pytest.mark.parametrize(("subject", "count"), [("anna", 1), ("", 0)])
def test_clips_of_one_person_are_drawn_one_by_one_and_the_table_says_so(subject, count):
    found = measure(split_outputs(), ("Joy", "Pain"), [subject] * 20, {})
    assert (found["subjects"], found["resampled"]) == (count, "clips")
    text = results._text(score_tables.intensity_tables(found, "test"), found, "test")
    assert ("All clips show one person: the intervals say nothing about other people." in text) == bool(count)


def test_labels_named_like_fields_of_the_results_keep_their_own_scores():
    names = ("mean", "seconds", "a $x$_b")
    outputs = split_outputs(labels=3)
    measured = measure(outputs, names, [""] * 20, {})
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
