"""Grids: variants of stage 2, each trained with several seeds on cached features, and the one they are compared with.

Each cell is one variant. It writes `cells/<name>.json` (what was run, and the scores of each seed) and
`cells/<name>.safetensors` (the parameters of each seed), so an interrupted grid resumes in the middle of a cell, and
only cells that have changed are run again.
"""

import functools
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import read_json, read_tensors, whole_file, write_json, write_tensors
from emi_jax.inputs.dataset import Dataset
from emi_jax.metrics.significance import holm, paired_t_test
from emi_jax.modalities import MODALITIES
from emi_jax.report import studies, svg, tables
from emi_jax.runs.evaluation import SELECTED, chosen_params, evaluator, member_seeds, selected_on, trained_on
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.runs.workdir import without
from emi_jax.studies.cells import Cell, cells
from emi_jax.studies.parts import Part
from emi_jax.studies.variants import SECTIONS

log = logging.getLogger(__name__)


def run(
    config: ConfigDict, dataset: Dataset, folder: Path, split: str, devices: Sequence[jax.Device] | None = None
) -> list[Path]:
    """Runs the missing cells, then writes the table and the figure of the grid.

    Args:
        config: a config of stage 2 with `study`, the name of the written files, and `grid`; its cells are stored in
            `grid.folder`.
        dataset: the dataset.
        folder: the folder for the results.
        split: the split to score.
        devices: all devices by default.

    Returns:
        The written files.

    Raises:
        UserError: as from `cells`, or a cell cannot be trained.
    """
    grid, seeds = Path(config.grid.folder), tuple(config.grid.seeds)
    results = {cell.title: run_cell(cell, dataset, grid, seeds, split, devices) for cell in cells(config)}
    return write(results, config, folder, split, dataset)


def parts(config: ConfigDict, dataset: Dataset, split: str, devices: Sequence[jax.Device] | None = None) -> list[Part]:
    """The cells of the grid; arguments and errors as for `run`."""
    folder, seeds = Path(config.grid.folder), tuple(config.grid.seeds)

    def part(cell: Cell) -> Part:
        def is_done() -> bool:
            return bool(_finished(_path(cell, folder), _recipe(cell, dataset, seeds, split)))

        return Part(cell.name, is_done, functools.partial(run_cell, cell, dataset, folder, seeds, split, devices))

    return [part(cell) for cell in cells(config)]


