"""The page that leads to the pages of predicted clips."""

import re

from emi_jax.report.index import write_index

CLIPS = {"a": ("a.html", [10.0, 20.0]), "50% <b>": ("50% <b>.html", [0.0, 100.0])}


def test_each_clip_links_to_its_page_in_the_same_folder(tmp_path):
    path = write_index(tmp_path / "index.html", ("Joy", "<i>"), (0.0, 100.0), CLIPS, [("damaged sound", 3)])
    html = path.read_text()
    rows = re.findall(r'<a href="(.*?)">(.*?)</a></th><td>(.*?)</td><td>(.*?)</td>', html)
    assert rows == [
        ("./a.html", "a", "10.000", "20.000"),
        ("./50%25%20%3Cb%3E.html", "50% &lt;b&gt;", "0.000", "100.000"),
    ]
    assert "<li>damaged sound: 3</li>" in html
    assert "&lt;i&gt;" in html


def test_without_remarks_there_is_no_list_of_them(tmp_path):
    html = write_index(tmp_path / "index.html", ("Joy", "Awe"), (0.0, 1.0), CLIPS, []).read_text()
    assert "<h2>Remarks" not in html
    assert "<h1>Predictions of 2 clips</h1>" in html
