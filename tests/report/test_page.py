"""Pages escape what they show, forbid scripts and embed images as data."""

import base64
import dataclasses

import pytest

from emi_jax.report import page
from emi_jax.report.page import Image
from emi_jax.report.run import write_report
from tests.fakes import NAMES, make_dataset

HOSTILE = '<script>alert("1")</script>'


def write_hostile_run(folder, label=HOSTILE):
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "curves.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{HOSTILE}</svg>')
    (folder / "curves.txt").write_text(HOSTILE)
    dataset = dataclasses.replace(make_dataset(1, 1, 1), label_names=(label, *NAMES))
    return write_report(folder, {"stage": "alignment", "note": HOSTILE}, dataset).read_text()


def test_a_foreign_drawing_enters_as_an_image(tmp_path):
    html = write_hostile_run(tmp_path / "run")
    assert "<script" not in html
    assert "<svg" not in html
    drawing = html.split("data:image/svg+xml;base64,")[1].split('"')[0]
    assert HOSTILE in base64.b64decode(drawing).decode()


def test_labels_config_and_tables_are_escaped(tmp_path):
    html = write_hostile_run(tmp_path / "run")
    escaped = "&lt;script&gt;alert("
    assert html.count(escaped) == 3  # label, table next to the figure, config


@pytest.mark.parametrize("template", ["base.html", "run.html", "clip.html"])
def test_every_page_forbids_scripts_and_requests(template):
    source = page._TEMPLATES.loader.get_source(page._TEMPLATES, template)[0]
    if template != "base.html":
        assert source.startswith('{% extends "base.html" %}')
    html = page.render("base.html", "t")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in html


def test_a_missing_value_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(page.jinja2.UndefinedError, match="informed"):
        page.write(tmp_path / "page.html", "clip.html", "clip")
    assert not list(tmp_path.iterdir())


def test_a_title_with_bytes_that_are_not_utf8_is_written(tmp_path):
    path = page.write(tmp_path / "page.html", "base.html", "clip \udcff")
    assert "<title>clip \\udcff</title>" in path.read_text(encoding="utf-8")


def test_a_page_may_have_the_longest_name(tmp_path):
    path = page.write(tmp_path / f"{'a' * 250}.html", "base.html", "clip")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_images_are_data():
    assert Image.jpeg("face", b"\xff\xd8").source == "data:image/jpeg;base64,/9g="
