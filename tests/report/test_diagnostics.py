"""Figures and tables of where a model errs hold the numbers of the results, in the users' units."""

import numpy as np
import pytest

from emi_jax.report import diagnostic_tables, diagnostics
from emi_jax.runs.scores import measure, score_subjects

NAMES = ("Joy", "a $x$_b")


@pytest.fixture(scope="module")
def outputs():
    rng = np.random.default_rng(0)
    labels = rng.random((40, 2))
    return {
        "predictions": 0.5 * labels + 0.2 * rng.random((40, 2)),
        "labels": labels,
        "label_mask": np.ones((40, 2), bool),
        "present": rng.random((40, 3)) < 0.8,
    }


@pytest.fixture(scope="module")
def results(outputs):
    subjects = [f"s{k % 4}" for k in range(40)]
    return measure(outputs, NAMES, subjects, {}, seconds=np.linspace(1, 5, 40))


def test_calibration_is_drawn_in_the_users_units(results):
    axes = diagnostics.calibration(results["calibration"], (-50.0, 50.0)).axes
    assert [panel.get_title() for panel in axes] == list(NAMES)
    found = results["calibration"]["Joy"]
    diagonal, curve = axes[0].lines
    np.testing.assert_allclose(diagonal.get_ydata(), [-50, 50])
    np.testing.assert_allclose(curve.get_xdata(), 100 * np.array(found["prediction"]) - 50)
    np.testing.assert_allclose(curve.get_ydata(), 100 * np.array(found["label"]) - 50)


def test_matrices_show_two_decimals_of_each_correlation(results):
    panels = diagnostics.confusion(results["confusion"], NAMES).axes
    shown = [[text.get_text() for text in panel.texts] for panel in panels]
    assert shown[0][0] == shown[0][3] == "1"
    rho = results["confusion"]["predictions"][0][1]
    assert shown[1][1] == f"{rho:.2f}".replace("0.", ".")


def test_undefined_correlations_are_left_blank(results):
    matrices = {name: [[1.0, None], [None, None]] for name in results["confusion"]}
    assert [len(panel.texts) for panel in diagnostics.confusion(matrices, NAMES).axes] == [1, 1, 1]


def test_groups_are_named_with_their_number_of_clips(results):
    left, right = diagnostics.groups(results).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    groups = {**results["availability"], **results["lengths"]}
    assert names == ["all clips (40)", *(f"{title} ({row['clips']})" for title, row in groups.items())]
    drawn = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert drawn == [results["mean"]["mse"], *(row["mse"] for row in groups.values())]


def test_subjects_are_sorted_by_their_scores(outputs):
    scores = score_subjects(outputs, [f"s{k % 4}" for k in range(40)])
    marks = diagnostics.subjects(scores).axes[0].lines[0]
    np.testing.assert_allclose(marks.get_ydata(), np.sort(scores.pearson[:, -1]))


def test_the_label_that_predictions_follow_most_is_named(results):
    table = diagnostic_tables.confusion_table(results)
    predictions, labels = results["confusion"]["predictions"], results["confusion"]["labels"]
    assert table.rows[0] == ["Joy", predictions[0][0], NAMES[1], predictions[0][1], labels[0][1]]
    alone = {"labels": {"Joy": {}}, "confusion": {"labels": [[1.0]], "predictions": [[0.5]]}}
    assert diagnostic_tables.confusion_table(alone).rows == [["Joy", 0.5, "-", None, None]]


def test_the_spread_over_subjects_stands_below_the_score_over_all_clips(results):
    table = diagnostic_tables.subject_table(results)
    assert table.rows[0][2] == results["mean"]["pearson"]
    assert table.rows[2][1:3] == [4, results["by_subject"]["within"]["mean"]]
