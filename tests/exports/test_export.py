"""An exported model predicts without this project, and with it, what the run predicts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from emi_jax.errors import UserError
from emi_jax.exports.folder import export_model
from emi_jax.exports.hub import find_model, push
from emi_jax.files import read_json
from emi_jax.inputs.dataset import transcript
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.workdir import Workdir
from tests.fakes import make_example
from tests.flags import quick
from tests.hub import point_at, serve

OURS = ("benchmarks", "configs", "data_prep", "emi", "emi_jax", "flax", "transformers")
ALONE = f"""
import runpy, sys
import numpy as np

for name in {OURS}:
    sys.modules[name] = None  # importing it is an error
script, out, *clips = sys.argv[1:]
sys.argv = [script, clips[0]]
model = runpy.run_path(script, run_name="__main__")
np.savez(out, **model["predict"]([dict(np.load(clip)) for clip in clips]))
"""


@pytest.fixture(scope="module")
def exported(evaluated, once):
    return once("exported", lambda folder: export_model(evaluated[1], folder))


@pytest.fixture(scope="module")
def examples():
    """Clips that the model reads at once: of full length, shorter, and without one of the modalities."""
    rng = np.random.default_rng(0)
    full = {"frames": 3, "samples": 8000, "words": 5}
    shorter = {"frames": 2, "samples": 4000, "words": 2}
    absent = [{**full, name: 0} for name in full]
    return [make_example(rng, f"{row}", **sizes) for row, sizes in enumerate((full, shorter, *absent))]


@pytest.fixture(scope="module")
def predictions(evaluated, examples):
    return list(Predictor.load(evaluated[1], devices=jax.devices()[:1]).predict(examples))


def without_padding(arrays):
    """The arrays of a clip as a user of the exported folder makes them."""
    clip = {}
    for steps, prefix in (("frames", "frame"), ("audio", "audio"), ("tokens", "token")):
        mask = arrays[f"{prefix}_mask"]
        used = len(mask) - int(np.argmax(mask[::-1])) if mask.any() else 0
        if used:
            clip[steps] = arrays[steps][:used]
            if prefix != "audio":
                clip[f"{prefix}_times"] = arrays[f"{prefix}_times"][:used]
        if used and not mask[:used].all():
            clip[f"{prefix}_mask"] = mask[:used]
    return clip


def test_predict_py_equals_the_predictor_in_a_process_that_cannot_import_this_project(exported, predictions, tmp_path):
    assert len((exported / "predict.py").read_text().splitlines()) <= 30
    files = []
    for prediction in predictions:
        files.append(tmp_path / f"{prediction.id}.npz")
        np.savez(files[-1], **without_padding(prediction.arrays))
    command = [sys.executable, "-I", "-c", ALONE, exported / "predict.py", tmp_path / "out.npz", *files]
    environment = os.environ | {"XLA_FLAGS": quick(devices=1)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "out.npz")
    for row, prediction in enumerate(predictions):
        np.testing.assert_allclose(found["intensities"][row], list(prediction.intensities.values()), atol=2e-6)
        np.testing.assert_allclose(found["weights"][row], list(prediction.weights.values()), atol=2e-6)
        np.testing.assert_allclose(found["share"][row], list(prediction.share.values()), atol=2e-6)
    assert found["informed"].all()
    assert run.stdout.split()[0] == str(files[0])
    printed = [float(number.strip("[],")) for number in run.stdout.split()[-len(predictions[0].intensities) :]]
    np.testing.assert_allclose(printed, found["intensities"][0], atol=2e-6)


def test_the_tokenizer_that_preprocessing_json_names_gives_the_tokens(exported, examples, predictions):
    facts = read_json(exported / "preprocessing.json")
    (path,) = [name for name in facts["modalities"]["text"]["tokenizer"] if name.endswith("tokenizer.json")]
    tokenizer = Tokenizer.from_file(str(exported / path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(facts["modalities"]["text"]["tokens"])
    for example, prediction in zip(examples, predictions, strict=True):
        if words := transcript(example):
            tokens = prediction.arrays["tokens"][prediction.arrays["token_mask"]]
            tokenizer.enable_truncation(facts["modalities"]["text"]["tokens"])
            assert tokenizer.encode(words).ids == tokens.tolist()


def test_preprocessing_json_states_sizes_and_labels(exported, evaluated):
    experiment, facts = evaluated[0], read_json(exported / "preprocessing.json")
    assert facts["labels"] == {"names": list(experiment.dataset.label_names), "range": [0.0, 1.0]}
    assert facts["inputs"]["frames"]["shape"] == [3, 16, 16, 3]
    assert facts["inputs"]["audio"] | {"meaning": ""} == {
        "modality": "audio",
        "shape": [8000],
        "dtype": "int16",
        "mask": "audio_mask",
        "needs": [],
        "meaning": "",
    }
    assert facts["modalities"]["audio"] == {"sample_rate": 16000, "seconds": 0.5, "normalize": True}
    assert facts["modalities"]["vision"]["image_mean"] == [0.5, 0.5, 0.5]
    assert facts["clips"]["face_size"] == 32


def test_one_program_serves_three_platforms_and_any_number_of_clips(exported):
    program = export.deserialize(bytearray((exported / "predictor.jax_export").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
    (batch,) = {str(aval.shape[0]) for aval in outputs.values()}
    assert not batch.isdigit()
    assert load_file(exported / "model.safetensors").keys() == program_weights(program).keys()


def program_weights(program):
    (weights, _), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
    return weights


def test_the_folder_predicts_like_the_run_and_names_no_folder_of_its_machine(
    exported, evaluated, examples, predictions
):
    folder = evaluated[1]
    predictor = Predictor.load(exported, devices=jax.devices()[:1])
    assert predictor.fingerprint == Predictor.load(folder, devices=jax.devices()[:1]).fingerprint
    assert not list(exported.rglob("checkpoints"))
    (found,) = predictor.predict(examples[:1])
    assert found.intensities == predictions[0].intensities
    assert found.tokens == predictions[0].tokens
    for path in exported.rglob("*.json"):
        assert str(folder.parent) not in path.read_text()


def test_tensors_that_do_not_fit_the_config_are_named(exported, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    tensors = load_file(exported / "model.safetensors")
    name = next(name for name in tensors if name.endswith("/kernel"))
    save_file({**tensors, name: tensors[name][..., :1].copy()}, copy / "model.safetensors")
    with pytest.raises(UserError, match=rf"{name} is float32 \(.*1\), but float32 .* from the same export"):
        Predictor.load(copy)
    save_file({other: array for other, array in tensors.items() if other != name}, copy / "model.safetensors")
    with pytest.raises(UserError, match=f"{name} is absent, but"):
        Predictor.load(copy)
    (copy / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"cannot be read .*: copy it again"):
        Predictor.load(copy)


def test_an_exported_model_is_neither_trained_further_nor_exported_again(exported, tmp_path):
    with pytest.raises(UserError, match="not trained further"), Workdir(exported).training():
        pass
    with pytest.raises(UserError, match="exported model already"):
        export_model(exported, tmp_path / "again")


def test_a_folder_with_other_content_is_not_replaced(evaluated, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="is no exported model: name a new folder"):
        export_model(evaluated[1], tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_model_card_gives_scores_with_intervals_and_limits_of_use(exported, evaluated):
    card = (exported / "README.md").read_text()
    metrics = json.loads((evaluated[1] / "metrics_test.json").read_text())
    low, high = metrics["mean"]["pearson_interval"]
    assert f"[{low:.3f}, {high:.3f}]" in card
    assert card.startswith("---\nlicense: apache-2.0\n")
    for words in ("consent", "Diagnosis", "Decisions about people", "means nothing", "vision: from scratch"):
        assert words in card


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve({}, tmp_path / "uploads") as (address, requests):
        point_at(address, tmp_path / "cache", monkeypatch)
        yield requests


def test_a_pushed_model_predicts_like_the_run_and_no_code_is_downloaded(
    hub, exported, examples, predictions, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "valid")
    name = push(exported, "org/model")
    assert "visibility=private" in hub
    folder = find_model(name)
    assert f"org/model@{folder.name}" == name
    downloaded = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert downloaded == {
        str(path.relative_to(exported)) for path in exported.rglob("*.*") if path.suffix in (".json", ".safetensors")
    } - {"preprocessing.json"}
    (found,) = Predictor.load(folder, devices=jax.devices()[:1]).predict(examples[:1])
    assert found.intensities == predictions[0].intensities
    assert find_model("org/model") == folder


def test_a_refused_upload_and_an_unknown_model_are_explained(hub, exported, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "expired")
    with pytest.raises(UserError, match=r"was written, but not uploaded to org/model \(.*401.* hf upload org/model"):
        push(exported, "org/model")
    with pytest.raises(UserError, match="--model=org/none@main: no such folder, and not available"):
        find_model("org/none@main")
    with pytest.raises(UserError, match=r"--model=\./none: no such folder$"):
        find_model("./none")
    assert find_model(str(tmp_path)) == Path(tmp_path)
