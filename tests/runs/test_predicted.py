"""The folder of predictions grows clip by clip, can be resumed, and has safe file names for any clip id."""

import csv
import dataclasses
import json
import os
import re
import signal
from urllib.parse import unquote

import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.prediction import OverTime, Prediction, WindowPrediction
from emi_jax.runs import predicted
from emi_jax.runs.predicted import SHOWN, PredictionFolder, file_names, stopped_by_signals
from emi_jax.train.signals import StoppedError

NAMES = ("Joy", "Fear")


def prediction(clip, joy=0.25, remarks=()):
    return Prediction(clip, {"Joy": joy, "Fear": 1.0}, {}, {}, {}, {}, [], True, {}, {"labels": np.zeros(0)}, remarks)


def over_time(clip, count):
    """A prediction in windows of a second each."""
    windows = [
        WindowPrediction(
            n, n + 1.0, {"Joy": n / 4, "Fear": 1.0}, {"audio": 0.5}, {}, {}, ("no face",) * (n == 1), 3 - 3 * n
        )
        for n in range(count)
    ]
    return dataclasses.replace(
        prediction(clip), over_time=OverTime(tuple(windows), (), (), np.zeros((0, 3)), np.zeros((0, 5)))
    )


def opened(path, pages=False):
    return PredictionFolder(path, NAMES, (0.0, 1.0), pages)


def rows(path):
    return list(csv.reader((path / "predictions.csv").read_text().splitlines()))


def test_every_clip_is_on_disk_as_soon_as_it_is_added(tmp_path):
    folder = opened(tmp_path)
    folder.resume({"b": "1", "a": "1"})
    for number, clip in enumerate(("b", "a"), 1):
        folder.add(prediction(clip, joy=0.5))
        assert rows(folder.path)[-1] == [clip, "0.500000", "1.000000"]
        assert len(rows(folder.path)) == 1 + number
        facts = json.loads((folder.path / f"{clip}.json").read_text())
        assert (facts["id"], facts["intensities"]) == (clip, {"Joy": 0.5, "Fear": 1.0})
    folder.finish()
    assert [row[0] for row in rows(folder.path)] == ["Filename", "a", "b"]


def test_a_second_start_keeps_predictions_of_the_same_model_and_files(tmp_path):
    first = opened(tmp_path)
    first.resume({"a": "model file", "b": "model file", "c": "model file"})
    for clip in "abc":
        first.add(prediction(clip))
    (tmp_path / "c.json").write_text('{"id": "c", "inten')  # a truncated file
    second = opened(tmp_path)
    assert second.resume({"a": "model file", "b": "another model", "c": "model file", "d": "new"}) == {"a"}
    assert [row[0] for row in rows(tmp_path)] == ["Filename", "a"]
    assert second.done == 1


def test_a_clip_whose_page_is_missing_is_predicted_again(tmp_path):
    opened(tmp_path).resume({"a": "1"})
    first = opened(tmp_path)
    first.resume({"a": "1"})
    first.add(prediction("a"))
    assert opened(tmp_path, pages=True).resume({"a": "1"}) == set()
    assert opened(tmp_path).resume({"a": "1"}) == {"a"}


def test_skipped_clips_are_recorded_at_once_and_named_at_the_end(tmp_path):
    folder = opened(tmp_path)
    folder.resume({"bad\n": "1"})
    folder.leave_out("bad\n", "bad.mp4: has no\x1b[2J pictures")
    assert (tmp_path / "left_out.csv").read_text().splitlines() == [
        "Filename,Reason",
        r"bad\n,bad.mp4: has no\x1b[2J pictures",
    ]
    assert folder.finish() == "no clip was predicted\nleft out: bad.mp4: has no\\x1b[2J pictures"
    opened(tmp_path)
    assert not (tmp_path / "left_out.csv").exists()


def test_the_summary_is_short_and_counts_remarks(tmp_path):
    folder = opened(tmp_path)
    ids = [f"{number:03}" for number in range(SHOWN + 5)]
    folder.resume(dict.fromkeys(ids, "1"))
    for clip in ids:
        folder.add(prediction(clip, remarks=(f"no sound ({clip})", "no words")))
    summary = folder.finish()
    assert sum(line.split()[0] in ids for line in summary.splitlines() if line.strip()) == SHOWN
    assert "and 5 more in" in summary
    assert f"{len(ids)} clips: no sound" in summary
    assert f"{len(ids)} clips: no words" in summary


