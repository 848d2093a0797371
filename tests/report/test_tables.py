"""Tables for the terminal, Markdown and LaTeX; the submission's CSV."""

import csv

import numpy as np

from emi_jax.report import tables
from emi_jax.runs.results import retrieval_table
from emi_jax.runs.submission import write_predictions

NAMES = ("Joy", "Empathic Pain")
ROWS = [["a_b & c", 0.25, "[0.1, 0.4]"], ["mean", float("nan"), "-"]]


def test_plain_columns_stand_under_each_other():
    lines = tables.plain(["", "Pearson", "interval"], ROWS).splitlines()
    assert lines[2] == "a_b & c    0.250  [0.1, 0.4]"
    assert lines[3].split() == ["mean", "-", "-"]
    assert set(lines[1]) == {"-"}


def test_markdown_and_latex_hold_the_same_cells():
    markdown = tables.markdown(["", "Pearson", "interval"], ROWS).splitlines()
    assert markdown[1] == "| --- | ---: | ---: |"
    assert markdown[2] == "| a_b & c | 0.250 | [0.1, 0.4] |"
    latex = tables.latex(["", "Pearson", "interval"], ROWS).splitlines()
    assert latex[0] == r"\begin{tabular}{lrr}"
    assert latex[4] == r"a\_b \& c & 0.250 & [0.1, 0.4] \\"
    assert latex[-1] == r"\end{tabular}"


def test_intervals_without_ends_are_a_dash():
    assert tables.interval([0.1, 0.25]) == "[0.100, 0.250]"
    assert tables.interval([float("nan")] * 2) == "-"


def test_retrieval_table_sets_each_direction_beside_its_own_chance():
    scores = {}
    for direction, recall in (("vision_to_text", 0.5), ("text_to_vision", 0.25)):
        scores |= {f"{direction}/recall@1": recall, f"{direction}/recall@5": 0.75, f"{direction}/median_rank": 2.0}
    scores |= {
        "chance_vision_text/recall@1": 0.05,
        "chance_vision_text/recall@5": 0.25,
        "chance_vision_text/median_rank": 9.0,
    }
    lines = retrieval_table(scores).splitlines()
    assert lines[2].split() == ["text", "to", "vision", "0.250", "0.050", "0.750", "0.250", "2.000", "9.000", "5.000"]
    assert lines[3].split()[-1] == "10.000"


def test_predictions_are_a_submission_in_the_units_of_the_labels(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["00001", "00002"], np.array([[0.0, 1.0], [0.5, 0.25]]), NAMES, (0.0, 100.0))
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Filename", "Joy", "Empathic Pain"]
    assert rows[1][0] == "00001"
    assert [float(cell) for cell in rows[1][1:] + rows[2][1:]] == [0, 100, 50, 25]
