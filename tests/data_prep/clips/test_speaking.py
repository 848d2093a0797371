import numpy as np
import pytest

from data_prep.clips.alignment import TEMPLATE
from data_prep.clips.faces import Box, Face
from data_prep.clips.speaking import find_speaker, see_mouth

SECONDS = np.arange(75) / 25


def syllables(seconds, rate, off=0.0):
    """How loudly somebody speaks, 0 to 1: bursts of speech between pauses."""
    return np.clip(np.sin(2 * np.pi * rate * seconds + off), 0, 1)


def speech(rate):
    """A voice of 3 s, int16 at 16 kHz, that is loud in bursts."""
    seconds = np.arange(48_000) / 16_000
    noise = np.random.default_rng(0).normal(size=48_000)
    return (6000 * syllables(seconds, rate) * noise).astype(np.int16)


def mouth(openness, seed):
    """Pictures of a mouth that opens and closes quickly while it speaks; each picture has noise of its own."""
    rng = np.random.default_rng(seed)
    shape = np.zeros((16, 16), np.float32)
    shape[6:10, 3:13] = 1
    flap = openness * np.sin(2 * np.pi * 6 * SECONDS) ** 2
    return {n: flap[n] * shape + 0.02 * rng.normal(size=(16, 16)) for n in range(len(SECONDS))}


def test_the_speaker_is_the_one_whose_mouth_moves_with_the_sound():
    sound = speech(0.7)
    speaker, listener, chewing = (
        mouth(syllables(SECONDS, 0.7), 1),
        mouth(np.zeros(75), 2),
        mouth(syllables(SECONDS, 0.7, np.pi), 3),  # moves exactly in the pauses
    )
    assert find_speaker([speaker, listener, chewing], SECONDS, sound) == 0
    assert find_speaker([chewing, listener, speaker], SECONDS, sound) == 2


def test_nobody_speaks_where_no_mouth_follows_the_sound():
    chewing = mouth(syllables(SECONDS, 0.7, np.pi), 3)
    assert find_speaker([chewing, mouth(np.zeros(75), 2)], SECONDS, np.zeros(48_000, np.int16)) is None
    assert find_speaker([chewing, chewing], SECONDS, speech(0.7)) is None


def test_a_face_seen_in_too_few_pictures_is_no_speaker():
    talk = mouth(syllables(SECONDS, 0.7), 1)
    assert find_speaker([{n: talk[n] for n in range(4)}, talk], SECONDS, speech(0.7)) == 1


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_a_mouth_is_seen_where_the_landmarks_say(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (TEMPLATE - 0.5) @ turn.T * 100 + (150, 120)
    picture = np.full((240, 320, 3), 120, np.uint8)
    plain = see_mouth(picture, Face(Box(100, 70, 100), landmarks))
    x, y = landmarks[3:].mean(0).round().astype(int)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    opened = see_mouth(picture, Face(Box(100, 70, 100), landmarks))
    assert plain.std() == pytest.approx(0)
    assert np.unravel_index(opened.argmax(), opened.shape) in {(7, 7), (7, 8), (8, 7), (8, 8)}


def test_the_mouth_of_a_plain_box_is_in_its_lower_part():
    picture = np.full((240, 320, 3), 120, np.uint8)
    picture[146:150, 148:152] = 255
    opened = see_mouth(picture, Face(Box(100, 70, 100)))
    assert np.unravel_index(opened.argmax(), opened.shape) in {(7, 7), (7, 8), (8, 7), (8, 8)}
