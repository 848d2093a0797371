"""The text encoders against PyTorch, and guarantees beyond PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.text.bert import end_position
from tests.golden.compare import assert_agrees
from tests.golden.make import CASES, make_inputs, make_model, run_torch
from tests.modules import DROPOUT, random_params, run

SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
BERT = {"model_type": "bert", **SMALL, "max_position_embeddings": 12}
CLIP = {"model_type": "clip_text_model", **SMALL, "max_position_embeddings": 12, "eos_token_id": 3}
BOTH = pytest.mark.parametrize("config", [BERT, CLIP], ids=["bert", "clip"])


def _texts():
    mask = np.arange(8)[None] < np.array([8, 5, 1, 0])[:, None]
    tokens = np.random.default_rng(0).integers(4, 30, mask.shape)
    tokens[0, 7], tokens[1, 4], tokens[2, 0] = 3, 3, 3
    return tokens, mask


@pytest.mark.parametrize("name", ["bert", "clip_text", "clip_text_legacy"])
def test_equals_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    model, arrays = make_model(CASES[name], seed=1), make_inputs(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    assert_agrees(tmp_path, "text", arrays, run_torch(model, **arrays))


@BOTH
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


@pytest.mark.parametrize(("config", "dtype"), [(BERT, jnp.bfloat16), (CLIP, jnp.float32)], ids=["bert", "clip"])
def test_a_text_of_padding_alone_has_finite_values_and_gradients(config, dtype):
    tokens, mask = _texts()
    encoder = build_encoder(config, dtype=dtype)
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


@BOTH
def test_too_many_tokens_are_refused(config):
    with pytest.raises(ValueError, match="13 tokens, the encoder has 12 positions"):
        random_params(build_encoder(config), np.zeros((1, 13), int))


@pytest.mark.parametrize(
    ("field", "value"),
    [("position_embedding_type", "relative_key"), ("is_decoder", True), ("hidden_act", "silu")],
)
def test_unsupported_bert_configs_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        build_encoder({**BERT, field: value})
