"""Clips are predicted in windows: each as a clip of its own, by one program, and the clip by their mean."""

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.pieces import Piece
from emi_jax.report.clip import write_clip_page
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.stream import Frame, Sound, Words, stream
from tests.fakes import make_example

RATE = 16_000


@pytest.fixture(scope="module")
def predictor(trained):
    """It reads 0.5 s at once."""
    return Predictor.load(trained[1], batch_size=2, devices=jax.devices()[:1], one_length=True)


@pytest.fixture
def clip():
    """A clip of 1.8 s, without sound after 1.2 s and with no face after 0.7 s."""
    example = make_example(np.random.default_rng(0), "long", frames=18, samples=round(1.2 * RATE), words=6)
    times = np.arange(18, dtype=np.float32) / 10
    return example | {"times": times, "face_found": times < 0.75}


def between(clip, start, end):
    """A part of a clip as a clip of its own; its words are one each 0.3 s."""
    inside = np.flatnonzero((clip["times"] >= np.float32(start)) & (clip["times"] < np.float32(end)))
    words = clip["transcript"].decode().split()
    spans = np.array([(0.3 * n, 0.3 * n + 0.3) for n in range(len(words))])
    spoken = [n for n, (a, b) in enumerate(spans) if start <= (a + b) / 2 < end]
    return clip | {
        "faces": [clip["faces"][n] for n in inside],
        **{name: clip[name][inside] for name in ("face_found", "landmarks")},
        "times": clip["times"][inside] - np.float32(start),
        "audio": clip["audio"][round(start * RATE) : round(end * RATE)],
        "transcript": " ".join(words[n] for n in spoken).encode(),
        "word_times": (spans[spoken] - start).reshape(-1, 2).astype(np.float32),
    }


@pytest.fixture
def timed(clip):
    """The clip with the times of its words, one each 0.3 s."""
    return clip | {"word_times": np.array([(0.3 * n, 0.3 * n + 0.3) for n in range(6)], np.float32)}


def test_each_window_is_predicted_as_a_clip_of_its_own(predictor, timed):
    (found,) = predictor.predict([timed], predictor.windows(0.4, 0.2))
    windows = found.over_time.windows
    starts = np.arange(8) / 5  # the last picture is at 1.7 s: the last window is full
    np.testing.assert_allclose([(w.start, w.end) for w in windows], [(start, start + 0.4) for start in starts])
    alone = list(predictor.predict([between(timed, w.start, w.end if w is not windows[-1] else 9) for w in windows]))
    for window, whole in zip(windows, alone, strict=True):
        assert window.intensities == pytest.approx(whole.intensities, abs=1e-5)
        assert window.weights == pytest.approx(whole.weights, abs=1e-5)
        for name, reliability in whole.reliability.items():
            assert window.reliability.get(name) == (
                pytest.approx(reliability.mean(), abs=1e-5) if len(reliability) else None
            )
    assert found.intensities == pytest.approx(
        {name: np.mean([w.intensities[name] for w in windows]) for name in predictor.label_names}
    )
    assert found.weights["audio"] == pytest.approx(np.mean([w.weights["audio"] for w in windows]))


def test_windows_say_what_they_lack(predictor, timed):
    (found,) = predictor.predict([timed | {"transcript": b"", "word_times": np.zeros((0, 2))}], predictor.windows(0.4))
    flags = [window.flags for window in found.over_time.windows]
    assert flags[0] == ("no words",)
    assert flags[2] == ("no face", "no words")
    assert flags[-1] == ("no face", "no sound", "no words", "nothing")
    assert found.informed
    informed = [window.intensities["Joy"] for window in found.over_time.windows if "nothing" not in window.flags]
    assert found.intensities["Joy"] == pytest.approx(np.mean(informed))
    assert "windows with no face (3 of 5)" in found.remarks


def test_a_clip_longer_than_the_model_reads_is_predicted_in_windows_by_default(predictor, timed):
    short = between(timed, 0.0, 0.5) | {"id": b"short"}
    found = {prediction.id: prediction for prediction in predictor.predict([timed, short])}
    assert found["short"].over_time is None
    windows = found["long"].over_time.windows
    assert [(w.start, pytest.approx(w.end)) for w in windows[:3]] == [(0, 0.5), (0.5, 1.0), (1.0, 1.5)]
    assert windows[0].intensities == pytest.approx(found["short"].intensities, abs=1e-5)
    assert "longer than the model reads; the mean of windows is given (4 of 0.5 s in 1.7 s)" in found["long"].remarks
    assert not found["short"].remarks


def test_steps_and_pictures_of_windows_have_the_seconds_of_the_clip(predictor, timed, tmp_path):
    (found,) = predictor.predict([timed], predictor.windows(0.4, 0.2))
    for name in ("vision", "audio"):
        assert len(found.times[name]) == len(found.reliability[name]) > 0
        assert (np.diff(found.times[name]) > 0).all()
    assert found.times["audio"][-1] > 1
    assert found.over_time.frames[0].image == timed["faces"][0]
    for frame in found.over_time.frames:
        number = round(frame.seconds * 10)
        assert frame.image == timed["faces"][number]
        assert (frame.reliability is not None) == timed["face_found"][number]
    second, low, high = found.over_time.waveform[20]
    first = round((second - 0.005) * RATE)
    heard = timed["audio"][first : first + 160] / 32768
    assert (low, high) == (pytest.approx(heard.min(), abs=1e-6), pytest.approx(heard.max(), abs=1e-6))
    page = write_clip_page(tmp_path / "a.html", found, (0.0, 1.0)).read_text()
    assert "The mean over 8 windows" in page
    assert "Table of the windows" in page


