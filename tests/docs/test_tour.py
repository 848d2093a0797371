"""The cells of the notebook run on a trained run, and what they show is true of it."""

import ast
import json
from pathlib import Path

import numpy as np
from PIL import Image

from emi_jax.inputs import dataset as datasets

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def run_cell(source, namespace):
    """Runs a cell, and returns the value of the expression that it ends with, as a notebook shows it."""
    tree = ast.parse(source)
    namespace["shown"] = None
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("shown", ast.Store())], tree.body[-1].value)
    exec(compile(ast.fix_missing_locations(tree), str(NOTEBOOK), "exec"), namespace)
    return namespace["shown"]


def test_cells_run_from_top_to_bottom(evaluated, tmp_path, monkeypatch, capsys):
    experiment, folder = evaluated
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "stage2").symlink_to(folder)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    opened = []
    monkeypatch.setattr(datasets, "open_dataset", lambda *arguments: opened.append(arguments) or experiment.dataset)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    namespace = {}
    shown = [run_cell("".join(cell["source"]), namespace) for cell in cells]
    assert opened == [(tmp_path / "data" / "demo", "make demo")]
    assert [isinstance(value, Image.Image) for value in shown] == [False, True, True, False, True]
    assert all(np.ptp(np.asarray(value)) > 200 for value in shown if value)  # dark lines on white

    scores = json.loads((folder / "metrics_test.json").read_text())["labels"]
    printed = capsys.readouterr().out
    for name, row in scores.items():
        assert f"{name:<16} {row['pearson'] or 0:.3f}" in printed
    predictions, predicted = namespace["predictions"], namespace["predicted"]
    assert predictions
    for prediction in predictions:
        np.testing.assert_allclose(list(prediction.intensities.values()), predicted[prediction.id], atol=1e-4)
