"""Pages of the site that are not Markdown here: README, changes, notebook, options and config fields."""

import argparse
import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from absl import flags
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from configs.commands import options
from configs.fields import Effect, Section, Unset, flatten
from configs.sections import STAGE_1, STAGE_2
from configs.studies import CROSSVAL, STUDY, SWEEP
from data_prep.command import parser

ROOT = Path(__file__).parents[1]
LONGEST = 60
"""Longest default value that is shown."""
MAY_CHANGE = {
    Effect.PLACE: "another folder with the same content",
    Effect.NOTHING: "yes",
    Effect.TRAINING: "no",
    Effect.MODEL: "no, nor for evaluation and prediction",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    readme = (ROOT / "README.md").read_text().replace("](docs/", "](")
    pages = {
        "index.md": readme,
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
        "tour.md": "\n".join(notebook(ROOT / "docs" / "tour.ipynb")),
        "reference/commands.md": "\n".join(commands()),
        "reference/stage1.md": "\n".join(["# Fields of stage 1", *fields(STAGE_1)]),
        "reference/stage2.md": "\n".join(["# Fields of stage 2", *fields(STAGE_2)]),
        "reference/studies.md": "\n".join(studies()),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to files of the repository that are pages here lead to these pages."""
    markdown = re.sub(r"\]\(((?:\.\./)*)\.\./README\.md", r"](\1index.md", markdown)
    return re.sub(r"\]\(((?:\.\./)*)tour\.ipynb", r"](\1tour.md", markdown)


def notebook(path: Path) -> Iterator[str]:
    """The cells of a notebook as lines of Markdown."""
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        yield ""


def commands() -> Iterator[str]:
    """The options of both command lines."""
    yield from ("# Command lines", "", "## python run.py", "")
    yield from ("`emi MODE` takes the same options, except `--mode`.", "")
    yield from table(("option", "meaning"), (option(flags.FLAGS[holder.name]) for holder in options.ALL))
    yield from ("", "## python -m data_prep", "", "`emi prepare` takes the same options.", "")
    yield from table(("option", "meaning"), ((usage(action), action.help or "") for action in parser()._actions))


def option(flag: flags.Flag) -> tuple[str, str]:
    """An option of run.py as one writes it, and its meaning with its default."""
    default = f" (default: {flag.default})" if flag.default else ""
    if isinstance(flag.parser, flags.EnumParser):
        values = flag.parser.enum_values
        meaning = str(flag.help).removeprefix(f"<{'|'.join(values)}>: ")  # absl puts the values first
        return f"--{flag.name}={{{','.join(values)}}}", meaning + default
    return f"--{flag.name}", flag.help + default


def usage(action: argparse.Action) -> str:
    """An option of data_prep as one writes it, with what stands for its value."""
    name = action.option_strings[-1]
    if action.nargs == 0:
        return name
    value = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar or action.dest.upper()
    return f"{name}={value}"


def studies() -> Iterator[str]:
    """The fields of the studies besides those of stage 2."""
    yield from ("# Fields of the studies", "", "Studies also have the [fields of stage 2](stage2.md).")
    for name, section in {"ablation and robustness": STUDY, "crossval": CROSSVAL, "sweep": SWEEP}.items():
        own = {field: content for field, content in section.items() if field not in STAGE_2}
        yield from ("", f"## {name}", "", *rows(own))


def fields(section: Section) -> Iterator[str]:
    """The fields of a config, a table for each of its sections."""
    yield from ("", "Values are those of the demo's scale, before the presets are applied.", "")
    yield "`--config.SECTION.NAME=VALUE` sets a field, as in `--config.train.batch_size=64`."
    groups: dict[str, Section] = {}
    for path, field in flatten(section):
        group, _, name = path.rpartition(".")
        groups.setdefault(group, {})[name] = field  # type: ignore[index]
    for group, own in groups.items():
        yield from ("", f"## {group or 'The run'}", "", *rows(own))


def rows(section: Section) -> Iterator[str]:
    """The table of a section's fields."""
    found = list(flatten(section))
    yield from table(
        ("field", "meaning", "may change on resume"),
        ((f"{path}={shown(field.value)}", field.meaning, MAY_CHANGE[field.effect]) for path, field in found),
    )


def shown(value: object) -> str:
    """A default value, cut where it is long."""
    if isinstance(value, dict):
        value = {name: None if isinstance(part, Unset) else part for name, part in value.items()}
        value = {name: part for name, part in value.items() if part is not None}
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def table(header: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table in Markdown: the first column is code, the others are plain text."""
    yield from (f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}")
    for first, *others in lines:
        cells = [f"<code>{html.escape(first)}</code>", *map(html.escape, others)]
        yield "| " + " | ".join(cell.replace("|", "&#124;") for cell in cells) + " |"
