"""Whisper and w2v-BERT from the waveform: windows, padding, silence, training."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.proofs.torch_encoders import run_torch
from emi_jax.encoders.pretrained import load_encoder, save_encoder
from emi_jax.encoders.registry import build_encoder
from emi_jax.errors import UserError
from emi_jax.models.audio.steps import Steps
from tests.golden.compare import assert_close
from tests.golden.make import CASES, GOLDEN, make_model
from tests.modules import DROPOUT, random_params, run

WHISPER = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "max_source_positions": 10,
}
BERT = {
    "model_type": "wav2vec2-bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "left_max_position_embeddings": 3,
    "conv_depthwise_kernel_size": 5,
}
FAMILIES = pytest.mark.parametrize("config", [WHISPER, BERT], ids=["whisper", "bert"])


def _clips(lengths, samples):
    mask = np.arange(samples)[None] < np.array(lengths)[:, None]
    return np.random.default_rng(0).normal(scale=0.1, size=mask.shape).astype(np.float32), mask


@FAMILIES
def test_padding_changes_nothing(config):
    encoder = build_encoder(config)
    waveform, mask = _clips([2560, 1700, 0], 2560)
    params = random_params(encoder, waveform, mask)
    sequence, pooled = run(encoder, params, waveform, mask)
    noise = np.pad(np.where(mask, waveform, 1e3), ((0, 0), (0, 211)), constant_values=-1e3)
    sequence_other, pooled_other = run(encoder, params, noise, np.pad(mask, ((0, 0), (0, 211))))
    valid = np.asarray(encoder.config.steps.mask(mask))
    assert sequence.shape[:2] == valid.shape
    np.testing.assert_allclose(sequence[valid], sequence_other[:, : valid.shape[1]][valid], atol=1e-5)
    np.testing.assert_allclose(pooled, pooled_other, atol=1e-5)
    np.testing.assert_array_equal(pooled[2], 0)


@FAMILIES
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_silent_and_absent_clips_train_with_finite_gradients_in_every_parameter(config, dtype):
    config = config | {"apply_spec_augment": True, "mask_feature_prob": 0.2}
    encoder = build_encoder(config, dtype=dtype, remat=True)
    waveform, mask = _clips([2560, 2560, 0], 2560)
    waveform[1] = 0
    params = random_params(encoder, waveform, mask)

    def loss(p):
        sequence, pooled = encoder.apply({"params": p}, waveform, mask, False, rngs=DROPOUT)
        return jnp.square(sequence).mean() + jnp.square(pooled).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    chex.assert_tree_all_finite((value, gradient))


@FAMILIES
def test_rematerialised_layers_give_the_same_gradients(config):
    still = {"layerdrop": 0.0, "conformer_conv_dropout": 0.0, "apply_spec_augment": False}
    waveform, mask = _clips([2560, 1700], 2560)
    gradients = []
    for remat in (False, True):
        encoder = build_encoder(config | still, remat=remat)
        params = random_params(encoder, waveform, mask)

        def loss(p, encoder=encoder):
            return jnp.square(encoder.apply({"params": p}, waveform, mask, False, rngs=DROPOUT)[0]).mean()

        gradients.append(jax.jit(jax.grad(loss))(params))
    chex.assert_trees_all_close(*gradients, atol=1e-5)


def test_masking_is_for_training_and_can_be_switched_off():
    waveform, _ = _clips([2560], 2560)
    masks = {"mask_time_prob": 0.5, "mask_time_length": 2, "apply_spec_augment": True}
    encoder = build_encoder(WHISPER | masks)
    params = random_params(encoder, waveform)
    reference = run(encoder, params, waveform)[0]
    assert np.abs(run(encoder, params, waveform, deterministic=False, rngs=DROPOUT)[0] - reference).max() > 1e-3
    without = build_encoder(WHISPER | masks | {"apply_spec_augment": False})
    np.testing.assert_array_equal(run(without, params, waveform, deterministic=False, rngs=DROPOUT)[0], reference)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2_bert"])
def test_a_batch_that_ends_early_has_the_steps_of_the_whole_one(name):
    """Arrays without their common padding, and, for w2v-BERT, with an odd number of frames."""
    golden = dict(np.load(GOLDEN / name / "golden.npz"))
    encoder, params = load_encoder(GOLDEN / name)
    clips = slice(1, None)
    sequence, pooled = run(encoder, params, golden["inputs"][clips, :1700], golden["mask"][clips, :1700])
    valid = np.asarray(encoder.config.steps.mask(golden["mask"][clips, :1700]))
    assert sequence.shape[1] == valid.shape[1] == encoder.config.steps.count(1700)
    assert_close(sequence[valid], golden["sequence"][clips, : valid.shape[1]][valid])
    assert_close(pooled, golden["pooled"][clips])


def test_steps_of_whisper_and_w2v_bert():
    assert build_encoder(WHISPER).config.steps == Steps(1040, 320, centred=True)
    assert build_encoder(BERT).config.steps == Steps(560, 320)


@pytest.mark.parametrize("config", [WHISPER | {"encoder_layers": 0}, BERT], ids=["whisper", "bert"])
def test_no_step_changes_with_samples_that_it_does_not_hear(config):
    """The windows of `Steps`, by gradients of the steps before any attention, which reaches all of the clip."""
    encoder = build_encoder(config)
    waveform, _ = _clips([3200], 3200)
    params = random_params(encoder, waveform)

    def step(w, index):
        states = encoder.apply({"params": params}, w, output_hidden_states=True)[2]
        return jnp.square(states[0][0, index]).sum()

    index, steps = 5, encoder.config.steps
    gradient = np.abs(np.asarray(jax.jit(jax.grad(step))(waveform, index)))[0]
    heard = np.flatnonzero(gradient > 1e-7)
    first = index * steps.stride - (steps.width // 2 if steps.centred else 0)
    if config is BERT:  # the normalisation by clip reaches everything, weakly
        inside = gradient[first : first + steps.width].mean()
        assert inside > 3 * np.delete(gradient, np.r_[first : first + steps.width]).mean()
    else:
        assert first <= heard.min() < first + 3
        assert first + steps.width - 3 <= heard.max() < first + steps.width


def test_a_shorter_window_equals_pytorch_with_as_many_positions(tmp_path):
    """Half the window reads the first half of the positions, and no silence beyond it."""
    torch = pytest.importorskip("torch")
    model = make_model(CASES["whisper"], seed=1)
    model.save_pretrained(tmp_path / "whole")
    encoder, params = load_encoder(tmp_path / "whole", "audio", overrides={"chunk_length": 0.1})
    assert params["positions"].shape == (10, 16)
    waveform, mask = _clips([1600, 900], 1600)
    sequence, pooled, states = run(encoder, params, waveform, mask, output_hidden_states=True)
    model.config.max_source_positions = 5
    table = model.encoder.embed_positions
    model.encoder.embed_positions = torch.nn.Embedding.from_pretrained(table.weight[:5])
    expected = run_torch(model, waveform, mask)
    assert_close(np.stack(states), expected["states"])
    assert_close(sequence, expected["sequence"])
    assert_close(pooled, expected["pooled"])
    save_encoder(tmp_path / "short", encoder, params)
    assert load_encoder(tmp_path / "short")[0].config.chunk_length == 0.1


def test_unusable_windows_are_one_line():
    with pytest.raises(UserError, match=r"chunk_length = 0.3: expected a multiple of 0.02 s up to 0.2, or 0 for it"):
        load_encoder(GOLDEN / "whisper", overrides={"chunk_length": 0.3})
    encoder = build_encoder(WHISPER)
    with pytest.raises(UserError, match=r"audio of 0.21 s is longer than the 0.2 s .*config\.data\.seconds"):
        random_params(encoder, np.zeros((1, 3360), np.float32))


def test_positions_of_whisper_are_fixed_sinusoids():
    pytest.importorskip("torch")
    from transformers.models.whisper.modeling_whisper import sinusoids

    encoder = build_encoder(WHISPER)
    waveform, _ = _clips([3200], 3200)
    params = jax.jit(encoder.init)(jax.random.key(0), waveform)["params"]
    np.testing.assert_allclose(params["positions"], sinusoids(10, 16).numpy(), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda p: encoder.apply({"params": p}, waveform)[0].sum()))(params)
    np.testing.assert_array_equal(gradient["positions"], 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BERT | {"position_embeddings_type": "rotary"}, "position_embeddings_type = 'rotary'"),
        (BERT | {"add_adapter": True}, "add_adapter = True"),
        (WHISPER | {"encoder_attention_heads": 3}, "hidden_size = 16 is not a multiple of num_attention_heads = 3"),
        (WHISPER | {"d_model": 0}, "d_model = 0: expected 1 or more"),
        (WHISPER | {"activation_function": "mish"}, "activation_function = 'mish'"),
    ],
)
def test_unsupported_configs_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(config)
