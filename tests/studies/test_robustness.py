"""A defect corrupts only its own modality, with the given severity; every model is tested under every defect."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest

from configs import robustness as shipped
from configs.stage2 import resize_heads
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.studies import robustness
from tests.configs import shrink
from tests.fakes import make_dataset, make_example

MASK = 4


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    seconds = np.arange(16000) / 16000
    return {
        "frames": rng.integers(1, 256, (8, 20, 20, 3)).astype(np.uint8),
        "frame_mask": np.arange(8) < 6,
        "frame_supervised": np.arange(8) < 6,
        "audio": (8000 * np.sin(2 * np.pi * 220 * seconds)).astype(np.int16),
        "audio_mask": np.arange(16000) < 12000,
        "tokens": np.arange(10, 26, dtype=np.int32),
        "token_supervised": (np.arange(16) > 0) & (np.arange(16) < 9),
    }


def corrupted(name, arrays, severity, seed=0):
    clean = types.SimpleNamespace(mask_token=MASK)
    return robustness.DEFECTS[name].corrupt(arrays, np.random.default_rng(seed), severity, clean)


@pytest.mark.parametrize("name", [name for name, defect in robustness.DEFECTS.items() if defect.corrupt])
def test_a_defect_changes_its_own_modality_and_copies_its_input(name, arrays):
    before = {key: array.copy() for key, array in arrays.items()}
    after = corrupted(name, arrays, robustness.DEFECTS[name].severities[-1])
    own = {"vision": "frame", "audio": "audio", "text": "token"}[robustness.DEFECTS[name].modality]
    for key, array in before.items():
        np.testing.assert_array_equal(arrays[key], array)
        if not key.startswith(own):
            np.testing.assert_array_equal(after[key], array)
    assert any((after[key] != array).any() for key, array in before.items())


@pytest.mark.parametrize("severity", [0.25, 0.5, 1.0])
def test_severity_is_the_covered_share_of_a_faces_side(severity, arrays):
    changed = (corrupted("occluded face", arrays, severity)["frames"] != arrays["frames"]).any((0, 3))
    np.testing.assert_array_equal([changed.any(1).sum(), changed.any(0).sum()], round(20 * severity))


@pytest.mark.parametrize(("severity", "left"), [(0.25, 4), (0.5, 3), (1.0, 1)])
def test_severity_is_the_share_of_dropped_frames_and_one_is_kept(severity, left, arrays):
    mask = corrupted("dropped frames", arrays, severity)["frame_mask"]
    assert mask.sum() == left
    assert not (mask & ~arrays["frame_mask"]).any()


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_noise_has_the_signal_to_noise_ratio_of_the_severity(snr_db, arrays):
    after, mask = corrupted("noisy voice", arrays, snr_db)["audio"].astype(float), arrays["audio_mask"]
    noise = after - arrays["audio"]
    assert (noise[~mask] == 0).all()
    found = 10 * np.log10(np.square(arrays["audio"][mask].astype(float)).mean() / np.square(noise[mask]).mean())
    assert found == pytest.approx(snr_db, abs=0.3)


def test_words_are_replaced_but_special_tokens_are_not(arrays):
    tokens = corrupted("word errors", arrays, 1.0)["tokens"]
    words = arrays["token_supervised"]
    np.testing.assert_array_equal(tokens[~words], arrays["tokens"][~words])
    assert (tokens[words] == MASK).any()
    assert set(tokens[words]) <= {MASK, *arrays["tokens"][words]}


def test_a_voice_is_corrupted_without_the_text_modality():
    shape = InputShape(6, ("audio",), num_frames=1, image_size=8, num_samples=8000, num_tokens=4)
    clean = ClipTransform(shape, reader=None)
    example, rng = make_example(np.random.default_rng(0), "x"), np.random.default_rng(0)
    arrays = robustness.CorruptedTransform(clean, robustness.DEFECTS["noisy voice"].corrupt, 0.0)(example, rng, 0)
    assert (arrays["audio"] != clean(example, rng, 0)["audio"]).any()


def test_every_model_is_evaluated_under_every_defect(tmp_path, monkeypatch):
    noisy = dataclasses.replace(robustness.DEFECTS["noisy voice"], severities=(None, 20.0, -10.0))
    few = {"noisy voice": noisy, "no words": robustness.DEFECTS["no words"]}
    monkeypatch.setattr(robustness, "DEFECTS", few)
    config = shrink(shipped.get_config())
    config.init_from, config.features.dir = "", str(tmp_path / "features")
    config.features.renditions = 1
    config.model.modalities = ("audio", "text")
    resize_heads(config, width=8, dropout=0.0, num_heads=2)
    config.model.head.fusion.update(tcn=False, bilstm=False, decoder=False)  # compiles in a third of the time
    config.train.update(epochs=2, evaluate_every=2.0)
    config.grid.update(
        seeds=(0, 1),
        folder=str(tmp_path / "grid"),
        cells=tuple(cell for cell in config.grid.cells if cell[0] in ("full", "no-qam")),
    )
    written = robustness.run(config, make_dataset(test=12), tmp_path / "study", "test", jax.devices()[:1])
    assert all(path.stat().st_size for path in written)
    found = json.loads((tmp_path / "study" / "robustness.json").read_text())
    assert found.keys() == few.keys()
    for defect in found.values():
        assert defect["models"].keys() == {"full model", "minus QAM"}
        for curves in defect["models"].values():
            assert np.shape(curves["pearson"]) == np.shape(curves["mse"]) == (len(defect["severities"]), 2)
    noise = found["noisy voice"]["models"]["full model"]
    assert noise["pearson"][0] != noise["pearson"][-1]
    assert noise["pearson"][0] == found["no words"]["models"]["full model"]["pearson"][0], "the clean clips"
    np.testing.assert_allclose(found["no words"]["models"]["full model"]["weight"][-1], 0)
    assert noise["mse"][0] != noise["mse"][-1]
    header, _, *rows = (tmp_path / "study" / "robustness.md").read_text().splitlines()
    columns = [name.strip() for name in header.split("|")]
    [row] = [row for row in rows if "noisy voice" in row and "full model" in row]
    values = [cell.strip() for cell in row.split("|")]
    assert values[columns.index("MSE")] == "{:.3f} to {:.3f}".format(*np.mean(noise["mse"], axis=1)[[0, -1]])
    assert len(rows) == 2 * 2
