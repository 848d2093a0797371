"""The speech encoders against PyTorch, and the guarantee that padding changes nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.audio.spec_augment import span_mask
from emi_jax.models.audio.speech_config import Wav2Vec2Config
from emi_jax.models.audio.steps import Steps
from tests.golden.compare import assert_agrees, assert_close
from tests.golden.make import CASES, make_inputs, make_model, run_torch
from tests.modules import DROPOUT, random_params, run

SMALL = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {**SMALL, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
EMOTION = {**SMALL, "emotion_dimensions": 3}
WAVLM = {**SMALL, "model_type": "wavlm", "num_buckets": 8, "max_bucket_distance": 5}
DATA2VEC = {**SMALL, "model_type": "data2vec-audio", "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3}
FAMILIES = {"group": SMALL, "stable": STABLE, "emotion": EMOTION, "wavlm": WAVLM, "data2vec": DATA2VEC}
CONFIG = Wav2Vec2Config.from_dict(SMALL)  # a step sees 30 samples, every 20


def _clips(lengths, samples):
    mask = np.arange(samples)[None] < np.array(lengths)[:, None]
    return np.random.default_rng(0).normal(size=mask.shape).astype(np.float32), mask


SPEECH = [name for name, case in CASES.items() if case.role == "audio"]


@pytest.mark.parametrize("name", SPEECH)
def test_equals_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    model, arrays = make_model(CASES[name], seed=1), make_inputs(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    assert_agrees(tmp_path, "audio", arrays, run_torch(model, **arrays))


@pytest.mark.parametrize("name", [name for name in SPEECH if not CASES[name].padded])
def test_each_padded_clip_equals_pytorch_on_the_clip_alone(name, tmp_path):
    """With a group norm or stacked positional convolutions PyTorch gives other values in a padded batch."""
    pytest.importorskip("torch")
    model = make_model(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    waveform, mask = _clips([1700, 900], 1700)
    alone = {"inputs": waveform[1:, :900]}
    encoder, params = assert_agrees(tmp_path, "audio", alone, expected := run_torch(model, **alone))
    sequence, pooled = run(encoder, params, waveform, mask)
    steps = expected["sequence"].shape[1]
    assert_close(sequence[1:, :steps], expected["sequence"])
    assert_close(pooled[1:], expected["sequence"].mean(1))


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_padding_changes_nothing(config):
    encoder = build_encoder(config)
    waveform, mask = _clips([300, 170, 0], 300)
    params = random_params(encoder, waveform, mask)
    sequence, pooled = run(encoder, params, waveform, mask)
    noise = np.pad(np.where(mask, waveform, 1e3), ((0, 0), (0, 211)), constant_values=-1e3)
    sequence_other, pooled_other = run(encoder, params, noise, np.pad(mask, ((0, 0), (0, 211))))
    valid = np.asarray(encoder.config.steps.mask(mask))
    assert valid.sum(1).tolist() == [14, 8, 0]
    steps = valid.shape[1]
    np.testing.assert_allclose(sequence[valid], sequence_other[:, :steps][valid], atol=1e-5)
    np.testing.assert_allclose(pooled, pooled_other, atol=1e-5)
    np.testing.assert_array_equal(pooled[2], 0)


@pytest.mark.parametrize(("config", "dtype"), [(SMALL, jnp.bfloat16), (STABLE, jnp.float32)], ids=["group", "stable"])
def test_a_silent_and_an_absent_clip_have_finite_values_and_gradients(config, dtype):
    encoder = build_encoder(config, dtype=dtype)
    waveform, mask = _clips([300, 300, 0], 300)
    waveform[1] = 0
    params = random_params(encoder, waveform, mask)

    def loss(p):
        sequence, pooled = encoder.apply({"params": p}, waveform, mask, deterministic=False, rngs=DROPOUT)
        return jnp.square(sequence).mean() + jnp.square(pooled).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    chex.assert_tree_all_finite((value, gradient))


def test_steps_are_those_of_the_convolutions():
    """Hugging Face's rule, convolution by convolution, for masks whose padding comes last; the last clips are short."""
    lengths = [300, 299, 170, 31, 30, 29, 1, 0]
    expected = []
    for length in lengths:
        for kernel, stride in zip(CONFIG.conv_kernel, CONFIG.conv_stride, strict=True):
            length = (length - kernel) // stride + 1
        expected.append(max(length, 0))
    _, mask = _clips(lengths, 300)
    valid = np.asarray(CONFIG.steps.mask(mask))
    np.testing.assert_array_equal(valid, np.arange(valid.shape[1])[None] < np.array(expected)[:, None])
    assert CONFIG.steps == Steps(30, 20)
    assert Wav2Vec2Config().steps == Steps(400, 320)


