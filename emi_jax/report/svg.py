"""Figures as SVG in the reader's colours: text is dark on light and light on dark, the background is left out."""

import io
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

INK = "#0a0b0c"
"""Stands for the text colour until the file is written."""
SERIES = ("#2f81c7", "#e07b1f", "#2da160", "#cf4a58", "#9467bd", "#8c7052", "#d267ad", "#7a8a99")
"""Colours of the series, legible on white and on black."""
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: the viewer's fonts have the signs that Matplotlib's lack
    "text.parse_math": False,  # a label may hold dollar signs
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
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FOLLOW = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"


def style() -> Any:
    """The matplotlib style context in which every figure must be made and saved."""
    return mpl.rc_context(_STYLE)


def to_svg(figure: Figure) -> str:
    """The text of a figure's SVG file."""
    text = io.StringIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.dpi = 150  # of rasterized parts
        # As figure.savefig, which draws everything twice.
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # it is laid out: a picture of the same figure need not repeat that
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
    drawing = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", drawing)
    head, rest = drawing.split(">", 1)
    return f"{head}>{_FOLLOW}{rest}"


def to_picture(figure: Figure) -> Image.Image:
    """A figure as an RGB picture on white."""
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.dpi = 100
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # once, unlike figure.savefig
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as an SVG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_svg(figure), encoding="utf-8")
    return path
