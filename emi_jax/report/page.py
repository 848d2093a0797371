"""A page that is whole in one file: text, tables, SVG and pictures inside, no script, readable in light and dark."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

_CSS = """
:root{color-scheme:light dark;--ink:#1f2328;--paper:#fff;--soft:#656d76;--line:#d0d7de}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--soft:#9198a1;--line:#30363d}}
body{margin:0 auto;max-width:62rem;padding:1rem 1.5rem 4rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
svg,img{max-width:100%;height:auto}pre{overflow-x:auto;font-size:.8rem}
p.note{color:var(--soft)}table{border-collapse:collapse;font-size:.85rem}
td,th{border-bottom:1px solid var(--line);padding:.2rem .6rem;text-align:right}
td:first-child,th:first-child{text-align:left}
.strip{display:flex;flex-wrap:wrap;gap:.4rem}.strip figure{margin:0;width:5.2rem;font-size:.7rem;text-align:center}
.strip img{width:100%;border-radius:3px}mark{background:rgba(46,160,67,var(--r));color:inherit;padding:0 .1em}
"""
# A page asks for an icon of its own unless it names one.
_ICON = '<link rel="icon" href="data:,">'


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page of parts that are HTML already."""
    name = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title>{_ICON}<style>{_CSS}</style></head>\n<body><h1>{name}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def write(path: Path, title: str, parts: Sequence[str]) -> Path:
    """Writes a page in one piece."""
    part = path.with_name(path.name + ".part")
    part.write_text(page(title, parts), encoding="utf-8")
    return part.replace(path)


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it."""
    return f"<section><h2>{html.escape(title)}</h2>\n" + "\n".join(parts) + "</section>"


def note(text: str) -> str:
    """A remark in a softer colour."""
    return f'<p class="note">{html.escape(text)}</p>'


def preformatted(text: str) -> str:
    """Text as it is, in columns."""
    return f"<pre>{html.escape(text)}</pre>"


def folded(title: str, inside: str) -> str:
    """What is shown on a click."""
    return f"<details><summary>{html.escape(title)}</summary>{inside}</details>"


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """A table, numbers with three digits."""

    def cell(tag: str, value: str | float) -> str:
        return f"<{tag}>{html.escape(f'{value:.3f}' if isinstance(value, float) else str(value))}</{tag}>"

    lines = ["<tr>" + "".join(cell("th", value) for value in header) + "</tr>"]
    lines += ["<tr>" + "".join(cell("td", value) for value in row) + "</tr>" for row in rows]
    return "<table>" + "".join(lines) + "</table>"


def facts(values: Mapping[str, object]) -> str:
    """Names and values in two columns."""
    return table(("", ""), [(name, str(value)) for name, value in values.items()])


def jpeg(data: bytes, alt: str) -> str:
    """A JPEG picture inside the page."""
    code = base64.b64encode(data).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{code}">'
