"""Tables of text and numbers, for the terminal, Markdown and LaTeX."""

from collections.abc import Sequence

Row = Sequence[str | float]


def plain(header: Row, rows: Sequence[Row]) -> str:
    """Columns side by side, a rule under the header, numbers with three digits."""
    cells = [_texts(row) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *rest = (
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join((lines[0], "-" * len(lines[0]), *lines[1:]))


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table, numbers to the right."""
    rule = "| " + " | ".join(["---", *["---:"] * (len(header) - 1)]) + " |"
    lines = ["| " + " | ".join(_texts(row)) + " |" for row in (header, *rows)]
    return "\n".join((lines[0], rule, *lines[1:])) + "\n"


def latex(header: Row, rows: Sequence[Row]) -> str:
    """A LaTeX tabular with the rules of booktabs."""
    lines = [" & ".join(_escaped(cell) for cell in _texts(row)) + r" \\" for row in (header, *rows)]
    columns = "l" + "r" * (len(header) - 1)
    return (
        "\n".join(
            (
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
            )
        )
        + "\n"
    )


def interval(ends: Sequence[float]) -> str:
    """Both ends of an interval, or a dash where there is none."""
    low, high = ends
    return f"[{low:.3f}, {high:.3f}]" if low == low and high == high else "-"


def _texts(row: Row) -> list[str]:
    return [("-" if cell != cell else f"{cell:.3f}") if isinstance(cell, float) else str(cell) for cell in row]


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, "\\" + sign)
    return text.replace("±", r"$\pm$").replace("−", "--")
