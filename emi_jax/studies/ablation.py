"""The ablation grid: variants of stage 2, each trained with several seeds on cached features, and the full model.

Each cell is one variant. It writes `cells/<name>.json` (what was run, and the scores of each seed) and
`cells/<name>.safetensors` (the parameters of each seed), so an interrupted grid resumes in the middle of a cell, and
only cells that have changed are run again.
"""

import dataclasses
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
import scipy
from flax import traverse_util
from ml_collections import ConfigDict
from safetensors.numpy import load_file

from emi_jax.errors import UserError
from emi_jax.files import write_tensors
from emi_jax.inputs.dataset import Dataset
from emi_jax.metrics.significance import holm
from emi_jax.modalities import MODALITIES
from emi_jax.report import studies, svg, tables
from emi_jax.runs.evaluation import SELECTED, chosen_params, evaluator, member_seeds, selected_on
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.runs.workdir import without
from emi_jax.studies.parts import SHARED, Part
from emi_jax.studies.variants import SECTIONS, changed

FULL = "full"
"""The cell to which the others are compared."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One variant of the grid.

    Attributes:
        name: name of its files.
        title: title of its row.
        config: its config of stage 2.
    """

    name: str
    title: str
    config: ConfigDict


def cells(config: ConfigDict) -> list[Cell]:
    """The cells of a grid: the config with each cell's changes, `((path, value), ...)`.

    `{config.FIELD}` in a string stands for a field of the grid's config. Cells with a modality that the config does not
    use are omitted, as are those that `grid.only` leaves out.

    Raises:
        UserError: a change names a missing field or has the wrong type, `grid.only` names a missing cell, or the config
            has no feature cache.
    """
    if not config.features.dir:
        raise UserError("a study reads cached features: name a folder for them with --config.features.dir=FOLDER")
    known, only = [name for name, _, _ in config.grid.cells], config.grid.only or ()
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"config.grid.only: there is no cell {unknown[0]!r}; there are {', '.join(known)}")
    made = [
        Cell(name, title, _changed(config, name, changes))
        for name, title, changes in config.grid.cells
        if name in (only or known)
    ]
    used = set(config.model.modalities)
    fit = [cell for cell in made if set(cell.config.model.modalities) <= used]
    if left_out := [cell.title for cell in made if cell not in fit]:
        log.info("left out, since only %s are in use: %s", ", ".join(sorted(used)), "; ".join(left_out))
    return fit


def _changed(config: ConfigDict, name: str, changes: Sequence[tuple[str, Any]]) -> ConfigDict:
    filled = [(path, value.format(config=config) if isinstance(value, str) else value) for path, value in changes]
    return changed(config, filled, [*SHARED, "grid"], f"cell {name!r}")


def run(
    config: ConfigDict, dataset: Dataset, folder: Path, split: str, devices: Sequence[jax.Device] | None = None
) -> list[Path]:
    """Runs the missing cells, then writes the table and the figure of the grid.

    Args:
        config: a config of stage 2, with `grid`: `seeds` and `cells`.
        dataset: the dataset.
        folder: the folder of the grid.
        split: the split to score.
        devices: all devices by default.

    Returns:
        The written files.
    """
    seeds = tuple(config.grid.seeds)
    results = {cell.title: run_cell(cell, dataset, folder, seeds, split, devices) for cell in cells(config)}
    return write(results, folder, split, dataset)


def parts(
    config: ConfigDict, dataset: Dataset, folder: Path, split: str, devices: Sequence[jax.Device] | None = None
) -> list[Part]:
    """The cells of the grid; arguments and errors as for `run`."""
    seeds = tuple(config.grid.seeds)

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
    experiment = Experiment.open(cell.config, dataset, folder / "cells" / f"{cell.name}-{recipe[:12]}", devices)
    if trained_towers := experiment.stage.trained_towers:
        raise UserError(
            f"a study trains all seeds on the same features, and the {next(iter(trained_towers))} encoder is trained: "
            "freeze it with --config.train.frozen"
        )
    models = [model for seed in seeds for model in member_seeds(cell.config, seed) or (seed,)]
    train(experiment, models)
    params = chosen_params(experiment, len(models))
    outputs = evaluator(experiment, split, len(models)).gather(params, progress=True)
    ensembles = np.split(outputs["predictions"], len(seeds), axis=1)
    scores = [experiment.stage.score(outputs | {"predictions": each.mean(1)}, split) for each in ensembles]
    trained = traverse_util.flatten_dict(jax.device_get(experiment.split(params)[0]), sep="/")
    write_tensors(path.with_suffix(".safetensors"), trained)
    result = {
        "name": cell.name,
        "recipe": recipe,
        "seeds": list(seeds),
        "seconds": round(time.monotonic() - started, 1),
        "selected_on_this_split": selected_on(experiment, split),
        "scores": scores,
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)
    shutil.rmtree(experiment.workdir.path / "checkpoints")  # the selected parameters are in the cell's file
    log.info("%s: mean Pearson %.3f in %.0f s", cell.title, np.mean(_goals(result)), result["seconds"])
    return result


