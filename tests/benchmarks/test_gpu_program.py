"""The programs that a GPU gets at the paper's settings, read without having one.

They use cuDNN's attention, and its LSTM where it is asked for, hold no dense attention mask, multiply in bfloat16 and
have no form that is meant for the CPU.
"""

import re
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn_attention

from benchmarks.comparison import batches, ours
from benchmarks.comparison.shapes import ENCODERS, PAIR_WEIGHTS, STAGE1
from emi_jax.encoders import attention_choice
from emi_jax.kernels import cudnn_lstm
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import split
from emi_jax.train.step import create_state, make_step

SIZES, TINY = STAGE1["tiny"], ENCODERS["tiny"]
LAYERS = sum(config["num_hidden_layers"] for config in TINY.values())


@pytest.fixture
def gpu(monkeypatch):
    """JAX lowers cuDNN's attention as for a Hopper GPU."""
    monkeypatch.setattr(attention_choice, "_has_cudnn_attention", lambda device: True)
    monkeypatch.setattr(cudnn_attention, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn_attention, "check_compute_capability", lambda capability: True)


def step_of(stage, frozen=()):
    """The mapped step and its arguments."""
    rng, optimizer = jax.random.PRNGKey(0), optax.adamw(1e-3)
    trained, held = split(jax.eval_shape(lambda: stage.init(rng, {})), frozen, "frozen")
    state = jax.eval_shape(lambda params, rest: create_state(params, rest, optimizer), trained, held)
    mapping = Mapping("shard_map", jax.devices()[:1])
    return mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED)), state, rng


def test_stage_1(gpu):
    batch = batches.clips(np.random.default_rng(0), SIZES, TINY)
    stage = ours.alignment(TINY, SIZES, PAIR_WEIGHTS["tiny"], batch, "bfloat16")
    step, state, rng = step_of(stage)
    program = step.trace(state, batch, rng).lower(lowering_platforms=("cuda",)).as_text()

    fused = re.findall(r"@__cudnn\$fmhaSoftmax\w*", program)
    assert fused.count("@__cudnn$fmhaSoftmax") == LAYERS
    assert fused.count("@__cudnn$fmhaSoftmaxBackward") == LAYERS
    patches, steps, tokens = 4 + 1, 24, SIZES.num_tokens
    dense = re.findall("|".join(rf"tensor<\d+x\d+x{t}x{t}x\w+>" for t in (patches, steps, tokens)), program)
    assert not dense
    assert "stablehlo.fft" not in program
    products = re.findall(r"stablehlo\.(?:dot_general|convolution).*-> tensor<([\dx]*)x(\w+)>", program)
    wide = [shape for shape, dtype in products if dtype != "bf16"]
    pair = f"{SIZES.batch}x{SIZES.batch}", f"{SIZES.batch}x{SIZES.width}"
    assert len(products) > 10 * LAYERS
    assert set(wide) <= set(pair), "only the contrastive loss multiplies in float32"


def test_stage_2_with_cudnn_has_no_scan_over_the_steps_of_a_voice(monkeypatch):
    rnn = pytest.importorskip("jax.experimental.rnn")
    monkeypatch.setattr(cudnn_lstm, "unavailable", lambda devices: "")
    monkeypatch.setattr(rnn, "gpu_rnn", SimpleNamespace(compute_rnn_workspace_reserve_space_sizes=lambda *_: (0, 16)))
    batch = batches.features(np.random.default_rng(0), SIZES, TINY)
    clips = batches.clips(np.random.default_rng(0), SIZES, TINY)
    stage = ours.intensity(TINY, SIZES, clips, "bfloat16", lstm_implementation="cudnn")
    step, state, rng = step_of(stage, ("^towers/",))
    traced = str(step.trace(state, batch, rng).jaxpr)
    assert (traced.count("rnn_fwd["), traced.count("rnn_bwd[")) == (1, 1)
    assert " scan[" not in traced
