"""The presets: their settings at full size, and training from pretrained folders when shrunk."""

import logging

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import ablation, heads, robustness, stage1, stage2
from emi_jax.encoders.registry import build_encoder
from emi_jax.encoders.tensors import describe
from emi_jax.errors import UserError
from emi_jax.runs.evaluation import chosen_params, export
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train.parameters import fingerprint, merge
from tests.configs import shrink_sizes, tiny_stage1
from tests.fakes import make_dataset

MODALITIES = ("vision", "audio", "text")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny encoders with random weights as Hugging Face folders, by modality."""
    made = tmp_path_factory.mktemp("encoders")
    experiment = Experiment.open(tiny_stage1(), make_dataset(), made / "run")
    towers = experiment.stage.init(jax.random.PRNGKey(3), {})["towers"]
    experiment.encoders.save(made / "folders", jax.device_get(towers))
    return {modality: str(made / "folders" / modality) for modality in MODALITIES}


def shrunk(config, folders):
    """A paper-scale preset, shrunk to tiny pretrained encoders and short clips."""
    shrink_sizes(config)
    config.train.update(epochs=1, warmup_epochs=0.0, weight_decay=0.0, evaluate_every=1.0)
    for modality in MODALITIES:
        config.model[modality].pretrained = folders[modality]
    return config


def open_and_train(config, workdir):
    experiment = Experiment.open(config, make_dataset(), workdir, jax.devices()[:1])
    train(experiment)
    return experiment


def test_presets_compose_and_scales_come_first():
    assert stage2.get_config("vidmimic2,finetune").preset == "vidmimic2,finetune"
    assert stage2.get_config("finetune").preset == "demo,finetune"
    assert stage2.get_config("finetune").train.frozen == ("^towers/vision/", "^towers/audio/")
    for names, message in (
        ("hugest", "unknown preset 'hugest'; there are demo, vidmimic2"),
        ("demo,vidmimic2", "preset 'vidmimic2' sets the scale of a run"),
        ("finetune,demo", "preset 'demo' sets the scale of a run"),
    ):
        with pytest.raises(UserError, match=message):
            stage2.get_config(names)


@pytest.mark.parametrize(("name", "epochs", "dropped"), [("concatenation", 30, 0.0), ("text_anchored", 50, 0.1)])
def test_winners_heads_have_their_published_sizes_and_training(name, epochs, dropped):
    config = stage2.get_config(f"vidmimic2,{name}")
    assert config.model.head.name == name
    assert config.model.head.concatenation.to_dict() == {
        "width": 1027,
        "audio_hidden": 0,
        "vision_hidden": 768,
        "num_layers": 2,
        "token": "first",
    }
    assert config.model.head.text_anchored.to_dict() == {"width": 512, "num_heads": 4, "token": "first", "dropout": 0.1}
    assert config.model.modality_dropout == dropped
    assert {name: weight for name, weight in config.loss.items() if weight} == {"mse": 1.0}
    train = config.train
    assert (train.learning_rate, train.final_rate, train.warmup_epochs) == (1e-4, 0.0, 1.0)
    assert (train.batch_size, train.epochs, train.weight_decay, train.clip_norm) == (32, epochs, 0.01, 100.0)
    assert train.corrupt == 0.0


@pytest.mark.parametrize(
    ("scratch", "message"),
    [
        (
            {"model_type": "clip_text_model", "vocab_size": 80},
            "token=first reads a class token, and the first token of CLIP has seen no",
        ),
        ({"model_type": "word_descriptors"}, "token=first reads a class token, and descriptors of words have none"),
    ],
)
def test_winners_heads_refuse_encoders_whose_first_token_is_not_a_class_token(scratch, message, tmp_path):
    config = shrink_sizes(stage2.get_config("text_anchored"))
    config.model.modalities = ("text",)
    config.model.text.scratch = ConfigDict(scratch)
    with pytest.raises(UserError, match=message):
        Experiment.open(config, make_dataset(), tmp_path / "run")


@pytest.mark.parametrize("preset", ["demo", "vidmimic2", "vidmimic2,finetune"])
def test_root_moves_the_folders_of_all_runs(preset):
    found = {}
    for module in (stage2, ablation, heads, robustness):
        config = module.get_config(preset)
        scale = preset.split(",")[0]
        assert config.workdir.startswith(f"runs/{scale}/")
        config.root = "elsewhere"
        found[module] = config
        assert config.init_from == "elsewhere/stage1"
        assert config.features.dir == "elsewhere/features"
    assert found[stage2].workdir == ("elsewhere/finetune" if "finetune" in preset else "elsewhere/stage2")
    for study, name in ((ablation, "ablation"), (heads, "heads"), (robustness, "robustness")):
        assert found[study].workdir == f"elsewhere/{name}"
        assert found[study].grid.folder == "elsewhere/ablation"


@pytest.mark.parametrize("stage", [stage1, stage2])
def test_paper_scale_has_the_parameter_counts_of_the_published_encoders(stage):
    """The parameter counts of transformers for ViTModel (ViT-B/16), Wav2Vec2Model (base) and BertModel (base)."""
    config = stage.get_config("vidmimic2")
    assert (config.data.num_frames, config.data.seconds, config.data.num_tokens) == (16, 12.0, 128)
    assert (config.train.batch_size, config.train.epochs, config.train.learning_rate) == (32, 30, 1e-4)
    assert (config.model.dtype, config.model.remat) == ("bfloat16", True)
    counts = {}
    for modality in MODALITIES:
        tensors = describe(build_encoder(config.model[modality].scratch, modality))
        counts[modality] = sum(int(np.prod(tensor.ours)) for tensor in tensors.values())
    assert counts == {"vision": 86_389_248, "audio": 94_371_712, "text": 109_482_240}


def test_both_stages_of_paper_scale_train_from_pretrained_folders(folders, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = shrunk(stage1.get_config("vidmimic2"), folders)
    config.data.image_size = 24
    first = open_and_train(config, tmp_path / "stage1")
    before, after = first.encoders.params, jax.device_get(chosen_params(first))["towers"]
    assert "position embeddings interpolated from images of (16, 16) to (24, 24)" in caplog.text
    assert first.transform.shape.image_size == 24
    assert fingerprint(after["audio"]["encoder"]["features"]) == fingerprint(before["audio"]["encoder"]["features"])
    for modality in MODALITIES:
        assert fingerprint(after[modality]) != fingerprint(before[modality])
    export(first, chosen_params(first))

    config = shrunk(stage2.get_config("vidmimic2,finetune"), folders)
    config.init_from = str(tmp_path / "stage1")
    config.model.head.fusion.update(tcn=False, bilstm=False, decoder=False)  # compiles in a third of the time
    second = open_and_train(config, tmp_path / "stage2")
    assert second.transform.shape.image_size == 24
    start = merge(*second.initial_params())
    assert fingerprint(second.encoders.params) == fingerprint(after)
    again = Experiment.open(config, make_dataset(), tmp_path / "stage2")  # with its own copy of the loaded encoders
    assert fingerprint(again.encoders.params) == fingerprint(after)
    tuned = jax.device_get(chosen_params(second))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), tuned, jax.device_get(start))
    kept = [fingerprint(tuned["towers"][name]) == fingerprint(start["towers"][name]) for name in MODALITIES]
    assert kept == [True, True, False]
    # Adam's first steps move weights by the learning rate regardless of gradients: in the text tower by a tenth.
    text, fusion = (max(jax.tree.leaves(tree)) for tree in (moved["towers"]["text"], moved["fusion"]))
    assert 0.05 < text / fusion < 0.2


def test_token_limits_are_those_of_the_text_encoder(folders, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = shrunk(stage2.get_config("vidmimic2"), folders)
    config.data.num_tokens = 500
    experiment = Experiment.open(config, make_dataset(), tmp_path)
    assert experiment.transform.shape.num_tokens == 64
    assert "tokens: 64 instead of the 500 requested" in caplog.text


def test_missing_weights_and_stage_1_results_name_the_command_that_makes_them(tmp_path):
    config = stage1.get_config("vidmimic2")
    config.model.vision.pretrained = "no/such-model"
    with pytest.raises(UserError, match=r"no/such-model: .*hf download no/such-model --local-dir FOLDER"):
        Experiment.open(config, make_dataset(), tmp_path)
    config = stage2.get_config("vidmimic2,finetune")
    config.init_from = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no stage-1 result in .*nowhere"):
        Experiment.open(config, make_dataset(), tmp_path)


def test_an_encoder_that_cannot_be_built_names_its_section(tmp_path):
    config = tiny_stage1()
    config.model.vision.config.model_type = "swin"
    with pytest.raises(UserError, match=r"config\.model\.vision\.config: model_type = 'swin'"):
        Experiment.open(config, make_dataset(), tmp_path)
