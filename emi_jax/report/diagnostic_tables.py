"""Tables that say where a model errs, from the JSON that evaluation writes."""

from collections.abc import Mapping
from typing import Any

from emi_jax.report import tables
from emi_jax.report.tables import Cell, Table

Results = Mapping[str, Any]


def group_table(results: Results, caption: str, name: str, field: str) -> Table:
    """Mean scores of groups of clips.

    Args:
        results: of `runs.scores.measure`.
        caption: what the groups are.
        name: of the first column.
        field: of the results, that holds the groups.
    """
    return Table(
        f"{caption}, intervals over {results['resampled']}",
        [name, "clips", "Pearson", "95% interval", "MSE", "95% interval"],
        [
            [
                title,
                row["clips"],
                row["pearson"],
                tables.interval(row["pearson_interval"]),
                row["mse"],
                tables.interval(row["mse_interval"]),
            ]
            for title, row in results[field].items()
        ],
    )


def subject_table(results: Results) -> Table:
    """How the scores spread over subjects, next to the score over all clips, each the mean over labels."""
    found, mean = results["by_subject"], results["mean"]
    rows: list[list[Cell]] = [
        ["Pearson over all clips", None, mean["pearson"], tables.interval(mean["pearson_interval"]), *[None] * 4],
        ["Pearson between subjects' means", None, found["between"], "-", *[None] * 4],
    ]
    for title, row in (("Pearson within a subject", found["within"]), ("MSE of a subject", found["mse"])):
        if not row["subjects"]:
            rows.append([title, 0, *[None] * 6])
            continue
        spread = [row[name] for name in ("deviation", "lowest", "median", "highest")]
        rows.append([title, row["subjects"], row["mean"], tables.interval(row["interval"]), *spread])
    return Table(
        f"scores of subjects, means over labels; Pearson within those with {found['fewest_clips']} clips or more",
        ["", "subjects", "mean", "95% interval", "deviation", "lowest", "median", "highest"],
        rows,
    )


def baseline_table(results: Results) -> Table:
    """A ridge on pooled statistics of the same features next to the model."""
    baseline, mean = results["baseline"], results["mean"]
    within = "within each subject" if baseline["standardised"] == "subject" else "over the clips it is fitted on"
    one_penalty = all("penalty" in row for row in baseline["rows"].values())
    unfitted: list[Cell] = [None, None] * (1 + one_penalty)
    rows: list[list[Cell]] = [["this model", mean["pearson"], tables.interval(mean["pearson_interval"]), *unfitted]]
    for name, row in baseline["rows"].items():
        behind = [row["difference"], tables.interval(row["difference_interval"])]
        penalty = [row["valid"], f"{row['penalty']:g}"] if one_penalty else []
        rows.append([f"ridge, {name}", row["pearson"], tables.interval(row["interval"]), *behind, *penalty])
    chosen = "penalty chosen on valid" if one_penalty else "in the same folds; penalty chosen on the other folds"
    return Table(
        f"linear baseline: ridge on statistics of the features, standardised {within}; {chosen}",
        [
            *("", "mean Pearson", "95% interval", "this model minus it", "95% interval"),
            *(["on valid", "penalty"] if one_penalty else []),
        ],
        rows,
    )


def comparison_table(comparison: Results) -> Table:
    """The scores of two models, their differences, and how sure these are.

    Args:
        comparison: of `runs.comparison.compare`.
    """
    rows = [*comparison["labels"].items(), ("mean", comparison["mean"])]
    return Table(
        f"this model minus {comparison['other']}, Pearson; paired over {comparison['resampled']}",
        ["", "this", "other", "difference", "95% interval", "p", "p, Holm"],
        [
            [
                name,
                row["pearson"],
                row["other_pearson"],
                row["difference"],
                tables.interval(row["interval"]),
                tables.p_value(row["p"]),
                tables.p_value(row.get("p_holm")),
            ]
            for name, row in rows
        ],
    )


def calibration_table(results: Results) -> Table:
    """Bias, slope and error of the calibration of each label."""
    rows = results["calibration"].items()
    return Table(
        "labels in [0, 1]",
        ["", "bias", "slope", "error"],
        [[name, row["bias"], row["slope"], row["error"]] for name, row in rows],
    )


def confusion_table(results: Results) -> Table:
    """For each label, the other label with which its predictions correlate most."""
    names, matrices = list(results["labels"]), results["confusion"]
    rows: list[list[Cell]] = []
    for place, name in enumerate(names):
        row = matrices["predictions"][place]
        others = [(value, other) for other, value in enumerate(row) if other != place and value is not None]
        value, other = max(others, default=(None, None))
        between = None if other is None else matrices["labels"][place][other]
        rows.append([name, row[place], "-" if other is None else names[other], value, between])
    return Table(
        "predictions of each label: correlation with its own label, and with the other label that they follow most",
        ["", "own label", "follows most", "Pearson", "between both labels"],
        rows,
    )
