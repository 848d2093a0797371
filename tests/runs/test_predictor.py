"""A trained run is loaded from its folder alone, and predicts new clips as evaluation does."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import av
import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from configs.commands import clips as clips_command
from configs.commands import options
from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.windows import length
from emi_jax.runs import results
from emi_jax.runs.evaluation import chosen_params, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.predictor import Predictor
from emi_jax.train.parameters import fingerprint
from tests.configs import tiny_stage1, tiny_stage2
from tests.data_prep.conftest import tone, write_table, write_video
from tests.fakes import NAMES, make_dataset, make_example
from tests.flags import quick

ROOT = Path(__file__).parents[2]


def test_predictions_equal_those_of_evaluation(trained):
    experiment, folder = trained
    examples = experiment.dataset.split("test")
    outputs = evaluator(experiment, "test").gather(chosen_params(experiment))
    predictor = Predictor.load(folder, batch_size=4, devices=jax.devices()[:1])
    assert predictor.label_names == NAMES
    short = [row for row, example in enumerate(examples) if length(example) <= predictor.seconds]
    examples, outputs = [examples[row] for row in short], {name: array[short] for name, array in outputs.items()}
    unlabelled = [{**example, "labels": np.zeros(0, np.float32), "id": example["id"].decode()} for example in examples]
    predictions = list(predictor.predict(iter(unlabelled)))
    assert [prediction.id for prediction in predictions] == [example["id"].decode() for example in examples]
    found = np.array([list(prediction.intensities.values()) for prediction in predictions])
    np.testing.assert_allclose(found, outputs["predictions"], atol=1e-5)
    for prediction, weights, present in zip(predictions, outputs["weights"], outputs["present"], strict=True):
        np.testing.assert_allclose(list(prediction.weights.values()), weights, atol=1e-5)
        np.testing.assert_array_equal([len(steps) > 0 for steps in prediction.reliability.values()], present)
        assert len(prediction.tokens) == len(prediction.reliability["text"])


def test_prediction_does_not_change_the_folder_of_the_run(trained, tmp_path):
    """The folder may therefore be on a read-only disk."""
    experiment, folder = trained

    def state():
        return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}

    before = state()
    elsewhere = Experiment.open(experiment.config, experiment.dataset, folder, jax.devices()[:1], tmp_path / "out")
    elsewhere.workdir.check_use(experiment.config.to_dict())
    elsewhere.workdir.check_dataset(experiment.dataset)
    summary = results.evaluate(elsewhere, "test")
    assert {path.relative_to(tmp_path).parts[0] for path in summary.written} == {"out"}
    assert results.predict(elsewhere, "valid").parent == tmp_path / "out"
    Predictor.load(folder, devices=jax.devices()[:1])
    assert state() == before


def test_kernels_of_another_machine_are_not_required(trained, monkeypatch):
    """A run that was trained with cuDNN's attention and LSTM predicts on a CPU."""

    def of_a_gpu(path):
        content = read_json(path)
        if path.name == "config.json":
            content["model"].update(attention="cudnn", lstm="cudnn")
        return content

    monkeypatch.setattr("emi_jax.runs.trained.read_json", of_a_gpu)
    assert Predictor.load(trained[1], devices=jax.devices()[:1]).label_names == NAMES


def test_a_short_clip_gets_the_same_prediction_alone_in_a_batch_with_a_long_one_and_from_one_program_for_all(trained):
    _, folder = trained
    predictor = Predictor.load(folder, batch_size=2, devices=jax.devices()[:1])
    rng = np.random.default_rng(0)
    short = make_example(rng, "short", frames=1, samples=1900, words=0)
    long = make_example(rng, "long", frames=3, samples=8000, words=6)
    (alone,) = predictor.predict([short])
    compiled = predictor.compile_seconds
    together, _ = predictor.predict([short, long])
    assert predictor.compile_seconds > compiled > 0
    for_all = Predictor.load(folder, batch_size=2, devices=jax.devices()[:1], one_length=True)
    (padded,) = for_all.predict([short])
    compiled = for_all.compile_seconds
    assert len(list(for_all.predict([long]))) == 1
    assert for_all.compile_seconds == compiled > 0
    for name in ("intensities", "weights"):
        one, *others = (list(getattr(prediction, name).values()) for prediction in (alone, together, padded))
        for other in others:
            np.testing.assert_allclose(one, other, atol=1e-6, err_msg=name)


def test_an_empty_clip_gets_the_prior_and_is_flagged(trained):
    experiment, folder = trained
    predictor = Predictor.load(folder, batch_size=2, devices=jax.devices()[:1])
    empty = {**experiment.dataset.split("test")[0], "faces": [], "times": np.zeros(0), "face_found": np.zeros(0, bool)}
    empty |= {"audio": np.zeros(0, np.int16), "transcript": ""}
    (prediction,) = predictor.predict([empty])
    assert not prediction.informed
    assert set(prediction.weights.values()) == {0.0}
    assert np.isfinite(list(prediction.intensities.values())).all()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of 3 s, of which the run's dataset would have kept 1 s, and a file that is not a clip."""
    folder = tmp_path_factory.mktemp("new") / "clips"
    folder.mkdir()
    for name, hertz in (("a", 220.0), ("b", 440.0)):
        write_video(folder / f"{name}.mp4", np.arange(0, 3, 0.2), sound=tone(3.0, hertz))
    (folder / "c.mp4").write_bytes(b"nothing of the kind")
    return folder