def test_the_windows_of_clips_have_a_table(tmp_path):
    first = opened(tmp_path)
    made_from = dict.fromkeys("abc", "1")
    first.resume(made_from)
    first.add(prediction("a"))
    assert not (tmp_path / "windows.csv").exists()
    for clip in "cb":
        first.add(over_time(clip, 2))
    lines = (tmp_path / "windows.csv").read_text().splitlines()
    assert lines[0] == "Filename,Start,End,Person,Joy,Fear,weight_audio,Flags"
    assert lines[1:3] == [
        "c,0.000,1.000,3,0.000000,1.000000,0.500000,",
        "c,1.000,2.000,,0.250000,1.000000,0.500000,no face",
    ]
    first.finish()
    of_all = (tmp_path / "windows.csv").read_text().splitlines()
    assert of_all == [lines[0], *(line.replace("c,", "b,", 1) for line in lines[1:3]), *lines[1:3]]
    second = opened(tmp_path)
    assert second.resume(made_from) == set("abc")
    assert (tmp_path / "windows.csv").read_text().splitlines() == of_all
    assert opened(tmp_path).resume({"a": "1"}) == {"a"}
    assert not (tmp_path / "windows.csv").exists()


def test_films_with_an_overlay_are_drawn_once(tmp_path):
    drawn = []

    def draw(path, prediction):
        drawn.append(prediction.id)
        if prediction.id == "sound only":
            return False
        path.write_text("film")
        return True

    made_from = {"a": "1", "sound only": "1"}
    opened(tmp_path).resume(made_from)
    first = PredictionFolder(tmp_path, NAMES, (0.0, 1.0), False, draw)
    first.resume(made_from)
    for clip in made_from:
        first.add(prediction(clip))
    assert (tmp_path / "a.overlay.mp4").read_text() == "film"
    assert PredictionFolder(tmp_path, NAMES, (0.0, 1.0), False, draw).resume(made_from) == set(made_from)
    (tmp_path / "a.overlay.mp4").unlink()
    assert PredictionFolder(tmp_path, NAMES, (0.0, 1.0), False, draw).resume(made_from) == {"sound only"}
    assert opened(tmp_path).resume(made_from) == set(made_from)
    assert drawn == ["a", "sound only"]


def test_an_unwritable_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out cannot be written \(Not a directory\); name another with --output"):
        PredictionFolder.open(tmp_path / "file" / "out", NAMES, (0.0, 1.0), False).__enter__()


@pytest.mark.parametrize(
    "clip", ["a/b", "../x", ".hidden", "new\nline", "esc\x1b[2J", "n\udcff", "x" * 250, "\u559c" * 120, "predictions"]
)
def test_file_names_are_plain_and_short(clip, tmp_path):
    (name,) = file_names([clip]).values()
    (tmp_path / f"{name}.json").touch()
    assert name != clip
    assert "/" not in name
    assert name.isprintable()
    assert not name.startswith(".")
    assert len(name.encode()) < 200


def test_file_names_never_collide():
    ids = ["a", "A", "a_b", "a/b", "a\nb", "e\u0301", "\u00e9", "left_out", "b", "x" * 300 + "1", "x" * 300 + "2"]
    names = file_names(ids)
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert names["b"] == "b"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=number.name), stopped_by_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_two_commands_do_not_write_to_one_folder(tmp_path):
    with PredictionFolder.open(tmp_path / "new" / "folder", NAMES, (0.0, 1.0), False) as first:
        first.resume({"a": "1"})
        first.add(prediction("a"))
        with (
            pytest.raises(UserError, match=f"new/folder is in use by another program, process {os.getpid()}"),
            PredictionFolder.open(tmp_path / "new" / "folder", NAMES, (0.0, 1.0), False),
        ):
            pass
        assert [row[0] for row in rows(tmp_path / "new" / "folder")[1:]] == ["a"]
    with PredictionFolder.open(tmp_path / "new" / "folder", NAMES, (0.0, 1.0), False) as second:
        assert second.resume({"a": "1"}) == {"a"}


def test_an_index_links_to_the_pages_of_the_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(predicted, "write_clip_page", lambda path, *_: path.write_text("page"))
    folder = opened(tmp_path, pages=True)
    damaged = "damaged sound (2 packets)"
    clips = {"b": ("no words", damaged), "index": (damaged,), "a #1": (damaged, "cut")}
    folder.resume(dict.fromkeys(clips, "1"))
    for clip, remarks in clips.items():
        folder.add(prediction(clip, remarks=remarks))
    folder.finish()
    html = (tmp_path / "index.html").read_text()
    addresses = [unquote(address) for address in re.findall(r'<a href="(.*?)">', html)]
    assert [address.partition("-")[0] for address in addresses] == ["./a #1.html", "./b.html", "./index"]
    assert {(tmp_path / address).read_text() for address in addresses} == {"page"}
    assert re.findall("<li>(.*?)</li>", html) == ["damaged sound: 3", "cut: 1", "no words: 1"]
