"""The benchmark of paper scale is the preset's step; here it runs with tiny encoders."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.compiled import paper_scale
from configs import stage1
from emi_jax.train.mapping import Mapping
from emi_jax.train.parameters import count

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TINY = paper_scale.Sizes(
    num_frames=2,
    image_size=32,
    seconds=0.2,
    num_tokens=8,
    width=8,
    vision=SMALL,
    audio={**SMALL, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
    text={**SMALL, "vocab_size": 50},
)


def test_it_measures_the_preset():
    config, sizes = stage1.get_config("vidmimic2"), paper_scale.Sizes()
    data, train = config.data, config.train
    assert (sizes.num_frames, sizes.seconds, sizes.num_tokens) == (data.num_frames, data.seconds, data.num_tokens)
    assert sizes.width == config.model.width
    assert (train.frozen, train.rate_factors) == (paper_scale.FROZEN, paper_scale.RATE_FACTORS)
    assert {name: config.model[name].scratch.to_dict() for name in ("vision", "audio", "text")} == {
        "vision": {"model_type": "vit"},
        "audio": {"model_type": "wav2vec2"},
        "text": {"model_type": "bert", "vocab_size": 30522},
    }


def test_the_step_is_compiled_measured_and_run():
    mapping = Mapping("pmap", jax.devices()[:1])
    training = paper_scale.make_training(paper_scale.make_stage(TINY, "bfloat16", remat=True), mapping)
    compiled = paper_scale.compile_step(TINY, training, mapping)
    # Parameters, gradients and both moments are float32 and live at once.
    assert compiled.peak_bytes > 4 * 4 * count(training.params) * 0.9
    losses = paper_scale.run_steps(TINY, training, mapping, compiled.step, 3)
    assert len(losses) == 3
    assert np.ptp(losses) > 0


def test_flops_are_those_of_the_products():
    """A layer's products, 24 D^2 and 4 D T for each step (Kaplan et al. 2020, 2.1), and twice that backward."""
    flops = {}
    for layers in (1, 3):
        sizes = dataclasses.replace(TINY, vision={**SMALL, "num_hidden_layers": layers})
        mapping = Mapping("shard_map", jax.devices()[:1])
        training = paper_scale.make_training(paper_scale.make_stage(sizes, "float32", remat=False), mapping)
        state = jax.eval_shape(training.begin, training.params)
        lowered = training.step.lower(state, mapping.put(paper_scale.make_batch(sizes)), jax.random.PRNGKey(0))
        flops[layers] = lowered.cost_analysis()["flops"]
    D, T, images = 32, 1 + 4, 4
    by_hand = 3 * images * T * (2 * (4 * D * D + 2 * D * 64) + 4 * T * D)
    assert by_hand < (flops[3] - flops[1]) / 2 < 2 * by_hand  # norms, activations and AdamW are not in the formula


def test_a_loss_that_is_not_finite_stops_it():
    mapping = Mapping("pmap", jax.devices()[:1])
    training = paper_scale.make_training(paper_scale.make_stage(TINY, "float32", remat=False), mapping)

    def step(state, batch, rng):
        return state, {"loss": np.float32("nan")}

    with pytest.raises(FloatingPointError, match="step 1"):
        paper_scale.run_steps(TINY, training, mapping, step, 2)
