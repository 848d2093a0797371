"""A recording that is predicted in part is resumed, and ends like one that was never stopped."""

import itertools
import logging
import types

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from safetensors.numpy import save_file

from configs.commands import clips, options, overlays
from data_prep.corpora import new_clips
from data_prep.synthetic.face import render_frames
from data_prep.synthetic.plan import FPS, plan_corpus
from data_prep.synthetic.video import write_mp4
from data_prep.synthetic.voice import RATE, render_voice
from emi_jax.inputs.pieces import Piece
from emi_jax.inputs.windows import Cutter, Windows
from emi_jax.runs import unfinished
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.unfinished import Unfinished, pack, unpack
from emi_jax.train.signals import StoppedError
from tests.fakes import make_example

STATE = {
    "bookmark": {"start": 2.5, "people": [[1, 0.1, 0.2]]},
    "pictures": {3: [b"\xff\xd8", b""], "none": None},
    "times": np.arange(6).reshape(2, 3).T,
    "empty": np.zeros((0, 5), np.float32),
    "found": np.array([True, False]),
    "words": [["na\udcff\u00efve", float("inf"), 1 / 3]],
}
"""With all that a state may hold."""


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def stored(path, made_from="model file"):
    """The states in the file of a clip."""
    return Unfinished({"a": path}, {"a": made_from})


def saved(path):
    """The states of a folder that just wrote that of a clip."""
    states = stored(path)
    states.save({"a": types.SimpleNamespace(bookmark=STATE["bookmark"], state=lambda: STATE)})
    return states


def test_a_state_is_read_as_it_was_written(tmp_path):
    assert_same(unpack(pack(STATE)), STATE)
    saved(tmp_path / "a")
    states, given = stored(tmp_path / "a"), []
    assert states.bookmarks == {"a": STATE["bookmark"]}
    recording = types.SimpleNamespace(restore=given.append)
    states.restore("another", recording)
    states.restore("a", recording)
    states.restore("a", recording)  # another recording with the same id
    assert_same(given, [STATE])
    states.remove("a")
    assert not list(tmp_path.iterdir())


def foreign(path):
    save_file({"0": np.zeros(3)}, path)


def changed_at(place):
    def change(path):
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        foreign,
        changed_at(3),
        changed_at(20),
        changed_at(-1),
        changed_at(-300),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("words"),
    ],
)
def test_a_damaged_state_is_removed_with_a_note(spoil, tmp_path, caplog):
    saved(tmp_path / "a")
    spoil(tmp_path / "a")
    (tmp_path / ".a.part").write_text("of a program that was killed")
    assert stored(tmp_path / "a").bookmarks == {}
    assert caplog.text.count("is removed, and a is predicted from its start") == 1
    assert not list(tmp_path.iterdir())


def test_a_state_of_another_model_or_version_is_removed_with_a_note(tmp_path, caplog, monkeypatch):
    saved(tmp_path / "a")
    assert stored(tmp_path / "a", "another model, same file").bookmarks == {}
    assert "belongs to another model, recording, options or version" in caplog.text
    assert not list(tmp_path.iterdir())
    saved(tmp_path / "a")
    monkeypatch.setattr(unfinished, "FORMAT", unfinished.FORMAT + 1)
    assert stored(tmp_path / "a").bookmarks == {}
    assert not list(tmp_path.iterdir())


def test_states_take_a_bounded_share_of_the_time(tmp_path, monkeypatch):
    """However long it takes to write them; and they are not written more often than that of a short recording."""
    now = seconds = 0.0
    monkeypatch.setattr(unfinished.time, "monotonic", lambda: now)
    states = stored(tmp_path / "a")

    def write():
        nonlocal now
        now += seconds
        return STATE

    waits = []
    for seconds in (0.01, 4.0):  # noqa: B007
        states.save({"a": types.SimpleNamespace(bookmark=STATE["bookmark"], state=write)})
        wrote = now
        while not states.due:
            now += 0.5
        waits.append(now - wrote)
    assert waits == [5.0, 200.0]


