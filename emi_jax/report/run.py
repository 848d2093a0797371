"""report.html: all that a run's folder holds, on one page."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emi_jax.inputs.dataset import Dataset
from emi_jax.report import page

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "transformers", "numpy")
TITLES = {
    "curves": "Learning curves",
    "pearson": "Pearson, with intervals",
    "predictions": "Predictions against labels",
    "weights": "Modality weights",
    "recall": "Retrieval",
    "similarity": "Retrieval matrix of stage 1",
    "ablation": "Ablation",
    "robustness": "Robustness",
}


def write_report(folder: Path, config: Mapping[str, Any], dataset: Dataset) -> Path:
    """Writes report.html from the tables and figures that are in a run's folder.

    Args:
        folder: of the run.
        config: of the run. In stage 2 figures of stage 1 (`init_from`) and of the studies under `root` are shown as
            well, where they are there.
        dataset: what was read.
    """
    parts = [page.section("Data", page.facts(_data(dataset)))]
    for path in sorted(folder.glob("metrics_*.json")):
        told = json.loads(path.read_text())
        parts.append(page.section(f"Scores on {path.stem.removeprefix('metrics_')}", page.preformatted(told["table"])))
    sources = [folder, *(Path(source) for source in _others(config))]
    parts += [part for source in sources for part in _drawn(source)]
    told = page.folded("config.json", page.preformatted(json.dumps(config, indent=2, default=list)))
    parts.append(page.section("Config and versions", told, page.facts(_versions())))
    return page.write(folder / "report.html", f"emi_jax: {config['stage']} in {folder.name}", parts)


def _others(config: Mapping[str, Any]) -> list[str]:
    """Folders whose figures belong to a run's beside its own."""
    if config["stage"] != "intensity":
        return []
    studies = [f"{config['root']}/{study}" for study in ("ablation", "robustness")]
    return [config["init_from"], *studies] if config["init_from"] else studies


def _drawn(folder: Path) -> Iterator[str]:
    """The figures of a folder and the table beside each, where there is one."""
    for path in sorted(folder.glob("figures/*.svg"), key=lambda path: (_rank(path), path.name)):
        kind, _, rest = path.stem.partition("_")
        beside = folder / f"{path.stem}.txt"
        text = [page.preformatted(beside.read_text())] if beside.exists() else []
        title = ": ".join(filter(None, (TITLES.get(kind, kind), rest.replace("_", " "))))
        yield page.section(title, page.note(str(path.parent.parent.name)), path.read_text(encoding="utf-8"), *text)


def _rank(path: Path) -> int:
    kinds = list(TITLES)
    kind = path.stem.partition("_")[0]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _data(dataset: Dataset) -> dict[str, object]:
    return {
        "dataset": dataset.directory,
        "content": dataset.fingerprint[:12],
        "clips": ", ".join(f"{count} {split}" for split, count in dataset.splits.items()),
        "labels": ", ".join(dataset.label_names),
        "label range": "{:g} to {:g}".format(*dataset.label_range),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}
