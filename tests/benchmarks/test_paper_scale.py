"""The benchmark of paper scale is the preset's step; here it runs with tiny encoders."""

import jax
import numpy as np
import pytest

from benchmarks.comparison.shapes import Sizes
from benchmarks.compiled import paper_scale
from configs import stage1
from emi_jax.train.mapping import Mapping
from emi_jax.train.parameters import count

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TINY = Sizes(batch=2, num_frames=2, seconds=0.2, num_tokens=8, width=8)
ENCODERS = {
    "vision": {"model_type": "vit", "image_size": 32, **SMALL},
    "audio": {
        "model_type": "wav2vec2",
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        **SMALL,
    },
    "text": {"model_type": "bert", "vocab_size": 50, **SMALL},
}


def prepare(dtype, mapping, encoders=ENCODERS, remat=False):
    """A batch, and the training of it."""
    stage = paper_scale.make_stage(encoders, TINY, dtype, remat)
    return paper_scale.make_batch(encoders, TINY), paper_scale.make_training(stage, mapping)


def make_batch(number):
    return paper_scale.make_batch(ENCODERS, TINY, number)


def test_sizes_equal_the_preset():
    config, sizes = stage1.get_config("vidmimic2"), paper_scale.PAPER
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
    batch, training = prepare("bfloat16", mapping, remat=True)
    compiled = paper_scale.compile_step(batch, training, mapping)
    # Parameters, gradients and both moments are float32 and live at once.
    assert compiled.peak_bytes > 4 * 4 * count(training.params) * 0.9
    losses = paper_scale.run_steps(make_batch, training, mapping, compiled.step, 3)
    assert len(losses) == 3
    assert np.ptp(losses) > 0


def test_a_loss_that_is_not_finite_stops_it():
    mapping = Mapping("pmap", jax.devices()[:1])
    _, training = prepare("float32", mapping)

    def step(state, batch, rng):
        return state, {"loss": np.float32("nan")}

    with pytest.raises(FloatingPointError, match="step 1"):
        paper_scale.run_steps(make_batch, training, mapping, step, 2)
