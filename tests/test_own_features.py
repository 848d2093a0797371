"""Features of one's own alone, without media: from the files to a dataset, a run, its scores and predictions."""

import csv
import json
import types

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from configs.commands import clips, program
from data_prep import __main__ as data_prep
from data_prep.clips.options import ClipOptions
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import open_dataset

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections

SPLITS = {"train": 10, "valid": 4, "test": 4}
MODALITIES = ("vision", "audio", "text")
PRESET = "--config=configs/stage2.py:descriptors"
TINY = (
    *("--config.train.epochs=2", "--config.train.batch_size=8", "--config.train.members=1"),
    *("--config.data.num_steps=4", "--config.data.length_buckets=((0.5,0.5),(0.75,0.75))"),
    *("--config.model.head.fusion.width=16", "--config.model.head.fusion.num_heads=2"),
)
NPY = {"width": 1, "names": ["0"], "source": "npy", "rate": 25.0}
"""What a dataset stores about features of arrays."""


def openface(rng):
    """A table as OpenFace 2 writes it: zeros in the second picture, where no face was found."""
    lines = ["frame, face_id, timestamp, confidence, success, pose_Tz, AU06_r, AU12_r"]
    for k in range(6):
        found = f"0.980, 1, {rng.normal(500, 20):.1f}, {5 * rng.random():.2f}, {rng.random():.2f}"
        lines.append(f"{k + 1}, 0, {k / 30:.3f}, {'0.000, 0, 0.0, 0.00, 0.00' if k == 1 else found}")
    return "\n".join(lines) + "\n"


def opensmile(rng):
    """A table as openSMILE writes it."""
    lines = ["name;frameTime;Loudness_sma3;F0semitoneFrom27.5Hz_sma3nz"]
    lines += [f"'unknown';{k / 100:.6f};{rng.random():.6e};{rng.normal(1e6, 2e5):.6e}" for k in range(3)]
    return "\n".join(lines) + "\n"


def write_corpus(folder):
    """18 clips of three people, of which there are features alone; the last clip has none of its words."""
    rng = np.random.default_rng(0)
    for modality in MODALITIES:
        (folder / modality).mkdir(parents=True)
    rows = [(split, person) for person, split in enumerate(SPLITS) for _ in range(SPLITS[split])]
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Filename", "Split", "Subject", "Joy", "Fear"])
        for number, (split, person) in enumerate(rows):
            name = f"clip {number}"
            table.writerow([name, split, f"s{person}", *rng.random(2).round(3)])
            (folder / "vision" / f"{name}.csv").write_text(openface(rng))
            (folder / "audio" / f"{name}.csv").write_text(opensmile(rng))
            if number < len(rows) - 1:
                np.savez(folder / "text" / f"{name}.npz", features=rng.normal(size=(2, 3)), times=[0.0, 0.5])


def prepare(*arguments):
    """What `python -m data_prep` does with a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["data_prep", *arguments])
        assert data_prep.main() == 0


def command(*arguments):
    """What `python run.py` does with a command line, on one device: less to compile."""
    devices = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patch, flagsaver.flagsaver():
        patch.setattr(jax, "devices", lambda: devices)
        patch.setattr("sys.argv", ["run.py", *arguments])
        assert program.parse(["run.py", *arguments]) == ["run.py"]
        program.run(program.CONFIG.value)


def features(folder):
    return [part for name in MODALITIES for part in ("--features", f"{name}={folder / name}")]


def predictions(path):
    _, *rows = csv.reader(path.read_text().splitlines())
    return {name: list(map(float, values)) for name, *values in sorted(rows)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The corpus, and a run that was trained on it and scored, in batches that are shorter than the full size."""
    folder = tmp_path_factory.mktemp("own")
    corpus, data, workdir = folder / "corpus", folder / "data", folder / "run"
    write_corpus(corpus)
    prepare("--corpus=folder", f"--source={corpus}", f"--out={data}", "--processes=1", *features(corpus))
    settings = [PRESET, f"--workdir={workdir}", f"--config.root={folder}", f"--config.data.dir={data}", *TINY]
    command(*settings)
    command(*settings, "--mode=predict", "--split=test")
    return corpus, workdir


@pytest.mark.parametrize(
    ("stored", "given", "message"),
    [
        ({"audio": NPY}, [], r"trained on audio features .*\(1 columns, npy\): add --features audio=PATH with those"),
        ({}, ["audio=x"], "--features audio=x does nothing: the run was not trained on audio features"),
        ({}, ["audio"], "--features: found 'audio', expected vision=..., audio=..., text=..."),
        ({}, ["audio=x", "audio=y"], "--features audio=y: audio features are given already"),
    ],
)
def test_new_clips_need_the_features_that_the_run_was_trained_on_and_no_others(
    stored, given, message, tmp_path, monkeypatch
):
    model = types.SimpleNamespace(clip_options=ClipOptions(detector="haar").stored(), features=stored, seconds=3.0)
    monkeypatch.setattr(clips.Predictor, "load", lambda workdir: model)
    (tmp_path / "clip.mp4").touch()
    options = [part for value in given for part in ("--features", value)]
    with pytest.raises(UserError, match=message):
        command(PRESET, "--mode=predict", f"--input={tmp_path / 'clip.mp4'}", *options)


def test_the_index_knows_how_many_steps_each_clip_has(trained):
    corpus, _ = trained
    index = open_dataset(corpus.parent / "data", "make it").index("test")
    assert [row["steps"] for row in index] == [
        {"vision": 5, "audio": 3, "text": 0 if row["id"] == "clip 17" else 2} for row in index
    ]


def test_the_run_is_scored_on_the_test_split(trained):
    _, workdir = trained
    scores = json.loads((workdir / "metrics_test.json").read_text())
    assert set(scores["baseline"]["rows"]) == {*MODALITIES, "all"}
    assert list(predictions(workdir / "predictions_test.csv")) == ["clip 14", "clip 15", "clip 16", "clip 17"]


def test_new_clips_are_predicted_like_the_same_clips_of_the_test_split(trained, tmp_path):
    corpus, workdir = trained
    expected = predictions(workdir / "predictions_test.csv")
    (tmp_path / "names.csv").write_text("Filename\n" + "".join(f"{name}.mp4\n" for name in reversed(expected)))
    place = [f"--workdir={workdir}", f"--input={tmp_path / 'names.csv'}", f"--output={tmp_path}"]
    command(PRESET, "--mode=predict", *place, *features(corpus))
    found = predictions(tmp_path / "predictions.csv")
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=2e-3)  # the cache holds float16
    assert np.ptp(list(found.values()), axis=0).min() > 0.01
    remarks = json.loads((tmp_path / "clip 17.json").read_text())["remarks"]
    assert {"no words", "no file of features"} < set(remarks)
