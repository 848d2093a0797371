"""Command-line help on presets and fields, suggestions for misspelt names, and the commands to run next."""

import difflib
import re
import runpy
import shlex
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from configs import stage2
from configs.fields import Effect, Field, flatten, value_at
from configs.studies import section_of
from emi_jax.errors import UserError

FILES = ("stage1", "stage2", "crossval", "sweep", "ablation", "heads", "robustness")
MARKS = {Effect.PLACE: "/", Effect.NOTHING: "~", Effect.TRAINING: " ", Effect.MODEL: "="}
COLUMN, LONGEST = 46, 80
"""Width of the column of values; the longest value that is shown whole."""


def help_text(intro: str, options: Iterable[flags.Flag], config: str) -> str:
    """Returns what --help prints: the options, then the presets of all configs or, if one is named, its fields.

    Args:
        intro: the first lines.
        options: of the program.
        config: `FILE` or `FILE:PRESETS`, or "".

    Raises:
        UserError: there is no such config.
    """
    lines = [intro, "options"]
    for flag in options:
        default = f" (default: {flag.default})" if flag.default else ""
        lines.append(f"  --{flag.name:<12} {flag.help}{default}")
    if config:
        return "\n".join([*lines, "", _fields_help(config)])
    more = "all fields of a config: --config=stage2 --help"
    return "\n".join([*lines, "", _presets_help(), "", more])


def config_name(arguments: Sequence[str]) -> str:
    """The config that a command line names, `FILE` or `FILE:PRESETS`; "" for none."""
    for place, argument in enumerate(arguments):
        name, given, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            return value if given else "".join(arguments[place + 1 : place + 2])
    return ""


def with_shipped_config(arguments: Sequence[str]) -> list[str]:
    """A command line in which the name of a shipped config, as in --config=stage2:vidmimic2, is that of its file."""
    found = list(arguments)
    for place, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name in ("--config", "-config"):
            if given:
                found[place] = f"{name}={_file_of(value)}"
            elif place + 1 < len(found):
                found[place + 1] = _file_of(found[place + 1])
    return found


def _file_of(name: str) -> str:
    config, colon, presets = name.partition(":")
    return f"{Path(__file__).with_name(config)}.py{colon}{presets}" if config in FILES else name


def _presets_help() -> str:
    lines = ["configs and their presets, as in --config=stage2:vidmimic2,finetune"]
    for name in FILES:
        module = runpy.run_path(str(Path(__file__).with_name(f"{name}.py")))
        lines.append(f"  {name}, or configs/{name}.py: {_first_line(module['__doc__'])}")
        if module["PRESETS"] is stage2.PRESETS:
            lines.append("    presets as for stage2")
        else:
            lines += [f"    {preset:<14} {_first_line(apply.__doc__)}" for preset, apply in module["PRESETS"].items()]
    return "\n".join(lines)


def _fields_help(name: str) -> str:
    """Every field of a config, `FILE` or `FILE:PRESETS`: its value, and what it means.

    Raises:
        UserError: there is no such file, or no such preset.
    """
    config = load(name)
    lines = [
        f"fields of {name}, set with --config.NAME=VALUE",
        *(f"  {mark} {effect.value}" for effect, mark in MARKS.items() if mark.strip()),
        "    all others: " + Effect.TRAINING.value,
        "",
    ]
    for path, field in flatten(section_of(config)):
        leaves = dict(_leaves(path, value_at(config, path)))
        lines += [_line(leaf, _shown(value), field) for leaf, value in leaves.items() if value is not None]
        if unset := [leaf.rpartition(".")[2] for leaf, value in leaves.items() if value is None]:
            lines.append(_line(f"{path}.NAME", "VALUE", field))
            lines += textwrap.wrap("NAME: " + ", ".join(unset), 110, initial_indent=" " * 6, subsequent_indent=" " * 12)
    return "\n".join(lines)


def load(name: str) -> ConfigDict:
    """The config of `FILE` or `FILE:PRESETS`.

    Raises:
        UserError: there is no such file.
    """
    path, _, preset = name.partition(":")
    if not Path(path).is_file():
        raise UserError(unreadable(path))
    get_config = runpy.run_path(path)["get_config"]
    return get_config(preset) if preset else get_config()


def unreadable(path: str) -> str:
    """The message for a config that cannot be read."""
    return f"config {path} cannot be read; choose {', '.join(FILES)}, or name a Python file with get_config"