def run_cell(
    cell: Cell,
    dataset: Dataset,
    folder: Path,
    seeds: Sequence[int],
    split: str,
    devices: Sequence[jax.Device] | None = None,
) -> dict[str, Any]:
    """The result of a cell, which is trained first if it is missing or was made with another config.

    Interrupted training is resumed. Where a seed stands for an ensemble (`train.members`), the members of all seeds are
    trained side by side, and the mean of its members' predictions is scored.
    """
    path, recipe = _path(cell, folder), _recipe(cell, dataset, seeds, split)
    if found := _finished(path, recipe):
        log.info("%s: already done", cell.title)
        return found
    log.info("\n%s", cell.title)
    started = time.monotonic()
    experiment = open_cell(cell, dataset, folder, recipe, devices)
    if trained_towers := experiment.stage.trained_towers:
        raise UserError(
            f"a study trains all seeds on the same features, and the {next(iter(trained_towers))} encoder is trained: "
            "freeze it with --config.train.frozen"
        )
    models = [model for seed in seeds for model in member_seeds(cell.config, seed) or (seed,)]
    train(experiment, models)
    params = chosen_params(experiment, len(models))
    chooses = "valid" in dataset.splits and not trained_on(experiment, "valid")
    trained = traverse_util.flatten_dict(jax.device_get(experiment.split(params)[0]), sep="/")
    path.unlink(missing_ok=True)  # else it would seem to be the result of the new parameters, were this the last step
    with whole_file(path.with_suffix(".safetensors")) as partial:
        write_tensors(partial, trained)
    result: dict[str, Any] = {
        "name": cell.name,
        "recipe": recipe,
        "seeds": list(seeds),
        "selected_on_this_split": selected_on(experiment, split),
        "scores": _scores(experiment, params, len(models), len(seeds), split),
        "valid": _scores(experiment, params, len(models), len(seeds), "valid") if chooses else [],
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(path, result)
    shutil.rmtree(experiment.workdir.path / "checkpoints")  # the selected parameters are in the cell's file
    log.info("%s: mean Pearson %.3f in %.0f s", cell.title, np.mean(_goals(result["scores"])), result["seconds"])
    return result


def _scores(experiment: Experiment, params: dict, models: int, seeds: int, split: str) -> list[dict[str, float]]:
    """The scores of each seed on a split, from the mean prediction of its models."""
    outputs = evaluator(experiment, split, models).gather(params, progress=True)
    ensembles = np.split(outputs["predictions"], seeds, axis=1)
    return [experiment.stage.score(outputs | {"predictions": each.mean(1)}, split) for each in ensembles]


def load_trained(cell: Cell, folder: Path) -> dict[str, Any]:
    """The trained parameters of a finished cell, arrays [S, ...].

    Raises:
        UserError: their file is damaged.
    """
    return traverse_util.unflatten_dict(read_tensors(_path(cell, folder).with_suffix(".safetensors")), sep="/")


def open_cell(
    cell: Cell, dataset: Dataset, folder: Path, recipe: str, devices: Sequence[jax.Device] | None = None
) -> Experiment:
    """The experiment of a cell, whose folder is known by its recipe."""
    return Experiment.open(cell.config, dataset, folder / "cells" / f"{cell.name}-{recipe[:12]}", devices)


def write(
    results: Mapping[str, dict[str, Any]], config: ConfigDict, folder: Path, split: str, dataset: Dataset
) -> list[Path]:
    """Writes the results of cells, {title: result of `run_cell`}, as JSON, Markdown, LaTeX and a figure.

    The files have the name of the study. The other arguments are those of `run`.
    """
    name = config.grid.reference
    reference = next((_goals(result["scores"]) for result in results.values() if result["name"] == name), None)
    rows = {title: paired_t_test(_goals(result["scores"]), reference) for title, result in results.items()}
    for title, result in results.items():
        rows[title] |= {field: result[field] for field in ("seconds", "name", "selected_on_this_split")}
        rows[title]["valid"] = float(np.mean(_goals(result["valid"]))) if result["valid"] else float("nan")
        for metric in ("ccc", "mse"):
            rows[title][metric] = float(np.mean([scores[f"mean/{metric}"] for scores in result["scores"]]))
    for row, corrected in zip(rows.values(), holm([row["p"] for row in rows.values()]), strict=True):
        row["p_holm"] = float(corrected)
    header = ["", "Pearson", "95% interval", f"minus {name}", "95% interval", "p", "p, Holm", "CCC", "MSE", "valid"]
    lines = [
        [
            title,
            row["pearson"],
            tables.interval(row["interval"]),
            row["difference"],
            tables.interval(row["difference_interval"]),
            tables.p_value(row["p"]),
            tables.p_value(row["p_holm"]),
            row["ccc"],
            row["mse"],
            row["valid"],
        ]
        for title, row in rows.items()
    ]
    figure = svg.save(studies.grid(rows, name), folder / "figures" / f"{config.study}.svg")
    seeds = len(next(iter(results.values()))["seeds"])
    caption = (
        f"mean Pearson on {split}, {seeds} seeds; intervals over seeds; differences paired by seed; p of a paired "
        f"t-test, corrected for {sum(row['p'] == row['p'] for row in rows.values())} comparisons by Holm; valid: "
        "mean Pearson on that split, to choose a setting by\n"
    )
    if any(result["selected_on_this_split"] for result in results.values()):
        caption += SELECTED.format(split=split) + "\n"
    ceiling = [float(value) for value in dataset.ceiling.get(split, {}).values()]
    if ceiling:
        caption += f"ceiling {np.mean(ceiling):.3f}\n"
    texts = {
        "txt": caption + tables.plain(header, lines) + "\n",
        "md": tables.markdown(header, lines),
        "tex": tables.latex(header, lines),
        "json": json.dumps(_without_nan(rows), indent=1) + "\n",
    }
    files = {folder / f"{config.study}.{kind}": text for kind, text in texts.items()}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    log.info("\n%s", texts["txt"])
    return [figure, *files]


def _goals(scores: Sequence[Mapping[str, float]]) -> np.ndarray:
    """The mean Pearson of each seed."""
    return np.array([each["mean/pearson"] for each in scores])


def _path(cell: Cell, folder: Path) -> Path:
    """The file of a cell's result."""
    return folder / "cells" / f"{cell.name}.json"


def _finished(path: Path, recipe: str) -> dict[str, Any] | None:
    """The result of a cell if it was made by this recipe."""
    found = read_json(path) if path.exists() and path.with_suffix(".safetensors").exists() else {}
    return found if found.get("recipe") == recipe else None


def _recipe(cell: Cell, dataset: Dataset, seeds: Sequence[int], split: str) -> str:
    """A hash of everything that determines a cell's result: of folders their encoders' files, not their paths."""
    free = {*cell.config.bindings.free, "train.seed"} - {"train.select"}
    config = without(json.loads(json.dumps(cell.config.to_dict())), free)
    config["features"]["dir"] = bool(config["features"]["dir"])
    for section, field in ((config, "init_from"), *((config["model"][name], "pretrained") for name in MODALITIES)):
        section[field] = _content(section[field])
    facts = [{name: config[name] for name in SECTIONS}, dataset.fingerprint, list(seeds), split]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _content(source: str) -> Any:
    """The hashes of the encoders in a folder by their files; an empty string or an id of the hub as it is."""
    folder = Path(source)
    if not source or not folder.is_dir():
        return source
    files = sorted(folder.glob("**/*.safetensors"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree
