"""Figures as SVG that follow the reader's colours: ink is the page's text colour, paper is left out."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

# Stands for the text colour until the file is written. Series are of a strength that shows on white and on black.
INK = "#0a0b0c"
SERIES = ("#2f81c7", "#e07b1f", "#2da160", "#cf4a58", "#9467bd", "#8c7052", "#d267ad", "#7a8a99")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "emi_jax",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=SERIES),
    "grid.alpha": 0.15,
    "legend.frameon": False,
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
    ),
    "grid.color": INK,
}
_FOLLOW = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"


def style() -> Any:
    """The context in which a figure has to be made."""
    return mpl.rc_context(_STYLE)


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element, for a file of its own or inside a page."""
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
    head, rest = drawing.split(">", 1)
    return f"{head}>{_FOLLOW}{rest}"


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as an SVG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_svg(figure), encoding="utf-8")
    return path
