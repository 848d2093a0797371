"""Each clip is read and predicted, its failure is a sentence, and nothing of it stays."""

import threading

import numpy as np
import pytest

from configs.commands.page import reader
from emi_jax.errors import UserError
from emi_jax.inputs.pieces import Piece
from emi_jax.serve.clips import State
from tests.fakes import NAMES
from tests.serve.fakes import ORIGIN, TOKEN, finish, predict, send, sound


def test_results_are_saved_as_predictions_are(client, clips):
    for name in ("a.wav", "a.wav"):
        send(client, sound(), name)
        finish(clips)
    send(client, b"nothing of the kind", "c.mp4")
    finish(clips)
    lines = client.get(f"/{TOKEN}/predictions.csv").text.splitlines()
    assert lines[0] == "Filename," + ",".join(NAMES)
    assert lines[1:] == [
        f"{name},0.100000,0.200000,0.300000,0.400000,0.500000,0.600000" for name in ("a.wav", "a.wav (2)")
    ]
    saved = client.get(f"/{TOKEN}/predictions.json").json()
    assert [facts["id"] for facts in saved] == ["a.wav", "a.wav (2)"]
    assert set(saved[0]["weights"]) == {"vision", "audio", "text"}


def test_the_page_shows_how_much_of_a_long_clip_has_been_read(clips, monkeypatch):
    seen = []
    clip = clips.add("long.mp4")

    def read(upload):
        for piece in (Piece(0.0, 12.0, False, 30.0), Piece(12.0, 24.0, False, 30.0), Piece(24.0, 36.0, True, 30.0)):
            yield {"id": upload.name, "piece": piece, "labels": np.zeros(0)}
            seen.append(clip.part)

    monkeypatch.setattr(clips, "_read", read)
    monkeypatch.setattr(clips._predictor, "predict", lambda pieces, windows: predict([list(pieces)[-1]], windows))
    clips.process(clip)
    assert clip.state is State.DONE
    assert seen == [0.4, 0.8, 1.0]


def test_words_are_those_of_the_clip(client, clips, monkeypatch):
    seen = []
    monkeypatch.setattr(clips, "_read", lambda upload: seen.append(upload.words) or iter(()))
    for words in ("so funny", "  "):
        send(client, sound(), words=words)
    finish(clips)
    assert seen == ["so funny", None]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing of the kind", "not a readable media file"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "not a readable media file"),
    ],
)
def test_what_is_no_clip_is_a_sentence(client, clips, tmp_path, content, reason):
    send(client, content, "c.mp4")
    (clip,) = finish(clips)
    assert clip.state is State.FAILED
    assert clip.reason.startswith(reason)
    assert str(tmp_path) not in clip.reason
    assert client.get(f"/{TOKEN}/clips/1").status_code == 404
    assert not list(tmp_path.iterdir())


def test_a_clip_that_is_removed_while_it_is_read_is_dropped(client, clips, tmp_path, monkeypatch):
    reading, removed = threading.Event(), threading.Event()

    def read(upload):
        reading.set()
        removed.wait(10)
        raise UserError("gone")

    monkeypatch.setattr(clips, "_read", read)
    send(client, sound())
    assert reading.wait(10)
    assert client.delete(f"/{TOKEN}/clips/1", headers=ORIGIN).status_code == 204
    removed.set()
    assert finish(clips) == []
    assert not list(tmp_path.iterdir())


def test_an_unexpected_error_is_logged_and_stops_nothing(client, clips, monkeypatch, caplog):
    monkeypatch.setattr(clips, "_read", lambda upload: 1 / 0)
    send(client, sound())
    (clip,) = finish(clips)
    assert clip.reason == "an unexpected error, which the terminal shows"
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    send(client, sound())
    assert [clip.state for clip in finish(clips)] == [State.FAILED, State.DONE]


def test_a_model_that_cannot_predict_is_known_before_the_page_is_served(clips, monkeypatch):
    clips.warm_up()
    assert not list(clips)
    monkeypatch.setattr(clips, "_read", reader(lambda clip: 1 / 0))
    with pytest.raises(UserError, match="a second of a tone cannot be processed"):
        clips.warm_up()
