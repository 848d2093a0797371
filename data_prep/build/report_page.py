"""The report as one HTML file that needs no other: counts, histograms, a contact sheet, every clip left out and why."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from data_prep.build.report import Report
from data_prep.files import write_whole

FILE = "report.html"
COLUMNS = 8  # pictures of a clip on the contact sheet
PICTURE_SIDE = 72
LISTED = 2000  # clips of each kind that the page lists; report.json holds them all
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 }
td, th { border: 1px solid #ccc; padding: .2em .6em; text-align: left }
details { margin: .3em 0 } img { vertical-align: middle } .sheet img { margin: 1px } .none { opacity: .3 }
"""


def write_page(report: Report, samples: Iterable[Mapping[str, Any]], out: Path) -> None:
    """Writes report.html.

    Args:
        report: what was done.
        samples: examples whose crops are shown.
        out: the data folder.
    """
    read = ", ".join(f"{count} {split}" for split, count in report.clips.items())
    lines = [
        ("clips read", f"{sum(report.clips.values())} ({read})"),
        ("clips left out", len(report.left_out)),
        ("pictures with a face", f"{report.faces_found:.1%}"),
        ("clips with pictures but without a face", report.no_face),
        *((f"clips without {name}", count) for name, count in report.missing.items()),
        ("seconds that it took", report.seconds),
        ("dataset", report.dataset),
        ("fingerprint", report.fingerprint),
    ]
    labels = [[name, *(f"{value:g}" for value in row.values())] for name, row in report.labels.items()]
    parts = [
        f"<h1>{escape(report.corpus)}: report of the preparation</h1>",
        _table([], lines),
        *(f"<p>Note: {escape(note)}</p>" for note in report.notes),
        "<h2>Labels and lengths</h2>",
        _table(["label", "mean", "sd", "above zero", "known"], labels),
        _histograms(report),
        f"<h2>Clips left out ({len(report.left_out)})</h2>",
        _clips(report.left_out, ["split", "id", "path", "why"]),
        "<h2>Clips read in spite of something</h2>",
        *(
            f"<details><summary>{escape(kind)}: {len(clips)}</summary>"
            f"{_clips(clips, ['split', 'id', 'detail'])}</details>"
            for kind, clips in report.remarks.items()
        ),
        "<h2>Sample crops</h2><p>Pictures without a face are pale.</p>",
        *map(_sheet_row, samples),
    ]
    page = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(report.corpus)}</title>'
    write_whole(out / FILE, "\n".join([f"{page}<style>{STYLE}</style>", *parts, "</html>\n"]).encode())


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _clips(clips: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    if not clips:
        return "<p>none</p>"
    more = f"<p>and {len(clips) - LISTED} more, see report.json</p>" if len(clips) > LISTED else ""
    return _table(columns, [[clip[column] for column in columns] for clip in clips[:LISTED]]) + more


def _histograms(report: Report) -> str:
    """One small chart for the lengths and each label, as SVG."""
    rows = -(-len(report.histograms) // 4)
    figure = Figure(figsize=(11, 2.2 * rows), layout="constrained")
    for number, (name, histogram) in enumerate(report.histograms.items(), start=1):
        axes = figure.add_subplot(rows, 4, number)
        axes.stairs(histogram["counts"], histogram["edges"], fill=True)
        axes.set_title("length in seconds" if name == "seconds" else name.replace("$", r"\$"), fontsize=9)
        axes.tick_params(labelsize=7)
    data = io.StringIO()
    figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()[data.getvalue().index("<svg") :]


def _sheet_row(example: Mapping[str, Any]) -> str:
    picks = np.unique(np.linspace(0, len(example["faces"]) - 1, COLUMNS).round().astype(int))
    pictures = [_picture(example["faces"][n], bool(example["face_found"][n])) for n in picks]
    return f'<div class="sheet">{"".join(pictures)} {escape(example["id"])} {escape(example["transcript"][:80])}</div>'


def _picture(jpeg: bytes, found: bool) -> str:
    image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    image = cv2.resize(image, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
    _, small = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    style = "" if found else ' class="none"'
    return f'<img{style} alt="" src="data:image/jpeg;base64,{base64.b64encode(small.tobytes()).decode()}">'
