"""Imports run one way: from a higher room to a lower one, never upwards and never in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "emi_jax": (
        ("studies", "serve", "exports"),
        ("runs",),
        ("stages", "report", "encoders"),
        ("train", "prediction"),
        ("inputs", "models", "metrics", "losses", "memory", "loggers"),
        ("kernels", "descriptors"),
        ("modalities", "files", "progress"),
        ("errors",),
    ),
    "data_prep": (
        ("__main__", "beam", "convert_weights"),
        ("command",),
        ("options",),
        ("build",),
        ("corpora", "overlay"),
        ("clips", "synthetic", "workers"),
        ("features",),
        ("media",),
        ("files",),
        ("errors",),
    ),
}
"""The rooms of each package, highest floor first. A module may import from its own room and from lower floors."""
FORBIDDEN = {
    "emi_jax": ("configs", "data_prep", "benchmarks", "tests", "torch", "run"),
    "data_prep": ("configs", "emi_jax", "benchmarks", "tests", "torch", "run"),
}
ALLOWED = {
    "emi_jax": (),
    "data_prep": (
        "emi_jax.errors",
        "emi_jax.files",
        "emi_jax.inputs.dataset",
        "emi_jax.inputs.index",
        "emi_jax.inputs.pieces",
        "emi_jax.modalities",
        "emi_jax.progress",
        "emi_jax.report.page",
        "emi_jax.report.svg",
        "emi_jax.report.tables",
        "emi_jax.report.terminal",
    ),
}
"""Modules of a forbidden package that are allowed because they are light and independent of the rest of it."""
CONVERTER = ("convert_weights.py", "torch")
"""The only use of PyTorch outside of benchmarks and tests: to read its files, in an environment that has it."""
HEAVY = ("flax", "grain", "jax", "optax", "orbax", "transformers")
MOST_ROOT_MODULES, MOST_LINES, MEDIAN_LINES = 8, 300, 130


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def floor_of(package: str, name: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS[package]) if name in rooms), -1)


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor(package):
    rooms = {path.relative_to(ROOT / package).with_suffix("").parts[0] for path in sources(package)} - {"__init__"}
    assert not [room for room in rooms if floor_of(package, room) < 0]


@pytest.mark.parametrize("package", FLOORS)
def test_imports_run_downwards(package):
    offenders = []
    for path in sources(package):
        room = path.relative_to(ROOT / package).with_suffix("").parts[0]
        if room == "__init__":
            room = FLOORS[package][-1][-1]
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != package or len(parts) < 2 or parts[1] == room:
                continue
            if floor_of(package, parts[1]) <= floor_of(package, room):
                offenders.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {parts[1]}")
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_do_not_import_what_is_above_them(package):
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: imports {name}"
        for path in sources(package)
        for line, name in imports(path)
        if name.split(".")[0] in FORBIDDEN[package]
        and not name.startswith(ALLOWED[package])
        and (path.name, name) != CONVERTER
    ]
    assert not offenders, "\n".join(offenders)


def test_modules_that_data_prep_uses_are_light():
    light = ALLOWED["data_prep"]
    offenders = [
        f"{module}:{line}: imports {name}"
        for module in light
        for line, name in imports(ROOT / f"{module.replace('.', '/')}.py")
        if name.split(".")[0] in HEAVY or (name.startswith("emi_jax.") and name.rpartition(".")[0] not in light)
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("package", FLOORS)
def test_modules_of_a_room_import_each_other_without_a_circle(package):
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources(package)}
    graph = {
        name: {part for _, used in imports(path) for part in (used, used.rpartition(".")[0]) if part in names} - {name}
        for name, path in names.items()
    }
    while leaves := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, f"modules in or above a circle: {', '.join(graph)}"


@pytest.mark.parametrize("package", FLOORS)
def test_few_modules_lie_at_the_root(package):
    assert len(list((ROOT / package).glob("*.py"))) <= MOST_ROOT_MODULES


def test_files_are_short():
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for folder in ("emi_jax", "data_prep", "configs", "benchmarks", "tests")
        for path in sources(folder)
    } | {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in ROOT.glob("*.py")}
    assert not {path: length for path, length in lengths.items() if length > MOST_LINES}
    modules = sorted(length for path, length in lengths.items() if path.name != "__init__.py")
    assert modules[len(modules) // 2] < MEDIAN_LINES
