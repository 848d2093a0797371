"""The report of a preparation: any label names, in the users' units, escaped; clips that failed or have remarks."""

import base64

import numpy as np
import pytest

from data_prep.build import report_page
from data_prep.build.report import Report, make_report
from data_prep.build.staging import Staged
from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.errors import ClipError
from data_prep.media.remarks import Remark
from tests.fakes import make_example

LABELS = ("seconds", "$a$ b$", "喜び", "<b>")
VALUES = (0.0, 0.25, 0.5, 1.0)


def staged(seconds, *remarks):
    return Staged("", frames=4, faces=3, seconds=seconds, length=seconds, words=True, features={}, remarks=remarks)


@pytest.fixture
def report(tmp_path):
    clips = [ClipSource(f"{place}", labels=(value,) * 4, split="train") for place, value in enumerate(VALUES)]
    corpus = Corpus("folder", LABELS, (-50.0, 50.0), tuple(clips))
    rows = [(clip, staged(2.0 + place)) for place, clip in enumerate(clips)]
    rows[1] = (clips[1], staged(3.0, Remark("damaged sound", "<i>2 packets</i>")))
    failed = [(ClipSource("bad|$", split="test"), ClipError("a<b>.mp4", "not a media file"))]
    return make_report(corpus, rows, failed, tmp_path / "emi", "0" * 64, 1.0)


@pytest.fixture
def html(report, tmp_path):
    example = make_example(np.random.default_rng(0), "00001")
    example |= {"id": "<00001>", "transcript": "so & so", "face_found": np.arange(6) > 0}
    report_page.write_page(report, [example], tmp_path)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_statistics_and_histograms_are_in_the_users_units(report):
    for name in LABELS:
        row, histogram = report.labels[name], report.histograms[name]
        assert row["mean"] == pytest.approx(100 * np.mean(VALUES) - 50)
        assert row["above_lowest"] == 0.75
        assert (histogram["edges"][0], histogram["edges"][-1]) == (-50, 50)
        assert [place for place, count in enumerate(histogram["counts"]) if count] == [0, 5, 10, 19]
    assert "above -50" in report.summary()


def test_the_summary_blames_a_file_or_the_clip_alone(report):
    lines = Report(**vars(report) | {"left_out": [{"id": "b", "split": "test", "path": "b", "why": "has no sound"}]})
    assert "  test b: has no sound" in lines.summary().splitlines()
    assert "  test bad|$: a<b>.mp4: not a media file" in report.summary().splitlines()


def test_label_named_seconds_does_not_affect_the_lengths(report):
    assert (report.lengths["edges"][0], report.lengths["edges"][-1]) == (2, 5)
    titles = [axes.get_title() for axes in report_page.histograms(report).axes]
    assert titles == ["length in seconds", *LABELS]


def test_the_page_draws_every_label_as_text(html):
    drawing = base64.b64decode(html.split("data:image/svg+xml;base64,")[1].split('"')[0]).decode()
    for name in ("seconds", "$a$ b$", "喜び", "&lt;b&gt;"):
        assert f">{name}</text>" in drawing


def test_the_page_escapes_and_lists_clips(html):
    assert "<b>" not in html
    assert "<i>" not in html
    for cells in ("bad|$</th><td>test</td><td>a&lt;b&gt;.mp4</td>", "1</th><td>train</td><td>&lt;i&gt;2 packets"):
        assert f'<th scope="row">{cells}' in html
    assert "<summary>damaged sound: 1</summary>" in html
    assert "so &amp; so" in html
    assert html.count("<figure class=faded>") == 1
    assert html.count("data:image/jpeg") == 6


def test_page_lists_only_the_first_of_many_clips(report, tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "LISTED", 3)
    many = Report(**vars(report) | {"left_out": report.left_out * 5})
    report_page.write_page(many, [], tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("not a media file") == 3
    assert "And 2 more" in html
