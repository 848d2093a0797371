"""Writes tables of measurements into docs/performance.md and docs/results.md, between the comments that name them.

The figures of the studies are written to docs/figures, that of the comparison to docs/performance.png.

python -m benchmarks.tables --compare compare.json --compiled=compiled.json --forms=forms.json
python -m benchmarks.tables --studies runs/demo/ablation_whole runs/demo/heads_whole runs/demo/robustness_whole
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from benchmarks.comparison import summary
from benchmarks.comparison.chart import draw
from benchmarks.compiled import forms
from benchmarks.compiled import study as compiled

DOCUMENT, RESULTS, FIGURES = Path("docs/performance.md"), Path("docs/results.md"), Path("docs/figures")
PICTURE = Path("docs/performance.png")
STUDIES = ("ablation", "heads", "robustness")


def main() -> None:
    """Parses the options and rewrites the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="what `benchmarks.compare --json` wrote")
    parser.add_argument("--compiled", type=Path, help="what `benchmarks.compiled.study --json` wrote")
    parser.add_argument("--forms", type=Path, help="what `benchmarks.compiled.forms --json` wrote")
    parser.add_argument("--studies", type=Path, nargs="*", default=[], help="folders of the grids and of robustness")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    text = options.document.read_text()
    if options.compare:
        reports = [json.loads(path.read_text()) for path in options.compare]
        text = fill(text, "compare", compared(reports))
        draw(_rows(reports), PICTURE)
    for name, path, markdown in (
        ("compiled", options.compiled, compiled.markdown),
        ("forms", options.forms, forms.markdown),
    ):
        if path:
            report = json.loads(path.read_text())
            text = fill(text, name, f"{measured_on(report['machine'])}\n\n{markdown(report['rows'])}")
    options.document.write_text(text)
    for folder in options.studies:
        name = next((name for name in STUDIES if (folder / f"{name}.md").exists()), "")
        if not name:
            parser.error(
                f"{folder} holds the table of no study: expected {', '.join(STUDIES[:-1])} or {STUDIES[-1]} with .md"
            )
        RESULTS.write_text(fill(RESULTS.read_text(), name, (folder / f"{name}.md").read_text().rstrip()))
        FIGURES.mkdir(exist_ok=True)
        for figure in (folder / "figures").glob("*.svg"):
            shutil.copy(figure, FIGURES)


def fill(text: str, name: str, table: str) -> str:
    """Replaces the text between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        ValueError: the text has no such comments.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no marks <!-- {name} --> and <!-- /{name} --> in the document: add them where it belongs")
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def compared(reports: list[dict[str, Any]]) -> str:
    """The ratios of several comparisons, then the rows of each under a line on its machine."""
    parts = [summary.against_better(_rows(reports))]
    for report in reports:
        parts += [measured_on(report["machine"]), peaks(report["peaks"]), summary.markdown(report["results"])]
    return "\n\n".join(parts)


def _rows(reports: list[dict[str, Any]]) -> list[summary.Row]:
    return [row for report in reports for row in report["results"]]


def measured_on(machine: dict[str, Any]) -> str:
    """A line about the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = machine.get("gpu") or f"CPU with {', '.join(machine['instructions'])}, {machine['threads']} cores"
    load = f"; load before the run {machine['load_before']}" if "load_before" in machine else ""
    return f"Measured on: {where}; Python {machine['python']}, {versions}{load}."


def peaks(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """A line about the measured speed of matrix products."""
    texts = [
        f"{dtype} {side} {peak['flops_per_second'] / 1e9:.0f}"
        for dtype, sides in found.items()
        for side, peak in sides.items()
        if "flops_per_second" in peak
    ]
    return f"Matrix products, GFLOP/s: {', '.join(texts)}."


if __name__ == "__main__":
    main()
