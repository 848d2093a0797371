"""Ensembles of prediction CSVs: combined, scored, written as a submission, checked."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from emi_jax.errors import UserError
from emi_jax.files import write_json
from emi_jax.report.exits import FAILED
from emi_jax.runs.ensemble import combine
from emi_jax.runs.submission import check_submission, read_predictions, write_predictions
from emi_jax.studies import ensemble
from tests.fakes import NAMES, make_dataset

RANGE = (0.0, 10.0)


@pytest.fixture
def members(tmp_path):
    """Two runs whose predictions are the labels with noise; that of the second is three times as large."""
    dataset = dataclasses.replace(make_dataset(valid=30, test=24), label_range=RANGE)
    rng = np.random.default_rng(0)
    folders, values = [], {}
    for member, noise in enumerate((0.1, 0.3)):
        folders.append(tmp_path / f"run{member}")
        for split in ("valid", "test"):
            examples = dataset.builder.examples[split]
            labels = np.stack([example["labels"] for example in examples])
            predictions = np.clip(labels + noise * rng.normal(size=labels.shape), 0, 1)
            ids = [example["id"].decode() for example in examples]
            write_predictions(folders[-1] / f"predictions_{split}.csv", ids, predictions, NAMES, RANGE)
            values[member, split] = predictions, labels
    return dataset, folders, values


def written(path):
    with path.open() as file:
        return np.array([[float(row[name]) for name in NAMES] for row in csv.DictReader(file)])


def test_the_mean_is_written_in_units_and_scored(members, tmp_path):
    dataset, folders, values = members
    summary = combine(folders, dataset, "test", tmp_path / "out")
    expected = (values[0, "test"][0] + values[1, "test"][0]) / 2
    np.testing.assert_allclose(written(tmp_path / "out" / "predictions_test.csv"), 10 * expected, atol=1e-5)
    labels = values[0, "test"][1]
    correlations = [scipy.stats.pearsonr(*pair).statistic for pair in zip(expected.T, labels.T, strict=True)]
    measured = json.loads((tmp_path / "out" / "metrics_test.json").read_text())
    assert measured["mean"]["pearson"] == pytest.approx(np.mean(correlations), abs=1e-5)
    assert summary.verdict == f"mean pearson {np.mean(correlations):.3f}"


def test_ranks_are_averaged(members, tmp_path):
    dataset, folders, values = members
    csvs = [folder / "predictions_test.csv" for folder in folders]
    combine(csvs, dataset, "test", tmp_path / "out", "rank")
    ranks = [(scipy.stats.rankdata(values[member, "test"][0], axis=0) - 0.5) / 24 for member in range(2)]
    found = written(tmp_path / "out" / "predictions_test.csv")
    np.testing.assert_allclose(found, 10 * np.mean(ranks, axis=0), atol=1e-5)


def test_weights_are_fitted_on_the_validation_split_alone(members, tmp_path):
    dataset, folders, values = members
    combine(folders, dataset, "test", tmp_path / "out", "nnls")
    centred = [values[member, "valid"][0] - values[member, "valid"][0].mean(0) for member in range(2)]
    labels = values[0, "valid"][1]
    weights, _ = scipy.optimize.nnls(np.stack([x.ravel() for x in centred], 1), (labels - labels.mean(0)).ravel())
    weights /= weights.sum()
    assert weights[0] > 0.7
    expected = weights[0] * values[0, "test"][0] + weights[1] * values[1, "test"][0]
    np.testing.assert_allclose(written(tmp_path / "out" / "predictions_test.csv"), 10 * expected, atol=1e-3)
    valid = combine(folders, dataset, "valid", tmp_path / "out", "nnls")
    assert "fitted on the clips of valid" in valid.verdict
    with pytest.raises(UserError, match="name the run's folder instead"):
        combine([folders[0] / "predictions_test.csv"], dataset, "test", tmp_path / "out", "nnls")


@pytest.mark.parametrize("trained", [("train", "valid"), ("train",)])
def test_weights_are_not_fitted_on_clips_that_a_run_was_trained_on(trained, members, tmp_path):
    dataset, folders, _ = members
    for folder, splits in zip(folders, (("train",), trained), strict=True):
        write_json(folder / "config.json", {"data": {"train_on": splits}, "train": {"select": "last"}})
    if "valid" not in trained:
        combine(folders, dataset, "test", tmp_path / "out", "nnls")
        return
    with pytest.raises(UserError, match=r"run1 was trained on clips of valid .*--how=mean or --how=rank"):
        combine(folders, dataset, "test", tmp_path / "out", "nnls")
    assert not (tmp_path / "out").exists()
    summary = combine(folders, dataset, "valid", tmp_path / "out")
    assert "The model was trained on these clips" in summary.table
    with pytest.raises(UserError, match=r"out was trained on clips of valid"):
        combine([tmp_path / "out"], dataset, "valid", tmp_path / "again", "nnls")


def test_a_run_that_does_not_say_what_it_was_trained_on_is_named(members, tmp_path, caplog):
    dataset, folders, _ = members
    combine(folders, dataset, "test", tmp_path / "out", "nnls")
    assert "run0 does not say what it was trained on: make sure that valid was not part of it" in caplog.text


def test_a_combination_is_compared_with_a_single_run(members, tmp_path):
    dataset, folders, values = members
    write_json(folders[1] / "config.json", {"data": {"train_on": ["train", "test"]}, "train": {"select": "last"}})
    summary = combine(folders, dataset, "test", tmp_path / "out", other=folders[1])
    found = json.loads((tmp_path / "out" / "metrics_test.json").read_text())["comparison"]
    (one, labels), (two, _) = values[0, "test"], values[1, "test"]
    rho = [
        np.mean([scipy.stats.pearsonr(*pair).statistic for pair in zip(x.T, labels.T, strict=True)])
        for x in ((one + two) / 2, two)
    ]
    assert found["mean"]["difference"] == pytest.approx(rho[0] - rho[1], abs=1e-5)
    assert found["mean"]["p"] < 0.01
    assert found["resampled"] == "clips"
    assert "The other model was trained on these clips" in summary.table
    dataset = dataclasses.replace(dataset, available={"test": {"labels": 0}})
    with pytest.raises(UserError, match="no clip of test has labels to compare predictions with"):
        combine(folders, dataset, "test", tmp_path / "out", other=folders[1])


def test_the_command_combines_checks_and_reports_faults(members, tmp_path, monkeypatch, capsys):
    dataset, folders, _ = members
    monkeypatch.setattr(ensemble, "open_dataset", lambda *_: dataset)
    out = tmp_path / "out"
    assert ensemble.main([*map(str, folders), "--data=x", f"--output={out}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean pearson 0.")
    assert ensemble.main([str(folders[0]), "--data=x", f"--output={out}", f"--compare={folders[1]}"]) == 0
    assert "this model minus" in capsys.readouterr().out
    assert ensemble.main([f"--check={out / 'predictions_test.csv'}", "--data=x"]) == 0
    assert "all 24 clips of test, in order and in range" in capsys.readouterr().out
    assert ensemble.main([f"--check={out / 'predictions_test.csv'}", "--data=x", "--split=valid"]) == FAILED
    assert "lacks 6 of 30 clips" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ensemble.main([str(folders[0]), "--data=x"])


def test_a_split_without_labels_is_predicted_and_not_scored(members, tmp_path):
    dataset, folders, _ = members
    dataset = dataclasses.replace(dataset, available={"test": {"labels": 0}})
    summary = combine(folders, dataset, "test", tmp_path / "out")
    assert summary.verdict == "predicted 24 clips"
    assert [path.name for path in summary.written] == ["predictions_test.csv"]


def test_missing_predictions_name_the_command_that_writes_them(members, tmp_path):
    dataset, folders, _ = members
    with pytest.raises(UserError, match=r"no predictions in .*predictions_train.csv: .*--mode=predict --split=train"):
        combine(folders, dataset, "train", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda rows: rows[:-1], "lacks 1 of 24 clips, the first of them 00023"),
        (lambda rows: [*rows, ["more", *rows[1][1:]]], "1 clips that are not in the list, the first of them more"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "line 2: the order differs: expected 00000, got 00001"),
        (lambda rows: [*rows[:3], [rows[3][0], *["nan"] * 6], *rows[4:]], "line 4: expected a clip and 6 finite"),
        (
            lambda rows: [*rows[:3], [rows[3][0], *["10.5"] * 6], *rows[4:]],
            r"line 4: .* outside of the labels' \[0, 10",
        ),
        (lambda rows: [*rows[:3], rows[3][:4], *rows[4:]], "line 4: expected a clip and 6 finite numbers"),
        (lambda rows: [*rows, rows[1]], "line 26: clip 00000 is there twice"),
        (lambda rows: [["Filename", *reversed(rows[0][1:])], *rows[1:]], "its columns are Filename, Joy"),
        (lambda rows: [], "its columns are none"),
    ],
)
def test_a_submission_with_a_fault_is_refused(change, error, members, tmp_path):
    _, folders, _ = members
    path, ids = folders[0] / "predictions_test.csv", [f"{row:05d}" for row in range(24)]
    check_submission(path, ids, NAMES, RANGE)
    with path.open() as file:
        rows = list(csv.reader(file))
    with (tmp_path / "changed.csv").open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))
    with pytest.raises(UserError, match=error):
        check_submission(tmp_path / "changed.csv", ids, NAMES, RANGE)


def test_a_submission_may_have_excels_mark_and_a_last_empty_line(members, tmp_path):
    _, folders, _ = members
    ids, text = [f"{row:05d}" for row in range(24)], (folders[0] / "predictions_test.csv").read_text()
    (tmp_path / "excel.csv").write_text("\ufeff" + text + "\n", encoding="utf-8")
    check_submission(tmp_path / "excel.csv", ids, NAMES, RANGE)
    (tmp_path / "spaces.csv").write_text(text.replace(",", ", "))
    with pytest.raises(UserError, match=r"its columns are .* \(' \w+' for '\w+'\)"):
        check_submission(tmp_path / "spaces.csv", ids, NAMES, RANGE)
    (tmp_path / "underscore.csv").write_text(text.replace(",0.", ",0_0."))
    with pytest.raises(UserError, match="finite numbers"):
        check_submission(tmp_path / "underscore.csv", ids, NAMES, RANGE)


def test_sources_are_not_overwritten_named_twice_or_out_of_range(members, tmp_path):
    dataset, folders, _ = members
    before = (folders[0] / "predictions_test.csv").read_bytes()
    for output, sources, other in (
        (folders[0], folders, None),
        (folders[0], folders[1:], folders[0]),
        (folders[0], [folders[0] / "predictions_test.csv", folders[1]], None),
    ):
        with pytest.raises(UserError, match="belongs to a run or source; name a new folder"):
            combine(sources, dataset, "test", output, other=other)
    with pytest.raises(UserError, match="its predictions are named twice"):
        combine([folders[0], folders[0] / "predictions_test.csv"], dataset, "test", tmp_path / "out")
    path = folders[1] / "predictions_test.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], "00000" + ",10.5" * 6, *rows[2:]]))
    with pytest.raises(
        UserError, match=r"run1/predictions_test.csv: a value of 00000 is outside of the labels' \[0, 10"
    ):
        combine(folders, dataset, "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (folders[0] / "predictions_test.csv").read_bytes() == before


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read: No such file"):
        read_predictions(tmp_path / "none.csv", NAMES)
