"""Tables for the terminal, Markdown and LaTeX; the submission's CSV."""

import csv

import numpy as np
import pytest

from emi_jax.report import score_tables, tables
from emi_jax.report.terminal import counted, printable
from emi_jax.runs.submission import write_predictions

NAMES = ("Joy", "Empathic Pain")
ROWS = [["a_b & c", 0.25, "[0.1, 0.4]"], ["mean", float("nan"), None]]
HEADER = ["", "Pearson", "interval"]


def test_plain_columns_are_aligned():
    lines = tables.plain(HEADER, ROWS).splitlines()
    assert lines[2] == "a_b & c      0.250  [0.1, 0.4]"
    assert lines[3].split() == ["mean", "-", "-"]
    assert set(lines[1]) == {"-", " "}


def test_plain_columns_are_aligned_next_to_wide_letters():
    wide, narrow = tables.plain(["", "Pearson"], [["喜び", 0.5], ["Joy!", 0.5]]).splitlines()[2:]
    assert wide.replace("喜び", "Joy!") == narrow  # two letters that take four columns


def test_markdown_and_latex_hold_the_same_cells():
    markdown = tables.markdown(HEADER, ROWS).splitlines()
    assert [set(cell) for cell in markdown[1].strip("|").split("|")] == [{":", "-"}] * 3
    assert all(cell.endswith("-:") for cell in markdown[1].strip("|").split("|")[1:])
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == [r"a\_b \& c", "0.250", "[0.1, 0.4]"]
    latex = tables.latex(HEADER, ROWS).splitlines()
    assert latex[0] == r"\begin{tabular}{lrr}"
    assert [cell.strip() for cell in latex[4].split(" & ")] == [r"a\_b \& c", "0.250", r"[0.1, 0.4] \\"]
    assert latex[-1] == r"\end{tabular}"


@pytest.mark.parametrize(
    ("label", "markdown", "latex"),
    [
        ("a|b", r"a\|b", r"a\textbar{}b"),
        ("$x$", r"\$x\$", r"\$x\$"),
        ("a\\b~c", r"a\\b\~c", r"a\textbackslash{}b\textasciitilde{}c"),
        ("<i>x", r"&lt;i\>x", r"\ensuremath{<}i\ensuremath{>}x"),
        ("50%^{2}#", "50%^{2}#", r"50\%\^{}\{2\}\#"),
        ("*[x](y)", r"\*[x]\(y)", "*[x](y)"),
        ("0.1 ± 2 − 1", "0.1 ± 2 − 1", r"0.1 $\pm$ 2 $-$ 1"),
        ("two\nlines", r"two\\nlines", r"two\textbackslash{}nlines"),
        ("1e5", "1e5", "1e5"),
    ],
)
def test_labels_are_escaped(label, markdown, latex):
    row = tables.markdown(["", "x"], [[label, 1.0]]).splitlines()[2]
    assert row.removeprefix("| ").rsplit("|", 2)[0].rstrip() == markdown
    assert tables.latex(["", "x"], [[label, 1.0]]).splitlines()[4].rsplit(" & ", 1)[0].strip() == latex


def test_intervals_without_ends_are_a_dash():
    assert tables.interval([0.1, 0.25]) == "[0.100, 0.250]"
    assert tables.interval([float("nan")] * 2) == "-"


def test_an_interval_that_ends_at_zero_has_no_negative_zero():
    assert tables.interval([-0.0004, -0.0]) == "[0.000, 0.000]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("byte \udcff", r"byte \udcff"),
        ("exe\u202efdp", r"exe\u202efdp"),
        ("line\u2028sep\x85", r"line\u2028sep\x85"),
        ("喜び é نمی\u200cخواهم 👩\u200d🚀 a\u202fb", "喜び é نمی\u200cخواهم 👩\u200d🚀 a\u202fb"),
    ],
)
def test_printable_text_cannot_control_the_terminal(text, expected):
    assert printable(text) == expected


def test_one_thing_has_no_plural():
    assert [counted(count, "clip") for count in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]


def test_retrieval_table_shows_each_direction_with_its_own_chance():
    scores = {}
    for direction, recall in (("vision_to_text", 0.5), ("text_to_vision", 0.25)):
        scores |= {f"{direction}/recall@1": recall, f"{direction}/recall@5": 0.75}
        scores[f"{direction}/median_rank"] = 10 * recall
    scores |= {
        "chance_vision_text/recall@1": 0.05,
        "chance_vision_text/recall@5": 0.25,
        "chance_vision_text/median_rank": 9.0,
    }
    [table] = score_tables.alignment_tables(scores, "test")
    assert table.rows[0] == ["text to vision", 0.25, 0.05, 0.75, 0.25, "2.5", "9", 5.0]
    assert table.rows[1][5:] == ["5", "9", 10.0]
    _, probed = score_tables.alignment_tables(scores | {"probe/all/pearson": 0.5, "probe/text/pearson": 0.25}, "test")
    assert (probed.header, probed.rows) == (["", "text", "all"], [["mean Pearson", 0.25, 0.5]])


def test_a_label_named_mean_keeps_its_own_row():
    row = {"pearson": 0.5, "pearson_interval": [0.4, 0.6], "ccc": 0.4, "mse": 0.1, "ceiling": None}
    results = {
        "clips": 9,
        "subjects": 0,
        "resampled": "clips",
        "few_subjects": False,
        "labels": {"mean": row, "Joy": row | {"pearson": None, "pearson_interval": [None, None]}},
        "mean": row | {"pearson": 0.25},
        "availability": {},
        "lengths": {},
        "by_subject": {},
    }
    [table] = score_tables.intensity_tables(results, "test")
    assert [cells[:3] for cells in table.rows] == [
        ["mean", 0.5, "[0.400, 0.600]"],
        ["Joy", None, "-"],
        ["mean", 0.25, "[0.400, 0.600]"],
    ]


@pytest.mark.parametrize(
    ("fields", "split", "expected"),
    [
        ({"selected_on_this_split": True}, "valid", "The checkpoint was chosen by its score on valid"),
        ({"selected_on_this_split": False}, "test", "took no part in training or in the choice"),
        ({"trained_on_this_split": True}, "valid", "The model was trained on these clips"),
    ],
)
def test_meaning_says_whether_the_split_chose_the_checkpoint(fields, split, expected):
    (sentence,) = score_tables.meaning(fields, split)
    assert expected in sentence


def test_predictions_are_a_submission_in_the_units_of_the_labels(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["00001", "00002"], np.array([[0.0, 1.0], [0.5, 0.25]]), NAMES, (0.0, 100.0))
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Filename", "Joy", "Empathic Pain"]
    assert rows[1][0] == "00001"
    assert [float(cell) for cell in rows[1][1:] + rows[2][1:]] == [0, 100, 50, 25]
