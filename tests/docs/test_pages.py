"""Links between pages lead somewhere, source files that pages name exist, and the site shows every page."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_architecture import FLOORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(ROOT)): page for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))}
SOURCES = re.compile(r"`((?:benchmarks|configs|data_prep|emi_jax|tests)/[\w/.]*)(?:::\w+)?`")


def prose(page):
    """The text of a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name):
    page = PAGES[name]
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("name", PAGES)
def test_source_files_that_pages_name_exist(name):
    missing = [path for path in SOURCES.findall(prose(PAGES[name])) if not (ROOT / path).exists()]
    assert not missing


def test_the_site_shows_every_page():
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    generated = {"reference/commands.md", "reference/stage1.md", "reference/stage2.md", "reference/studies.md"}
    generated |= {"index.md", "changelog.md", "tour.md"}
    assert sorted(listed) == sorted({str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} | generated)


def documented():
    """The modules on the pages of the reference."""
    return re.findall(r"^::: (\S+)$", "\n".join(page.read_text() for page in DOCS.rglob("*.md")), re.MULTILINE)


def test_docstrings_on_the_site_hold_no_html():
    """What looks like a tag, as <l, r>, would be left out of the page."""
    tags = []
    for module in documented():
        strings = [
            node.value.value
            for node in ast.walk(ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ]
        prose = "\n".join(re.sub(r"```.*?```|`[^`]*`", "", string, flags=re.DOTALL) for string in strings)
        tags += [f"{module}: {tag}" for tag in re.findall(r"<[A-Za-z/!]\S*", prose)]
    assert len(documented()) > 30
    assert not tags


@pytest.mark.parametrize("package", FLOORS)
def test_the_floors_of_the_rooms_are_those_that_are_tested(package):
    floors = " → ".join(", ".join(f"`{room}`" for room in rooms) for rooms in FLOORS[package])
    assert f"| `{package}/` | {floors} |" in (DOCS / "contributing.md").read_text().splitlines()
