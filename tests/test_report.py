"""Tables, the submission's CSV, and pictures that open."""

import csv

import cv2
import numpy as np
import pytest

from emi_jax import report

NAMES = ("Joy", "Empathic Pain")


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)
    present = np.ones((40, 3), bool)
    present[:5, 0] = False
    return {
        "predictions": rng.random((40, 2)).astype(np.float32),
        "labels": rng.random((40, 2)).astype(np.float32),
        "label_mask": rng.random((40, 2)) < 0.9,
        "present": present,
        "weights": rng.dirichlet(np.ones(3), 40),
    }


def test_intensity_table_holds_scores_and_ceiling():
    scores = {
        "Joy/pearson": 0.5,
        "Joy/ccc": 0.25,
        "Joy/mse": 0.125,
        "mean/pearson": 0.5,
        "mean/ccc": 0.25,
        "mean/mse": 0.125,
    }
    lines = report.intensity_table(scores, NAMES, {"Joy": 0.9, "Empathic Pain": 0.7}).splitlines()
    assert lines[0].split() == ["Pearson", "CCC", "MSE", "ceiling"]
    assert lines[2].split() == ["Joy", "0.500", "0.250", "0.125", "0.900"]
    assert lines[3].split() == ["Empathic", "Pain", "nan", "nan", "nan", "0.700"]
    assert lines[4].split() == ["mean", "0.500", "0.250", "0.125", "0.800"]


def test_retrieval_table_sets_each_direction_beside_its_own_chance():
    scores = {}
    for direction, recall in (("vision_to_text", 0.5), ("text_to_vision", 0.25)):
        scores |= {f"{direction}/recall@1": recall, f"{direction}/recall@5": 0.75, f"{direction}/median_rank": 2.0}
    scores |= {
        "chance_vision_text/recall@1": 0.05,
        "chance_vision_text/recall@5": 0.25,
        "chance_vision_text/median_rank": 9.0,
    }
    lines = report.retrieval_table(scores).splitlines()
    assert lines[2].split() == ["text", "to", "vision", "0.250", "0.050", "0.750", "0.250", "2.000", "9.000", "5.000"]
    assert lines[3].split()[-1] == "10.000"


def test_predictions_are_a_submission_in_the_units_of_the_labels(tmp_path):
    path = tmp_path / "predictions.csv"
    report.write_predictions(path, ["00001", "00002"], np.array([[0.0, 1.0], [0.5, 0.25]]), NAMES, (0.0, 100.0))
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Filename", "Joy", "Empathic Pain"]
    assert rows[1][0] == "00001"
    assert [float(cell) for cell in rows[1][1:] + rows[2][1:]] == [0, 100, 50, 25]


def test_pictures_open_and_are_not_blank(outputs, tmp_path):
    scores = {"Joy/pearson": 0.5}
    records = [{"step": step, "loss": 1 / step} for step in range(1, 9)] + [{"step": 8, "valid/mean/pearson": 0.3}]
    retrieval = {
        f"{direction}/{metric}": 0.4 for direction in ("a_to_text", "text_to_a") for metric in ("recall@1", "recall@5")
    }
    retrieval |= {"chance_a_text/recall@1": 0.1, "chance_a_text/recall@5": 0.2}
    report.draw_predictions(outputs, scores, NAMES, tmp_path / "predictions.png")
    report.draw_weights(outputs, tmp_path / "weights.png")
    report.draw_curves(records, "mean/pearson", tmp_path / "curves.png")
    report.draw_retrieval(retrieval, tmp_path / "retrieval.png")
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 4
    for picture in pictures:
        assert cv2.imread(str(picture)).std() > 10
