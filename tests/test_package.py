"""The wheel: what is in it, what it needs, and whether the lock files hold what the requirements say."""

import email
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "data_prep", "emi_jax")
HASHED = re.compile(r"([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\]+)? \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)\n")


def requirements(name: str) -> list[Requirement]:
    lines = [line.partition(" #")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", *ROOT.glob("requirements*.txt")):
        shutil.copy(path, folder)
    build = "from setuptools import build_meta; build_meta.build_wheel('made')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, timeout=120)
    [made] = (folder / "made").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_the_packages_with_all_their_files_and_nothing_else(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert {f"{package}/py.typed" for package in PACKAGES} < expected
    assert "emi_jax/report/templates/base.html" in expected


def test_it_needs_what_the_requirements_files_say(wheel):
    [metadata] = (content for name, content in wheel.items() if name.endswith(".dist-info/METADATA"))
    message = email.message_from_bytes(metadata)
    needed = {str(Requirement(text)) for text in message.get_all("Requires-Dist")}
    expected = {str(requirement) for requirement in requirements("requirements.txt")}
    for extra in ("cuda13", "tpu", "asr", "loggers"):
        expected |= {f'{each}; extra == "{extra}"' for each in requirements(f"requirements-{extra}.txt")}
    assert needed == expected
    [scripts] = (content for name, content in wheel.items() if name.endswith("entry_points.txt"))
    assert scripts.decode().split() == ["[console_scripts]", "emi", "=", "configs.commands.console:main"]


@pytest.mark.parametrize(
    ("lock", "names"),
    [
        ("requirements.lock", ["requirements.txt"]),
        ("requirements-dev.lock", ["requirements.txt", "requirements-dev.txt"]),
    ],
)
def test_a_lock_holds_the_requirements_with_hashes(lock, names):
    text = (ROOT / lock).read_text()
    comments, locked = text[: text.index("\n", text.index("\n") + 1) + 1], {}
    rest = HASHED.sub(lambda found: locked.setdefault(found[1].lower(), set()).add(found[2]) or "", text)
    assert rest == comments, "make lock has to be run again"
    for name in names:
        for each in requirements(name):
            pinned = str(each.specifier).removeprefix("==")
            assert locked[each.name.lower().replace("_", "-")] == {pinned}, "make lock has to be run again"
