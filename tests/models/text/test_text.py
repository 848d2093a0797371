"""The text encoders against PyTorch, and guarantees beyond PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.text.clip import end_position
from emi_jax.models.text.embedding import positions_without_padding
from tests.golden.compare import assert_agrees
from tests.golden.make import CASES, make_inputs, make_model, run_torch
from tests.modules import DROPOUT, random_params, run

SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
BERT = {"model_type": "bert", **SMALL, "max_position_embeddings": 12}
CLIP = {"model_type": "clip_text_model", **SMALL, "max_position_embeddings": 12, "eos_token_id": 3}
ROBERTA = {**BERT, "model_type": "roberta", "max_position_embeddings": 14}
DISTILBERT = {
    **{"model_type": "distilbert", "vocab_size": 30, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24},
    "max_position_embeddings": 12,
}
GTE = {"model_type": "gte", **SMALL}
MODERNBERT = {"model_type": "modernbert", **SMALL, "num_hidden_layers": 2, "local_attention": 4}
ALL = [BERT, CLIP, ROBERTA, DISTILBERT, GTE, MODERNBERT, {**MODERNBERT, "classifier_pooling": "mean"}]
NAMES = ["bert", "clip", "roberta", "distilbert", "gte", "modernbert", "modernbert-mean"]
EVERY = pytest.mark.parametrize("config", ALL, ids=NAMES)
TABLES = pytest.mark.parametrize("config", ALL[:4], ids=NAMES[:4])


def _texts():
    mask = np.arange(8)[None] < np.array([8, 5, 1, 0])[:, None]
    tokens = np.random.default_rng(0).integers(4, 30, mask.shape)
    tokens[0, 7], tokens[1, 4], tokens[2, 0] = 3, 3, 3
    return tokens, mask


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.role == "text"])
def test_equals_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    model, arrays = make_model(CASES[name], seed=1), make_inputs(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    assert_agrees(tmp_path, "text", arrays, run_torch(model, **arrays))


@EVERY
def test_padding_changes_nothing(config):
    tokens, mask = _texts()
    encoder = build_encoder(config)
    params = random_params(encoder, tokens)
    other = np.where(mask, tokens, 17)
    sequence, pooled = run(encoder, params, tokens, mask)
    sequence_other, pooled_other = encoder.apply(
        {"params": params}, np.pad(other, ((0, 0), (0, 4))), np.pad(mask, ((0, 0), (0, 4)))
    )
    np.testing.assert_allclose(sequence[mask], sequence_other[:, :8][mask], atol=1e-5)
    np.testing.assert_allclose(pooled[:3], pooled_other[:3], atol=1e-5)


@EVERY
def test_a_text_of_padding_alone_has_finite_values_and_gradients(config):
    tokens, mask = _texts()
    encoder = build_encoder(config, dtype=jnp.float32 if config is CLIP else jnp.bfloat16)
    params = random_params(encoder, tokens)

    def loss(p):
        sequence, pooled = encoder.apply({"params": p}, tokens, mask, deterministic=False, rngs=DROPOUT)
        return jnp.square(sequence).mean() + jnp.square(pooled).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_attention_with_dropout_equals_attention_without_where_nothing_is_dropped():
    """Weights are dropped by our own attention, which must agree with JAX's at a vanishing rate."""
    tokens, mask = _texts()
    config = {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 1e-12}
    encoder = build_encoder(config)
    params = random_params(encoder, tokens)
    plain, _ = run(encoder, params, tokens, mask)
    own, _ = run(encoder, params, tokens, mask, deterministic=False, rngs=DROPOUT)
    np.testing.assert_allclose(own[mask], plain[mask], atol=1e-5)
    encoder = build_encoder({**config, "attention_probs_dropout_prob": 0.5})
    dropped, _ = encoder.apply({"params": params}, tokens, mask, deterministic=False, rngs=DROPOUT)
    assert np.abs((dropped - plain)[mask]).max() > 1e-3


def test_a_clip_token_does_not_see_later_tokens():
    tokens, _ = _texts()
    encoder = build_encoder(CLIP)
    params = random_params(encoder, tokens)
    changed = tokens.copy()
    changed[:, 5] = 4 + (changed[:, 5] - 3) % 26
    before, _ = run(encoder, params, tokens)
    after, _ = run(encoder, params, changed)
    difference = np.abs(before - after).max((0, 2))
    np.testing.assert_allclose(difference[:5], 0, atol=1e-6)
    assert (difference[5:] > 1e-4).all()


def test_the_end_token_is_the_first_of_its_id_or_of_the_highest():
    tokens = jnp.array([[1, 9, 3, 3], [5, 2, 9, 9], [1, 4, 4, 4]])
    np.testing.assert_array_equal(end_position(tokens, 3), [2, 0, 0])
    np.testing.assert_array_equal(end_position(tokens, 2), [1, 2, 1])


@TABLES
def test_too_many_tokens_are_refused(config):
    with pytest.raises(ValueError, match="13 tokens, the encoder has 12 positions"):
        random_params(build_encoder(config), np.zeros((1, 13), int))


@pytest.mark.parametrize(
    ("field", "value"),
    [("position_embedding_type", "relative_key"), ("is_decoder", True), ("hidden_act", "mish")],
)
def test_unsupported_bert_configs_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        build_encoder({**BERT, field: value})


def test_positions_of_roberta_skip_padding():
    tokens = jnp.array([[5, 6, 7, 1, 1], [1, 5, 1, 6, 7]])
    np.testing.assert_array_equal(positions_without_padding(tokens, 1), [[2, 3, 4, 1, 1], [1, 2, 1, 3, 4]])


@pytest.mark.parametrize(("config", "limit"), [(BERT, 12), (ROBERTA, 12), (CLIP, 12), (GTE, 8192)])
def test_the_limit_of_tokens_is_what_the_positions_hold(config, limit):
    assert build_encoder(config).config.max_tokens == limit


def test_roberta_needs_the_id_of_padding():
    with pytest.raises(ValueError, match="pad_token_id = None"):
        build_encoder({**ROBERTA, "pad_token_id": None})


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (DISTILBERT, "class token"),
        (GTE, "class token"),
        (MODERNBERT, "class token"),
        ({**MODERNBERT, "classifier_pooling": "mean"}, "mean"),
        ({**ROBERTA, "add_pooling_layer": False}, "class token"),
    ],
)
def test_pooled_is_the_class_token_or_the_masked_mean(config, pooling):
    tokens, mask = _texts()
    tokens, mask = tokens[:3], mask[:3]
    encoder = build_encoder(config)
    sequence, pooled = run(encoder, random_params(encoder, tokens), tokens, mask)
    mean = np.stack([row[valid].mean(0) for row, valid in zip(sequence, mask, strict=True)])
    np.testing.assert_allclose(pooled, sequence[:, 0] if pooling == "class token" else mean, atol=1e-5)
