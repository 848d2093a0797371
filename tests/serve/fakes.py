"""A model and a reader for tests of the page that need neither parameters nor worker processes, and what they send."""

import io
import types
import wave

import numpy as np

from data_prep.clips.clip import read_clip
from data_prep.clips.options import ClipOptions
from emi_jax.modalities import MODALITIES
from emi_jax.prediction import Prediction
from emi_jax.serve.app import Limits
from tests.fakes import NAMES

TOKEN, PORT, HOST = "s3cret", 8123, "127.0.0.1:8123"
ORIGIN = {"origin": f"http://{HOST}"}
FACTS = {"label_names": NAMES, "label_range": (0.0, 1.0), "seconds": 12.0, "windows": None, "words": True}
FACTS |= {"recognised": False}
LIMITS = Limits(num_bytes=100_000, seconds=0.5)
OPTIONS = ClipOptions(max_frames=4, max_seconds=1.0, face_size=32, detector="haar")


def predict(examples, windows):
    """Predicts intensities of 0.1, 0.2, ... for every clip."""
    for example in examples:
        values = {name: number / 10 for number, name in enumerate(NAMES, 1)}
        nothing = {name: np.zeros(0, np.float32) for name in MODALITIES}
        shares = dict.fromkeys(MODALITIES, 0.5)
        yield Prediction(example["id"], values, shares, shares, nothing, nothing, [], True, {}, example)


def make_model():
    return types.SimpleNamespace(
        label_names=NAMES,
        label_range=(0.0, 1.0),
        modalities=MODALITIES,
        clip_options=OPTIONS.stored(),
        features={},
        seconds=1.0,
        predict=predict,
    )


def read_here(clip):
    """Reads a clip in this process."""
    yield {**read_clip(clip, OPTIONS).example, "remarks": ()}


def sound():
    """A WAV file with a tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes((3000 * np.sin(np.arange(8000) / 10)).astype(np.int16).tobytes())
    return file.getvalue()


def send(client, content, name="a.wav", **query):
    """Sends a clip as the page does."""
    return client.post(f"/{TOKEN}/clips", params={"name": name, **query}, content=content, headers=ORIGIN)


def finish(clips):
    """Waits for the clips in work."""
    clips._threads.submit(lambda: None).result()
    return list(clips)