def nearest_field(name: str, wrong: str) -> str:
    """The field of a config whose name is most similar to a wrong one."""
    fields = [leaf for leaf, _ in _leaves("", load(name).to_dict())]
    ends = {leaf.rpartition(".")[2]: leaf for leaf in fields}
    if near := difflib.get_close_matches(wrong, fields, 1, 0.85):
        return near[0]
    same_end = difflib.get_close_matches(wrong.rpartition(".")[2], ends, 1, 0.8)
    return ends[same_end[0]] if same_end else difflib.get_close_matches(wrong, fields, 1, 0.0)[0]


def unknown_field(config: str, arguments: Sequence[str], error: Exception) -> str:
    """The message for the error that ml_collections raises for an unknown field on the command line."""
    innermost: object = error
    while isinstance(innermost, Exception):  # a KeyError around an AttributeError around a message
        innermost = innermost.args[0]
    quoted = re.search(r"'([^']*)'", str(innermost))
    name = quoted.group(1) if quoted else str(innermost)
    given = [argument.removeprefix("--config.") for argument in arguments if argument.startswith("--config.")]
    fields = [argument.partition("=")[0] for argument in given]
    field = next((field for field in fields if name in field.split(".")), name)
    near = nearest_field(config, field)
    return f"the config has no such field: {name!r} ({field}); did you mean --config.{near}? --help lists all"


def next_command(
    config: ConfigDict, workdir: Path, own: Collection[str] = (), for_new_clips: Sequence[str] = ()
) -> str:
    """The command that a user would run after this one.

    Args:
        config: of the run that has ended.
        workdir: its folder.
        own: modalities of which it reads the user's own features.
        for_new_clips: options without which no new clips are read.
    """
    if config.stage != "alignment":
        options = [*(f"--features={modality}=DIR" for modality in own), *for_new_clips]
        clips = "CSV_OF_NAMES" if own else "FOLDER_OF_CLIPS"
        if _is_installed():
            return shlex.join(["emi", "predict", clips, f"--model={workdir}", *options, "--pages"])
        command = ["python", "run.py", f"--config=configs/stage2.py:{config.preset}", f"--workdir={workdir}"]
        return shlex.join([*command, "--mode=predict", f"--input={clips}", *options, "--pages"])
    fields = {"root": config.root, "data.dir": config.data.dir, "data.corpus": config.data.corpus}
    if workdir != Path(config.root, "stage1").absolute():
        fields["init_from"] = workdir
    if len(config.model.pairs) == 1:
        fields["model.modalities"] = (*config.model.pairs, "text")
    return _training("stage2", config.preset, fields)


def training_command(config: ConfigDict) -> str:
    """The command that trains a run of stage 2, with every field that differs from its presets."""
    plain = stage2.get_config(config.preset)
    plain.root, plain.workdir = config.root, config.workdir
    before, now = (dict(_leaves("", each.to_dict())) for each in (plain, config))
    fields = {"root": config.root} if config.root != stage2.get_config(config.preset).root else {}
    fields |= {name: value for name, value in now.items() if value != before.get(name) and "bindings" not in name}
    return _training("stage2", config.preset, fields, config.workdir)


SOURCES = {"synthetic": "", "folder": " --source=CORPUS --labels=CSV"}
"""Options of `data_prep` that a corpus needs besides its name; the others need --source alone."""


def preparation_command(config: ConfigDict) -> str:
    """The command that makes the dataset of a config."""
    corpus = config.data.corpus or "folder"
    source = SOURCES.get(corpus, " --source=CORPUS")
    return f"python -m data_prep --corpus={corpus}{source} --out={config.data.dir or 'DIR'}"


def stage_1_command(config: ConfigDict) -> str:
    """The command that makes the run of stage 1 whose encoders a run of stage 2 starts from."""
    fields = {"data.dir": config.data.dir, "data.corpus": config.data.corpus}
    return _training("stage1", config.preset.split(",")[0], fields, config.init_from)


def _training(file: str, presets: str, fields: Mapping[str, Any], workdir: str = "") -> str:
    """The command that trains with a shipped config, as this process was started: by `emi` or by `run.py`."""
    command = ["emi", "train", f"--config={file}:{presets}"]
    if not _is_installed():
        command = ["python", "run.py", f"--config=configs/{file}.py:{presets}"]
    folder = [f"--workdir={workdir}"] if workdir else []
    return shlex.join([*command, *folder, *(f"--config.{field}={value}" for field, value in fields.items())])


def _is_installed() -> bool:
    """Whether this process is the command `emi`."""
    return Path(sys.argv[0]).stem == "emi"


def _line(path: str, value: str, field: Field) -> str:
    return f"{MARKS[field.effect]} {f'{path}={value}':<{COLUMN}} {field.meaning}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for name, part in value.items():
        yield from _leaves(f"{path}.{name}".strip("."), part)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
