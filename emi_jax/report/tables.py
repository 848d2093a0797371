"""Tables of text and numbers, for the terminal, Markdown, LaTeX and pages."""

from collections.abc import Sequence
from typing import NamedTuple

from tabulate import tabulate

from emi_jax.report.terminal import printable

Cell = str | int | float | None
Row = Sequence[Cell]

_MARKDOWN = {sign: "\\" + sign for sign in "\\`*_>|~$&"} | {"](": "]\\(", "<": "&lt;"}
"""A backslash before `<` is no escape in all dialects of Markdown, and an entity is."""
_LATEX = {"|": r"\textbar{}", "±": r"$\pm$", "−": "$-$"}
"""Signs that tabulate leaves as they are, and that pdfLaTeX prints wrongly or not at all."""


class Table(NamedTuple):
    """A table with its title. The first column names the rows."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Row]

    @property
    def texts(self) -> list[list[str]]:
        """The rows as text, for a page."""
        return [_texts(row) for row in self.rows]


def plain(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A table for the terminal: aligned columns, the header underlined, numbers with three decimals."""
    return _tabulated("simple", _texts(header), [_texts(row) for row in rows])


def markdown(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A GitHub Markdown table."""
    return _tabulated("pipe", *_replaced(_MARKDOWN, header, rows)) + "\n"


def escaped(text: str) -> str:
    """Text from outside the project as it is shown in Markdown: its signs format nothing."""
    return _replace(printable(text), _MARKDOWN)


def latex(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A LaTeX tabular with the rules of booktabs."""
    text = _tabulated("latex_booktabs", _texts(header), [_texts(row) for row in rows])
    return _replace(text, _LATEX) + "\n"


def interval(ends: Sequence[float | None]) -> str:
    """Both ends of an interval, or a dash if one is None or NaN."""
    low, high = ends
    return "-" if low is None or high is None or low != low or high != high else f"[{_text(low)}, {_text(high)}]"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, or a dash if it is None or NaN."""
    if p is None or p != p:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _tabulated(style: str, header: list[str], rows: list[list[str]]) -> str:
    # A label may look like a number ("1e5"): cells come formatted, and nothing is parsed again.
    align = ["left", *["right"] * (len(header) - 1)]
    return tabulate(rows, header, style, disable_numparse=True, colalign=align)


def _replaced(signs: dict[str, str], header: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    escaped = [[_replace(text, signs) for text in _texts(row)] for row in (header, *rows)]
    return escaped[0], escaped[1:]


def _replace(text: str, signs: dict[str, str]) -> str:
    for sign, replacement in signs.items():  # in order: the backslash comes first
        text = text.replace(sign, replacement)
    return text


def _texts(row: Row) -> list[str]:
    return [_text(cell) for cell in row]


def _text(cell: Cell) -> str:
    if cell is None or cell != cell:
        return "-"
    return f"{cell:.3f}".replace("-0.000", "0.000") if isinstance(cell, float) else printable(str(cell))
