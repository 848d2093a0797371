"""report.html: the report as a page with histograms, sample face crops, and each clip that failed or has a remark."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from data_prep.build.report import PAGE, Report
from data_prep.media.remarks import PEOPLE
from emi_jax.report import page, svg
from emi_jax.report.page import Image
from emi_jax.report.tables import Table

CROPS = 8  # crops shown per sample clip
CROP_SIDE = 96  # pixels
TRANSCRIPT_SIGNS = 200
LISTED = 2000  # most clips of each kind that the page lists; report.json lists them all
COLUMNS = 4  # histograms per row


def write_page(report: Report, samples: Iterable[Mapping[str, Any]], out: Path) -> None:
    """Writes report.html.

    Args:
        report: the report of the preparation.
        samples: examples whose face crops are shown.
        out: the data folder.
    """
    left_out = _listing("Clips that could not be read", report.left_out, ("id", "split", "path", "why"))
    page.write(
        out / PAGE,
        "preparation.html",
        f"Preparation report: {report.corpus} corpus",
        facts=_facts(report),
        notes=report.notes,
        histograms=Image.svg("Histograms of the clips' lengths and of each label.", svg.to_svg(histograms(report))),
        labels=report.label_table(),
        left_out=left_out,
        remarks=[_listing(kind, clips, ("id", "split", "detail")) for kind, clips in report.remarks.items()],
        samples=[_sample(example) for example in samples],
    )


def histograms(report: Report) -> Figure:
    """The distribution of the clips' lengths and of each label, in the users' units."""
    charts = [("length in seconds", report.lengths), *report.histograms.items()]
    rows = -(-len(charts) // COLUMNS)
    with svg.style():
        figure = Figure(figsize=(10, 2.1 * rows), layout="constrained")
        for number, (title, histogram) in enumerate(charts, start=1):
            axes = figure.add_subplot(rows, COLUMNS, number)
            axes.stairs(histogram["counts"], histogram["edges"], fill=True)
            axes.set_title(title)
            axes.grid(True, axis="y")
    return figure


def _facts(report: Report) -> list[tuple[str, object]]:
    read = ", ".join(f"{count} {split}" for split, count in report.clips.items())
    return [
        ("clips read", f"{sum(report.clips.values())} ({read})"),
        ("clips left out", len(report.left_out)),
        *([] if "vision" in report.features else _face_facts(report)),
        *((f"clips without {name}", count) for name, count in report.missing.items()),
        *report.feature_lines(),
        ("label range", "{:g} to {:g}".format(*report.label_range)),
        ("preparation took", f"{report.seconds:g} s"),
        ("dataset", report.dataset),
        ("fingerprint", report.fingerprint),
    ]


def _face_facts(report: Report) -> list[tuple[str, object]]:
    return [
        ("pictures with a face", f"{report.faces_found:.1%}"),
        ("clips with pictures but no face", report.no_face),
        ("clips with several people", len(report.remarks.get(PEOPLE, ()))),
    ]


def _listing(title: str, clips: Sequence[Mapping[str, str]], columns: Sequence[str]) -> dict[str, Any]:
    """Clips as a table, at most the first LISTED ones."""
    rows = [[clip[column] for column in columns] for clip in clips[:LISTED]]
    return {
        "title": title,
        "total": len(clips),
        "table": Table(title, columns, rows),
        "unlisted": max(len(clips) - LISTED, 0),
    }


def _sample(example: Mapping[str, Any]) -> dict[str, Any]:
    picks = np.unique(np.linspace(0, len(example["faces"]) - 1, CROPS).round().astype(int))
    text = example["transcript"]
    return {
        "id": example["id"],
        "transcript": text if len(text) <= TRANSCRIPT_SIGNS else f"{text[:TRANSCRIPT_SIGNS]}…",
        "crops": [
            {
                "image": Image.jpeg(f"face crop at {example['times'][pick]:.2f} s", _small(example["faces"][pick])),
                "found": bool(example["face_found"][pick]),
            }
            for pick in picks
        ],
    }


def _small(jpeg: bytes) -> bytes:
    image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    image = cv2.resize(image, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