def load_trained(cell: Cell, folder: Path) -> dict[str, Any]:
    """The trained parameters of a finished cell, arrays [S, ...]."""
    return traverse_util.unflatten_dict(load_file(folder / "cells" / f"{cell.name}.safetensors"), sep="/")


def write(results: Mapping[str, dict[str, Any]], folder: Path, split: str, dataset: Dataset) -> list[Path]:
    """Writes {title: result of `run_cell`}, the full model first, as JSON, Markdown, LaTeX and a figure."""
    titles = {result["name"]: title for title, result in results.items()}
    full = _goals(results[titles[FULL]]) if FULL in titles else None
    rows = {title: compare(_goals(result), full) for title, result in results.items()}
    for title, result in results.items():
        rows[title] |= {name: result[name] for name in ("seconds", "name", "selected_on_this_split")}
        for metric in ("ccc", "mse"):
            rows[title][metric] = float(np.mean([scores[f"mean/{metric}"] for scores in result["scores"]]))
    for row, corrected in zip(rows.values(), holm([row["p"] for row in rows.values()]), strict=True):
        row["p_holm"] = float(corrected)
    header = ["", "Pearson", "95% interval", "minus full", "95% interval", "p", "p, Holm", "CCC", "MSE"]
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
        ]
        for title, row in rows.items()
    ]
    figure = svg.save(studies.ablation(rows), folder / "figures" / "ablation.svg")
    seeds = len(next(iter(results.values()))["seeds"])
    caption = (
        f"mean Pearson on {split}, {seeds} seeds; intervals over seeds; differences paired by seed; p of a paired "
        f"t-test, corrected for {sum(row['p'] == row['p'] for row in rows.values())} comparisons by Holm\n"
    )
    if any(result["selected_on_this_split"] for result in results.values()):
        caption += SELECTED.format(split=split) + "\n"
    ceiling = [float(value) for value in dataset.ceiling.get(split, {}).values()]
    if ceiling:
        caption += f"ceiling {np.mean(ceiling):.3f}\n"
    texts = {
        "ablation.txt": caption + tables.plain(header, lines) + "\n",
        "ablation.md": tables.markdown(header, lines),
        "ablation.tex": tables.latex(header, lines),
        "ablation.json": json.dumps(_without_nan(rows), indent=1) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    log.info("\n%s", texts["ablation.txt"])
    return [figure, *(folder / name for name in texts)]


def compare(scores: np.ndarray, full: np.ndarray | None) -> dict[str, Any]:
    """Mean over seeds with Student's 95% interval, and the same for the paired differences to the full model.

    Returns:
        `pearson`, `interval`, `difference`, `difference_interval` and `p`, the two-sided p-value of a paired t-test;
        NaN where a number is undefined.
    """
    mean, ends = t_interval(scores)
    difference, apart = (float("nan"), [float("nan")] * 2) if full is None else t_interval(scores - full)
    p = float("nan") if full is None else t_test(scores - full)
    return {"pearson": mean, "interval": ends, "difference": difference, "difference_interval": apart, "p": p}


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, list[float]]:
    """Mean and its Student's t interval, from independent values [S]; the ends are NaN for a single value."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, [float("nan")] * 2
    half = float(scipy.stats.t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return mean, [mean - half, mean + half]


def t_test(values: np.ndarray) -> float:
    """Student's two-sided p-value of the mean of independent values [S] being 0; NaN for equal or single values."""
    if len(values) < 2 or not np.ptp(values):
        return float("nan")
    t = np.mean(values) / (np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(2 * scipy.stats.t.sf(abs(t), len(values) - 1))


def _goals(result: Mapping[str, Any]) -> np.ndarray:
    return np.array([scores["mean/pearson"] for scores in result["scores"]])


def _path(cell: Cell, folder: Path) -> Path:
    """The file of a cell's result."""
    return folder / "cells" / f"{cell.name}.json"


def _finished(path: Path, recipe: str) -> dict[str, Any] | None:
    """The result of a cell if it was made by this recipe."""
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found if found and found["recipe"] == recipe else None


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
