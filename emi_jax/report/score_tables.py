"""The scores of a run as tables and sentences, from the JSON that evaluation writes."""

from collections.abc import Mapping
from typing import Any

from emi_jax.metrics.ridge import ALL
from emi_jax.modalities import MODALITIES
from emi_jax.report import tables
from emi_jax.report.diagnostic_tables import baseline_table, comparison_table, group_table, subject_table
from emi_jax.report.tables import Cell, Table

Results = Mapping[str, Any]

CHOSEN = "selected_on_this_split"
"""Field of the results that says whether the checkpoint was chosen by its score on the split."""
TRAINED = "trained_on_this_split"
"""Field of the results that says whether the model was trained on the clips of the split."""
ENOUGH_TO_EXCHANGE = 6
"""With this many subjects or more, a permutation test can give p-values below .05."""


def intensity_tables(results: Results, split: str) -> list[Table]:
    """Scores by label, by groups of clips, of subjects, of the linear baseline, and the comparison with another model.

    Args:
        results: of `runs.scores.measure`, with `baseline` and `comparison` where there are any.
        split: that they are of.
    """
    tables_of_groups = [
        group_table(results, caption, name, field)
        for caption, name, field in (
            ("mean scores by the modalities that a clip has", "modalities", "availability"),
            ("mean scores by the length of a clip", "length", "lengths"),
        )
        if results[field]
    ]
    found = [_label_table(results, split), *tables_of_groups]
    if results["by_subject"]:
        found.append(subject_table(results))
    if results.get("baseline"):
        found.append(baseline_table(results))
    if results.get("comparison"):
        found.append(comparison_table(results["comparison"]))
    return found


def _label_table(results: Results, split: str) -> Table:
    rows = [*results["labels"].items(), ("mean", results["mean"])]
    known, few = results["mean"]["ceiling"] is not None, results["few_subjects"]
    return Table(
        f"intensities on {split}: {results['clips']} clips, intervals over {results['resampled']}",
        ["", "Pearson", "95% interval", *(["over clips"] if few else []), "CCC", "MSE"]
        + (["ceiling"] if known else []),
        [
            [
                name,
                row["pearson"],
                tables.interval(row["pearson_interval"]),
                *([tables.interval(row["pearson_clip_interval"])] if few else []),
                row["ccc"],
                row["mse"],
                *([row["ceiling"]] if known else []),
            ]
            for name, row in rows
        ],
    )


def alignment_tables(scores: Mapping[str, float], split: str) -> list[Table]:
    """Retrieval, and what a ridge on the embeddings predicts of the labels, where there is a probe."""
    names = [name for name in (*MODALITIES, ALL) if f"probe/{name}/pearson" in scores]
    row: list[Cell] = ["mean Pearson", *(scores[f"probe/{name}/pearson"] for name in names)]
    caption = f"intensities on {split}, by a ridge on the embeddings of training clips"
    return [_retrieval_table(scores, split), *([Table(caption, ["", *names], [row])] if names else [])]


def _retrieval_table(scores: Mapping[str, float], split: str) -> Table:
    """Recall@1, recall@5 and median rank in each direction next to chance."""
    rows: list[list[Cell]] = []
    for direction in directions(scores):
        chances = {metric: chance(scores, direction, metric) for metric in ("recall@1", "recall@5", "median_rank")}
        row: list[Cell] = [direction.replace("_", " ")]
        for metric, expected in chances.items():
            value = scores[f"{direction}/{metric}"]
            row += [_rank(value), _rank(expected)] if metric == "median_rank" else [value, expected]
        rows.append([*row, scores[f"{direction}/recall@1"] / chances["recall@1"]])
    header = ["", "recall@1", "chance", "recall@5", "chance", "median rank", "chance", "recall@1 / chance"]
    return Table(f"retrieval on {split}", header, rows)


def directions(scores: Mapping[str, float]) -> list[str]:
    """The directions of retrieval that were scored: "vision_to_text", ..."""
    return sorted({name.split("/")[0] for name in scores if "_to_" in name})


def chance(scores: Mapping[str, float], direction: str, metric: str) -> float:
    """The score of a random ranking in a direction, with the same hits."""
    one, other = direction.split("_to_")
    pair = f"{one}_{other}" if f"chance_{one}_{other}/{metric}" in scores else f"{other}_{one}"
    return scores[f"chance_{pair}/{metric}"]


def text_of(score_tables: list[Table]) -> str:
    """Tables under their captions, for the terminal."""
    return "\n\n".join(f"{table.caption}\n{tables.plain(table.header, table.rows)}" for table in score_tables)


def meaning(results: Results, split: str) -> list[str]:
    """Explains the scores of a split: which clips, whether they were used to choose the checkpoint, which intervals.

    Args:
        results: the content of a run's `metrics_SPLIT.json`.
        split: that they are of.
    """
    sentences = []
    if results.get(TRAINED):
        sentences.append("The model was trained on these clips: the scores say nothing about new ones.")
    elif results.get(CHOSEN):
        sentences.append(
            f"The checkpoint was chosen by its score on {split}: expect lower scores on clips that took no part in the "
            "choice."
        )
    elif CHOSEN in results:
        sentences.append(f"The clips of {split} took no part in training or in the choice of the checkpoint.")
    if results.get("standardised", {}).get("how") == "subject":
        sentences.append(
            "Features were standardised within each subject over all clips of that person in this split: the scores "
            "hold for people of whom several clips are available."
        )
    if "resampled" in results:
        unit = results["resampled"]
        drawn = "clips are drawn one by one" if unit == "clips" else "all clips of a subject are drawn together"
        sentences.append(f"Intervals are 95% bootstrap intervals over {unit}: {drawn}.")
        if results["subjects"] == 1:
            sentences.append("All clips show one person: the intervals say nothing about other people.")
        if results["few_subjects"]:
            sentences.append(f"{unit} are too few for intervals that hold for other people: see those over clips too.")
        if results.get("comparison"):
            sentences += _meaning_of_comparison(results["comparison"], results["subjects"])
        if results["mean"]["ceiling"] is not None:
            sentences.append("The ceiling is what a model without any error would score, as the labels carry noise.")
    return sentences


def _meaning_of_comparison(comparison: Results, subjects: int) -> list[str]:
    """What the comparison with another model rests on, and what the other one knew of the clips."""
    whole = "of whole subjects" if subjects > 1 else "of single clips"
    sentences = [
        "Intervals of the differences between the two models come from a paired bootstrap. p is two-sided, from a "
        f"permutation test that exchanges the two models' predictions {whole} at random; Holm's correction is for the "
        "number of labels."
    ]
    if 1 < subjects < ENOUGH_TO_EXCHANGE:
        sentences.append(f"With {subjects} subjects no p can be below {2 / 2**subjects:.2g}.")
    if comparison.get(TRAINED):
        sentences.append("The other model was trained on these clips: the comparison says nothing about new ones.")
    elif comparison.get(CHOSEN):
        sentences.append("The checkpoint of the other model was chosen by its score on these clips.")
    return sentences


def _rank(value: float) -> str:
    """A median rank: a whole number, or half way between two."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.1f}"