def test_a_cutter_continues_from_its_state():
    rng, windows = np.random.default_rng(0), Windows(0.8, 0.3)
    features = {"text_features": rng.random((40, 2)), "text_feature_times": np.arange(40) / 21}

    def pieces():
        for start, end in itertools.pairwise((0.0, 1.0, 2.0, 2.7)):
            times = np.arange(10 * start, 10 * min(end, 2.0)) / 10  # there is nothing after second 2
            example, other = (
                make_example(rng, "x", frames=len(times), samples=1600 * len(times), words=0 if start else 12)
                for _ in range(2)
            )
            others = {2: {name: other[name] for name in ("faces", "face_found", "landmarks")} | {"times": times}}
            own = {name: value[:0] if start else value for name, value in features.items()}
            seen = {"times": times, "person": np.ones(len(times), int), "others": others}
            yield example | own | seen | {"piece": Piece(start, end, end == 2.7, 2.7)}

    whole, found = Cutter(windows), []
    resumed = Cutter(windows)
    expected = []
    for piece in pieces():
        expected += [window._asdict() for window in whole.add(piece)]
        state, resumed = unpack(pack(resumed.state())), Cutter(windows)
        resumed.restore(state)
        found += [window._asdict() for window in resumed.add(piece)]
    assert resumed.untimed
    assert [window["person"] for window in found] == [2, 1] * 5
    assert_same(found, expected)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of about 5 s with two people, one after the other, and words."""
    folder = tmp_path_factory.mktemp("recording")
    plans = [plan for plan in plan_corpus({"train": 20}, 3) if not plan.defects.missing][:2]
    frames, sound = ([render(plan) for plan in plans] for render in (render_frames, render_voice))
    write_mp4(folder / "long.mp4", np.concatenate(frames), np.concatenate(sound), FPS, RATE)
    (folder / "long.txt").write_text("caf\xe9 " + " ".join(plan.text for plan in plans), "cp1252")  # a remark says so
    return folder / "long.mp4"


@pytest.fixture
def predict(trained, recording, monkeypatch):
    """A function that predicts the recording, in this process, until a second; it returns where its pieces start."""
    predictor = Predictor.load(trained[1], batch_size=2, devices=jax.devices()[:1])
    monkeypatch.setattr(clips.Predictor, "load", lambda workdir: predictor)
    monkeypatch.setattr("emi_jax.runs.recording.MOST_FRAMES", 5)
    monkeypatch.setattr(
        overlays, "write_overlay", lambda _, target, course: target.write_bytes(course.places.tobytes())
    )
    options.flags.FLAGS(["run.py"])

    def predict(output, until=np.inf):
        starts = []

        def in_this_process(read, waiting, *_):
            while waiting:
                part = waiting.popleft()
                if part.stretch.start >= until:
                    raise StoppedError("stopped")
                starts.append(part.stretch.start)
                yield part, read(part)

        monkeypatch.setattr(new_clips, "map_clips", in_this_process)
        with flagsaver.flagsaver(mode="predict", output=str(output), window=0.4, hop=0.3, pages=True, overlay=True):
            clips.predict_clips(output / "no run", recording)
        return starts

    return predict


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_a_stopped_recording_resumes_and_ends_like_one_that_was_not_stopped(predict, tmp_path, monkeypatch, caplog):
    starts = predict(tmp_path / "whole")
    assert starts == [0, 1, 2, 3, 4, *starts[5:]]
    monkeypatch.setattr(unfinished, "INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "SHARE", np.inf)
    caplog.set_level(logging.INFO, "emi_jax")
    for until in (2, 4):
        with pytest.raises(StoppedError):
            predict(tmp_path / "stopped", until)
        assert sorted(contents(tmp_path / "stopped")) == ["long.unfinished.safetensors", "predictions.csv"]
    assert predict(tmp_path / "stopped") == starts[4:]
    assert [line for line in caplog.messages if line.startswith("resumed")] == [
        "resumed: long from second 2 on",
        "resumed: long from second 4 on",
    ]
    whole = contents(tmp_path / "whole")
    tables, of_clip = ["predictions.csv", "windows.csv"], ["long.html", "long.json", "long.overlay.mp4"]
    assert sorted(whole) == ["index.html", *of_clip, *tables]
    assert contents(tmp_path / "stopped") == whole
    (tmp_path / "stopped" / "long.unfinished.safetensors").write_bytes(b"from before a kill after the last window")
    assert predict(tmp_path / "stopped") == []
    assert contents(tmp_path / "stopped") == whole