def test_windows_of_any_clip_run_one_program_and_share_batches(predictor, timed):
    list(predictor.predict([timed], predictor.windows(0.4)))
    compiled, calls, run = predictor.compile_seconds, [], predictor._run
    predictor._run = lambda clips, transform: calls.append(len(clips)) or run(clips, transform)
    clips = [make_example(np.random.default_rng(n), f"{n}", frames=0, samples=400 * n) for n in range(1, 4)]
    found = list(predictor.predict([timed, *clips], predictor.windows(0.4)))
    del predictor._run
    assert [prediction.id for prediction in found] == ["long", "1", "2", "3"]
    assert predictor.compile_seconds == compiled
    assert calls == [2, 2, 2, 2]


def test_other_people_are_predicted_from_their_own_faces(predictor, timed):
    """They do not change the prediction of the clip, which is that of the person who is read."""
    rng = np.random.default_rng(1)
    other = {name: make_example(rng, "x", frames=18)[name] for name in ("faces", "face_found", "landmarks")}
    other["times"] = timed["times"]
    seen = timed | {"person": np.full(18, 1), "others": {2: other}}
    (found,) = predictor.predict([seen], predictor.windows(0.4))
    (alone,) = predictor.predict([timed], predictor.windows(0.4))
    assert found.intensities == pytest.approx(alone.intensities)
    (as_read,) = predictor.predict([timed | other], predictor.windows(0.4))
    assert [window.person for window in found.over_time.others] == [2] * 5
    for window, own in zip(found.over_time.others, as_read.over_time.windows, strict=True):
        assert window.intensities == pytest.approx(own.intensities, abs=1e-6)
    assert [window["person"] for window in found.facts()["windows"]] == [1, 2, 1, 2, 0, 2, 0, 2, 0, 2]


def test_pieces_of_interleaved_clips_are_put_together(predictor, timed):
    def pieces(name):
        for start in (0.0, 0.9):
            part = between(timed, start, start + 0.9)
            part["times"] = part["times"] + np.float32(start)
            part["word_times"] = part["word_times"] + np.float32(start)
            yield part | {"id": name, "piece": Piece(start, start + 0.9, start > 0, 1.8)}

    mixed = [piece for pair in zip(pieces("a"), pieces("b"), strict=True) for piece in pair]
    (whole,) = predictor.predict([timed])
    for found in predictor.predict(mixed):
        assert found.intensities == pytest.approx(whole.intensities, abs=1e-6)
        assert len(found.over_time.windows) == len(whole.over_time.windows)


def arrivals(clip):
    """The parts of a clip in the order of a live stream: words, then 50 ms of sound and the frames in them."""
    frames = list(zip(clip["times"].tolist(), clip["faces"], clip["face_found"], strict=True))
    for word, (start, end) in zip(clip["transcript"].decode().split(), clip["word_times"].tolist(), strict=True):
        yield Words(word, start, end)
    for first in range(0, len(clip["audio"]), 800):
        while frames and frames[0][0] < (first + 800) / RATE:
            seconds, face, found = frames.pop(0)
            yield Frame(seconds, face if found else None)
        yield Sound(clip["audio"][first : first + 800])
    for seconds, face, found in frames:
        yield Frame(seconds, face if found else None)


def test_a_stream_predicts_what_the_recorded_clip_does_and_with_the_stated_delay(predictor, timed):
    windows = predictor.windows(0.4, 0.2)
    come: list[float] = []

    def watched():
        for arrival in arrivals(timed):
            come.append(arrival.seconds if isinstance(arrival, Frame) else 0.0)
            yield arrival

    found, delays = [], []
    for window in stream(predictor, watched(), windows):
        found.append(window)
        delays.append(max(come) - window.end)
    (recorded,) = predictor.predict([timed], windows)
    assert [(window.start, window.end) for window in found] == [(w.start, w.end) for w in recorded.over_time.windows]
    for live, offline in zip(found, recorded.over_time.windows, strict=True):
        assert live.flags == offline.flags
        for name in ("intensities", "weights", "share", "reliability"):
            assert getattr(live, name) == pytest.approx(getattr(offline, name), abs=1e-6), name
    with_sound = [delay for window, delay in zip(found, delays, strict=True) if window.end < 1.2]
    assert max(with_sound) < 0.2  # frames come each 0.1 s, in no order with the sound


def test_a_stream_does_not_wait_long_for_sound_that_stays_away(predictor, clip):
    frames = [Frame(0.1 * n, np.full((32, 32, 3), 9 * n, np.uint8)) for n in range(25)]
    seen: list[float] = []

    def muted():
        yield Sound(clip["audio"][:1600])
        for frame in frames:
            seen.append(frame.seconds)
            yield frame

    first = next(stream(predictor, muted(), predictor.windows(0.4, 0.2)))
    assert (first.start, first.end) == (0, 0.4)
    assert 1.4 <= max(seen) <= 1.5


def test_windows_that_the_model_cannot_read_are_refused(predictor):
    with pytest.raises(UserError, match=r"--window=4: the model reads .* to 0.5 s at once; use --window=0.5"):
        predictor.windows(4, 1)