def test_a_step_carries_the_share_of_flagged_samples():
    flags = np.random.default_rng(0).random((2, 300)) < 0.3
    expected = np.stack([flags[:, start : start + 30].mean(1) for start in range(0, 300 - 29, 20)], axis=1)
    np.testing.assert_allclose(CONFIG.steps.share(flags), expected, rtol=1e-6)


def test_spans_have_the_counts_the_lengths_and_the_places_of_spec_augment():
    lengths = np.array([60, 40, 12, 3, 0])
    mask = np.arange(60)[None] < lengths[:, None]
    draw = jax.jit(lambda rng: span_mask(rng, mask, mask_prob=0.5, span=5, min_spans=2))
    spans = np.stack([draw(jax.random.key(seed)) for seed in range(200)])
    assert not spans[:, ~mask].any()
    assert not spans[:, 3:].any()  # no room for a span
    covered = spans.sum(-1)
    assert covered[:, 0].min() >= 5
    assert covered[:, 0].max() <= 35  # 6 spans, or 7 with the rounding: never more
    assert covered[:, 2].min() >= 6  # 2 spans at least, which may overlap
    assert (np.abs(spans[:, 0, 10:50].mean(0) - 0.43) < 0.12).all()  # 1 - (1 - 6/56)^5, alike everywhere inside
    for row in spans[:20, 0]:
        edges = np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))
        assert (edges[1::2] - edges[::2]).min() >= 5


def test_training_masks_steps_and_evaluation_does_not():
    config = {**SMALL, "mask_time_prob": 0.5, "mask_feature_prob": 0.5, "mask_time_length": 2, "mask_feature_length": 2}
    still = dict.fromkeys(("hidden_dropout", "activation_dropout", "attention_dropout", "layerdrop"), 0.0)
    waveform, _ = _clips([300], 300)

    def sequence(extra, deterministic):
        encoder = build_encoder({**config, **still, **extra})
        params = random_params(encoder, waveform)
        assert "masked_spec_embed" in params
        return run(encoder, params, waveform, deterministic=deterministic, rngs=DROPOUT)[0]

    reference = sequence({}, True)
    assert np.abs(sequence({}, False) - reference).max() > 1e-3
    np.testing.assert_array_equal(sequence({"apply_spec_augment": False}, False), reference)


def test_a_dropped_layer_returns_its_input():
    encoder = build_encoder({**SMALL, "layerdrop": 1.0})
    waveform, _ = _clips([300], 300)
    params = random_params(encoder, waveform)
    *_, states = run(encoder, params, waveform, deterministic=False, output_hidden_states=True, rngs=DROPOUT)
    np.testing.assert_array_equal(states[1], states[0])


def test_audio_shorter_than_a_step_is_refused():
    with pytest.raises(ValueError, match="29 samples are fewer than the 30"):
        random_params(build_encoder(SMALL), np.zeros((1, 29), np.float32))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**SMALL, "model_type": "hubert", "conv_pos_batch_norm": True}, "conv_pos_batch_norm = True"),
        ({**SMALL, "add_adapter": True}, "add_adapter = True"),
        ({**SMALL, "feat_extract_norm": "batch"}, "feat_extract_norm = 'batch'"),
        ({**SMALL, "conv_stride": [5, 2]}, "one entry for each convolution"),
    ],
)
def test_unsupported_configs_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(config)


def test_groups_must_divide_the_width():
    waveform, _ = _clips([300], 300)
    with pytest.raises(ValueError, match="num_conv_pos_embedding_groups = 3 does not divide hidden_size = 16"):
        random_params(build_encoder({**SMALL, "num_conv_pos_embedding_groups": 3}), waveform)
