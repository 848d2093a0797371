"""Contradictory or ineffective config fields are reported in one line before anything is encoded or written."""

import dataclasses
import logging

import jax
import pytest

from emi_jax.errors import UserError
from emi_jax.runs import experiment, training
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs
from emi_jax.runs.training import train
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset


@pytest.mark.parametrize(
    ("tiny", "fields", "message"),
    [
        (tiny_stage1, {"model.dtype": "float16"}, "model.dtype='float16': choose one of float32, bfloat16"),
        (tiny_stage1, {"train.clip_norm": -1.0}, r"train.clip_norm=-1 should be 0 or more"),
        (tiny_stage1, {"train.select": "first"}, "train.select='first': choose one of best, last, average"),
        (tiny_stage1, {"train.select": "average"}, "train.select=average: the run has none; set"),
        (
            tiny_stage1,
            {"train.ema": 0.9, "train.swa": 0.5},
            "ema=0.9 and swa=0.5 are two averages",
        ),
        (tiny_stage1, {"train.swa": 1.5}, r"swa=1.5 should be in \[0, 1\]"),
        (tiny_stage2, {"loss.balance": 2.0}, r"loss.balance=2 should be in \[0, 1\]"),
        (tiny_stage2, {"loss.unimodal": 0.3}, "loss.unimodal=0.3 trains the predictions of single modalities, and"),
        (tiny_stage2, {"model.head.fusion.auxiliary": True}, "loss.unimodal=0 trains the predictions of single"),
        (
            tiny_stage2,
            {"model.head.fusion.auxiliary": True, "model.head.fusion.statistics": True, "loss.unimodal": 0.3},
            "config.model.head: auxiliary = True needs sequences = True and statistics = False",
        ),
        (tiny_stage1, {"model.text.layers": "mix"}, "text.pooling=class is of the encoder's last layer, .*layers=mix"),
        (tiny_stage1, {"model.audio.pooling": "class"}, "audio.pooling='class': choose one of mean, attention"),
        (tiny_stage2, {"model.vision.layers": "all"}, "model.vision.layers='all': expected last, mix, or numbers"),
        (tiny_stage2, {"model.audio.layers": "1,7"}, r"layers = \(1, 7\): the encoder has the hidden states 0 to 1"),
        (tiny_stage1, {"model.pairs": ("vision",)}, r"loss.audio=0.3 has no effect.*set --config.loss.audio=0"),
        (tiny_stage1, {"loss.kind": "siglip"}, "loss.kind='siglip': choose one of infonce, sigmoid"),
        (tiny_stage1, {"loss.audio": 0.0}, r"loss.audio=0: a pair that is trained needs a positive weight"),
        (tiny_stage2, {"model.head.fusion.quality": False}, "loss.quality=0.1 has no effect: the head fusion"),
        (tiny_stage2, {"model.head.name": "concatenation"}, "loss.quality=0.1 has no effect: the head concatenation"),
        (tiny_stage2, {"features.renditions": 1}, "features.renditions=1 has no effect without a feature cache"),
        (tiny_stage1, {"augment.voice": 1.5}, "augment.voice=1.5 is out of range: use 0 to 1"),
        (
            tiny_stage2,
            {"augment.noise": (0.2, 0.1)},
            r"augment.noise=\(0.2, 0.1\) should be the lowest and the highest",
        ),
        (
            tiny_stage2,
            {"augment.face": 0.5, "model.modalities": ("text",)},
            r"augment.face=0.5 has no effect: the run reads no faces; set --config.augment.face=0",
        ),
        (
            tiny_stage2,
            {"features.dir": "x", "train.corrupt": 0.0, "augment.voice": 0.5},
            r"augment.voice=0.5 has no effect on features from",
        ),
        (tiny_stage2, {"train.optimizer": "adam"}, r"train.optimizer='adam': .*adamw, muon"),
        (tiny_stage2, {"features.dir": "x"}, r"corrupt=0.3 uses corrupted steps .*renditions=0; use 1 or more"),
    ],
)
def test_fields_without_effect_or_meaning_are_refused(tiny, fields, message, tmp_path):
    config = tiny()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=message):
        Experiment.open(config, make_dataset(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_modality_that_is_named_twice_is_refused(tmp_path):
    config = tiny_stage2()
    config.model.modalities = ("vision", "text", "vision")
    with pytest.raises(UserError, match=r"\('vision', 'text', 'vision'\) name one twice; .*give it once"):
        Experiment.open(config, make_dataset(), tmp_path / "run")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train.frozen": ("^towers/vison/",)}, r"train.frozen: pattern '\^towers/vison/' matches no parameter"),
        ({"train.rate_factors": (("txt", 0.1), (".*", 1.0))}, "train.rate_factors: pattern 'txt' matches no parameter"),
    ],
)
def test_patterns_that_match_nothing_leave_the_folder_untouched(fields, message, tmp_path):
    config = tiny_stage2()
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=message):
        train(Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1]))
    assert not (tmp_path / "config.json").exists()


def test_patterns_of_modalities_that_are_not_in_use_are_left_out(tmp_path, caplog):
    config = tiny_stage2()
    config.model.modalities = ("vision", "text")
    config.train.rate_factors = (("audio", 0.5), ("text", 0.1), (".*", 1.0))
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    with caplog.at_level("INFO"):
        assert training.rate_factors(experiment) == [("text", 0.1), (".*", 1.0)]
    assert "train.rate_factors: 'audio' is left out: the modality is not in use" in caplog.text


def test_the_log_says_how_many_transcripts_are_cut(tmp_path, caplog):
    config = tiny_stage2()
    config.data.num_tokens = 4  # with the start and the end two words
    dataset = make_dataset()
    experiment = Experiment.open(config, dataset, tmp_path, jax.devices()[:1])
    inputs(experiment, "test", augment=False)
    cut = sum(len(row["transcript"].split()) > 2 for row in map(dataset.index("test").__getitem__, range(7)))
    assert cut > 0
    assert f"test: of {cut} of 7 transcripts only the first 4 tokens are read" in caplog.messages


def test_a_missing_validation_split_is_reported_before_anything_is_encoded(tmp_path):
    config = tiny_stage2()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    dataset = dataclasses.replace(make_dataset(), splits={"train": 12, "test": 7})
    with pytest.raises(UserError, match=r"'valid'; it has train \(12 clips\), test \(7 clips\)\. Training needs train"):
        train(Experiment.open(config, dataset, tmp_path / "run", jax.devices()[:1]))
    assert not (tmp_path / "features").exists()
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(("precision", "expected"), [(None, "default (float32)"), ("highest", "highest")])
def test_the_log_reports_the_precision_of_products(precision, expected, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with jax.default_matmul_precision(precision):
        Experiment.open(tiny_stage1(), make_dataset(), tmp_path)
    assert f"compute float32, float32 products with matmul precision {expected} on cpu" in caplog.text


@pytest.mark.parametrize("multiplies", [True, False])
def test_the_log_says_where_bfloat16_saves_no_time(multiplies, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(experiment, "multiplies_bfloat16", lambda: multiplies)
    caplog.set_level(logging.INFO)
    config = tiny_stage1()
    config.model.dtype = "bfloat16"
    Experiment.open(config, make_dataset(), tmp_path)
    assert ("this processor does not multiply bfloat16" in caplog.text) == (not multiplies)
