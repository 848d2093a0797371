"""Writes report.html, one page with all results in a run's folder."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emi_jax.inputs.dataset import Dataset
from emi_jax.report import page, score_tables
from emi_jax.report.diagnostic_tables import calibration_table, confusion_table
from emi_jax.report.page import Image

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "transformers", "numpy")
FIGURES = {
    "curves": ("Learning curves", "Training loss and validation score by step."),
    "pearson": ("Pearson, with intervals", "Pearson correlation of each label and their mean."),
    "comparison": (
        "Comparison with another model",
        "Pearson correlation of both models for each label, and the differences with paired intervals.",
    ),
    "predictions": ("Predictions against labels", "A panel for each label, a point for each clip."),
    "calibration": (
        "Calibration",
        "Mean label against mean prediction, in bins of about equally many clips; a calibrated model lies on the "
        "diagonal. Bias: mean of prediction minus label. Slope: of the line from predictions to labels, 1 if right. "
        "Error: mean distance of the curve from the diagonal.",
    ),
    "confusion": (
        "Confusion between labels",
        "Pearson correlations: of the labels themselves, which a perfect model would reproduce; of predictions (rows) "
        "with labels (columns); and of the errors with each other.",
    ),
    "groups": ("Scores by modalities and length", "Mean scores of groups of clips, with the number of clips of each."),
    "subjects": (
        "Scores of subjects",
        "Each subject's correlation over its own clips, and its squared error; both the mean over labels.",
    ),
    "weights": (
        "Modality weights",
        "Distribution over the clips of the weight of each modality, of clips that have all modalities and of clips "
        "that lack one.",
    ),
    "recall": ("Retrieval", "Recall@1 and recall@5 in each direction, with chance."),
    "similarity": (
        "Retrieval matrix of stage 1",
        "Cosine similarity of every clip's face or voice with every clip's words; own words lie on the diagonal.",
    ),
    "ablation": ("Ablation", "Mean Pearson of each variant, and its difference to the full model."),
    "heads": ("Heads", "Mean Pearson of each head with each learning rate, and its difference to the full model."),
    "robustness": ("Robustness", "Scores and weights against the severity of a defect in one modality."),
}
"""Title and description of each kind of figure, in the order of the page."""
TABLES = {"calibration": calibration_table, "confusion": confusion_table}
"""Tables that stand below a figure, from the scores of the same split."""
STUDIES = tuple(f"{study}{size}" for size in ("", "_whole") for study in ("ablation", "heads", "robustness"))
"""Folders of studies, whose figures the runs beside them show."""
TITLES = {"out_of_fold": "held-out clips"}
"""What stands for the name of a split in the names of files."""


def write_report(folder: Path, config: Mapping[str, Any], dataset: Dataset) -> Path:
    """Writes report.html from the scores and figures in a run's folder.

    Args:
        folder: of the run.
        config: of the run. In stage 2 the page also shows the figures of stage 1 (`init_from`) and of the studies under
            `root`, if there are any.
        dataset: the dataset of the run.
    """
    related = [drawing for source in _related(config) for drawing in _drawings(Path(source), f" ({Path(source).name})")]
    return page.write(
        folder / "report.html",
        "run.html",
        f"Run {folder.name} ({config['stage']})",
        data=_data(dataset),
        scores=[_scores(path) for path in sorted(folder.glob("metrics_*.json"))],
        drawings=[*_drawings(folder), *related],
        config=json.dumps(config, indent=2, default=list),
        versions=_versions(),
    )


def _scores(path: Path) -> dict[str, Any]:
    """The scores of one split."""
    name, results = path.stem.removeprefix("metrics_"), json.loads(path.read_text(encoding="utf-8"))
    split = TITLES.get(name, name)
    if "labels" in results:
        tables = score_tables.intensity_tables(results, split)
    else:
        tables = score_tables.alignment_tables(results["scores"], split)
    return {"split": split, "meaning": score_tables.meaning(results, split), "tables": tables}


def _related(config: Mapping[str, Any]) -> list[str]:
    """Other folders whose figures belong on a run's page."""
    if config["stage"] != "intensity":
        return []
    studies = [f"{config['root']}/{study}" for study in STUDIES]
    return [config["init_from"], *studies] if config["init_from"] else studies


def _drawings(folder: Path, origin: str = "") -> Iterator[dict[str, Any]]:
    """The figures of a folder, each with its table and the text of the same name if any; `origin` ends their titles."""
    for path in sorted(folder.glob("figures/*.svg"), key=lambda path: (_rank(path), path.name)):
        kind, _, rest = path.stem.partition("_")
        title, description = FIGURES.get(kind, (kind, f"Figure {path.name}."))
        table, scores = folder / f"{path.stem}.txt", folder / f"metrics_{rest}.json"
        of_scores = [TABLES[kind](json.loads(scores.read_text(encoding="utf-8")))] if kind in TABLES else []
        yield {
            "title": ": ".join(filter(None, (title, TITLES.get(rest, rest.replace("_", " "))))) + origin,
            "image": Image.svg(description, path.read_text(encoding="utf-8")),
            "tables": of_scores,
            "text": table.read_text(encoding="utf-8") if table.exists() else "",
        }


def _rank(path: Path) -> int:
    kinds = list(FIGURES)
    kind = path.stem.partition("_")[0]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _data(dataset: Dataset) -> list[tuple[str, object]]:
    return [
        ("corpus", dataset.corpus),
        ("dataset", dataset.directory),
        ("content", dataset.fingerprint[:12]),
        ("clips", ", ".join(f"{count} {split}" for split, count in dataset.splits.items())),
        ("labels", ", ".join(dataset.label_names)),
        ("label range", "{:g} to {:g}".format(*dataset.label_range)),
    ]


def _versions() -> list[tuple[str, object]]:
    return [("python", platform.python_version()), *((name, importlib.metadata.version(name)) for name in PACKAGES)]
