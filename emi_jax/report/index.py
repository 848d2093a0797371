"""The index page of predicted clips, which links to their pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from emi_jax.report import page
from emi_jax.report.tables import Row, Table
from emi_jax.report.terminal import counted


def write_index(
    path: Path,
    label_names: Sequence[str],
    label_range: tuple[float, float],
    clips: Mapping[str, tuple[str, Sequence[float]]],
    remarks: Sequence[tuple[str, int]],
) -> Path:
    """Writes a page with a row for each clip, linked to the clip's page in the same folder.

    Args:
        path: of the page.
        label_names: K names.
        label_range: lowest and highest label in the users' units.
        clips: {clip: the file name of its page, its K intensities}.
        remarks: each kind of remark and the number of clips that have it.
    """
    low, high = label_range
    rows: list[Row] = [[clip, *values] for clip, (_, values) in clips.items()]
    return page.write(
        path,
        "predictions.html",
        f"Predictions of {counted(len(clips), 'clip')}",
        table=Table(f"Intensities from {low:g} to {high:g}", ["clip", *label_names], rows),
        addresses=[f"./{quote(file, errors='surrogateescape')}" for file, _ in clips.values()],
        remarks=remarks,
    )