@pytest.fixture
def read_only(trained, tmp_path):
    """A copy of the trained run in which nothing can be written."""
    folder = tmp_path / "read only"
    shutil.copytree(trained[1], folder, ignore=shutil.ignore_patterns("predicted"))
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


WITHOUT_PRIVILEGES = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
"""Starts a program for which permissions hold even if it is root's."""


def on_one_device(command, folder):
    if os.geteuid() == 0 and shutil.which("setpriv"):
        command = [*WITHOUT_PRIVILEGES, *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": quick(devices=1)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run


def test_the_command_predicts_new_clips_with_a_read_only_run_and_names_skipped_ones(read_only, clips, tmp_path, caplog):
    folder = tmp_path / "out"
    listed = write_table(clips / "names.csv", ("Filename", "Transcript"), ("a", "so funny"), ("b", ""), ("c", "wow"))
    command = [sys.executable, "run.py", "--config=configs/stage2.py", f"--workdir={read_only}", "--mode=predict"]
    command += [f"--input={listed}", f"--output={folder}", "--overlay"]
    run = on_one_device(command, ROOT)
    assert "clips longer than 0.5 s are predicted in windows" in run.stdout  # by the run's own config
    (left_out,) = [line for line in run.stdout.splitlines() if "left out: " in line]
    assert "c.mp4" in left_out
    noted = (folder / "left_out.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in noted] == ["Filename", "c"]
    rows = (folder / "predictions.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Filename", "a", "b"]
    facts = json.loads((folder / "a.json").read_text())
    assert set(facts["weights"]) == {"vision", "audio", "text"}
    assert facts["weights"]["vision"] == 0.0  # a grey ramp shows no face
    assert "longer than the model reads; the mean of windows is given (6 of 0.5 s in 3.0 s)" in facts["remarks"]
    assert "windows with no face (6 of 6)" in facts["remarks"]
    with av.open(str(folder / "a.overlay.mp4")) as film:
        assert len(list(film.decode(video=0))) == 15
    before = (folder / "a.json").stat().st_mtime_ns
    options.flags.FLAGS(["run.py"])
    caplog.set_level("INFO", "emi_jax")
    with flagsaver.flagsaver(mode="predict", input=str(listed), output=str(folder), overlay=True):
        clips_command.predict_clips(read_only, listed)
    assert "3 clips, 2 of them predicted before" in caplog.text
    assert "2 clips: longer than the model reads; the mean of windows is given" in caplog.text
    assert len((folder / "windows.csv").read_text().splitlines()) == 1 + 2 * 6
    assert (folder / "a.json").stat().st_mtime_ns == before
    assert (folder / "predictions.csv").read_text().splitlines() == rows


def test_the_lines_of_the_readme_predict(trained, clips, tmp_path, monkeypatch, capsys):
    _, folder = trained
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(lines.strip().splitlines()) <= 12
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "stage2").symlink_to(folder)
    (tmp_path / "clips").symlink_to(clips)
    script = tmp_path / "predict.py"
    script.write_text(lines)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in printed) == ["a", "b", "left"]
    assert all(name in line for line in printed if not line.startswith("left") for name in NAMES)


def test_a_run_predicts_on_devices_that_could_not_share_its_batch(trained):
    experiment, folder = trained
    devices = jax.devices()[:3]
    assert experiment.config.train.batch_size % len(devices)
    examples = [make_example(np.random.default_rng(0), name) for name in "abcd"]
    one, three = (
        {prediction.id: prediction.intensities for prediction in Predictor.load(folder, devices=used).predict(examples)}
        for used in (devices[:1], devices)
    )
    assert one.keys() == three.keys() == set("abcd")
    for name, intensities in one.items():
        assert three[name] == pytest.approx(intensities, abs=1e-5)


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no trained run in .*config.json is not there"):
        Predictor.load(tmp_path)


def test_a_run_that_has_started_no_longer_needs_the_result_of_stage_1(trained):
    experiment, folder = trained
    config = experiment.config.copy_and_resolve_references()
    config.init_from = "nowhere"
    opened = Experiment.open(config, experiment.dataset, folder, jax.devices()[:1])
    assert fingerprint(opened.encoders.params) == fingerprint(jax.device_get(chosen_params(experiment))["towers"])


def test_a_run_of_stage_1_does_not_predict_intensities(tmp_path):
    config, dataset = tiny_stage1(), make_dataset()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "dataset.json").write_text(json.dumps(dataset.description()))
    with pytest.raises(UserError, match="a run of stage 1"):
        Predictor.load(tmp_path, 2)


@pytest.mark.parametrize("name", ["config.json", "dataset.json"])
@pytest.mark.parametrize("content", ["", '{"stage": "intens', "[]", '{"stage": "intensity", "model": {}, "odd": 1}'])
def test_a_damaged_run_is_reported_in_one_line(name, content, tmp_path):
    config, dataset = tiny_stage2(), make_dataset()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "dataset.json").write_text(json.dumps(dataset.description()))
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"(config|dataset)\.json") as error:
        Predictor.load(tmp_path)
    assert len(str(error.value).splitlines()) == 1
