"""Steps, predictor and encoders can be lowered for CPUs, NVIDIA GPUs and TPUs without having the hardware.

The settings are those that `run.py` chooses on each platform: cuDNN's attention on GPUs in half precision, XLA's on the
others, and the forms of LSTM and convolution that `emi_jax/kernels` chooses by platform. cuDNN's LSTM is not among
them: it cannot be lowered without JAX's CUDA plugin.
"""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from jax._src.cudnn import fused_attention_stablehlo

from emi_jax.encoders import attention_choice
from emi_jax.encoders.registry import BIASED_ATTENTION, ENCODERS, build_encoder
from emi_jax.modalities import TEXT, VISION
from emi_jax.models.vision.patches import height_width
from emi_jax.runs.experiment import Experiment
from emi_jax.train.averaging import exponential
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import split
from emi_jax.train.step import create_state, make_step
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset
from tests.golden.make import GOLDEN

ALL, WITH_XLA, WITH_CUDNN = ("cpu", "cuda", "tpu"), ("cpu", "tpu"), ("cuda",)
DEVICES = 2
CUDNN = "__cudnn$fmha"
"""How the names of cuDNN's attention kernels begin."""
FAMILIES = {json.loads(path.read_text())["model_type"]: path for path in sorted(GOLDEN.glob("*/config.json"))}
GPU = types.SimpleNamespace(
    client=types.SimpleNamespace(platform_version="cuda 13000"), compute_capability="9.0", device_kind="a GPU"
)


@pytest.fixture
def with_gpu(monkeypatch):
    """Lowers as on a machine that has an NVIDIA GPU: what is asked of its driver is answered here."""
    monkeypatch.setattr(attention_choice, "_has_cudnn_attention", lambda device: True)
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91400)


def exported(function, platforms, *arguments):
    """The exported function; cuDNN's kernels are no stable part of StableHLO, and may be in it here."""
    names = [f"{CUDNN}{kind}Softmax{way}" for kind in ("", "ScaleBias") for way in ("", "Backward")]
    checks = [export.DisabledSafetyCheck.custom_call(name) for name in names]
    return export.export(function, platforms=platforms, disabled_checks=checks)(*arguments)


def check_attention(program, platforms):
    assert program.platforms == platforms
    assert (CUDNN in program.mlir_module()) == (platforms == WITH_CUDNN)


CASES = [("float32", ALL), ("bfloat16", WITH_XLA), ("bfloat16", WITH_CUDNN)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def setting(request):
    """The dtype and the platforms; on GPUs with cuDNN's attention."""
    dtype, platforms = request.param
    if platforms == WITH_CUDNN:
        request.getfixturevalue("with_gpu")
    return dtype, platforms


@pytest.mark.parametrize("make_config", [tiny_stage1, tiny_stage2])
def test_the_step_and_the_predictor_are_exported(make_config, setting, tmp_path):
    """Only shapes are needed; towers and attention are those of a real run."""
    dtype, platforms = setting
    config = make_config()
    config.model.dtype, config.model.remat = dtype, dtype == "bfloat16"  # as at paper scale
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:DEVICES])
    rng, stage, optimizer = jax.random.PRNGKey(0), experiment.stage, optax.adamw(1e-3)
    params = jax.eval_shape(lambda: stage.init(rng, {}))
    trained, frozen = split(params, config.train.frozen, "frozen")
    state = jax.eval_shape(lambda params, rest: create_state(params, rest, optimizer, averaged=True), trained, frozen)
    batch = {name: np.stack([array] * 8) for name, array in experiment.transform.padding.items()}
    mapping = Mapping("shard_map", experiment.mapping.devices)
    step = mapping.map(make_step(stage, optimizer, exponential(0.9)), (REPLICATED, SHARDED, REPLICATED), donate=(0,))

    program = exported(step, platforms, state, batch, rng)
    check_attention(program, platforms)
    assert program.nr_devices == DEVICES
    after, metrics = jax.tree.unflatten(program.out_tree, program.out_avals)
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)
    assert metrics["loss"].shape == ()
    if make_config is tiny_stage2:
        predictor = exported(
            mapping.map(stage.explain, (REPLICATED, SHARDED), output=SHARDED), platforms, params, batch
        )
        check_attention(predictor, platforms)
        outputs = jax.tree.unflatten(predictor.out_tree, predictor.out_avals)
        assert outputs["predictions"].shape == (8, 6)


def test_every_family_has_a_config_here():
    assert FAMILIES.keys() == ENCODERS.keys() - {"new"}  # which is saved as "gte"


@pytest.mark.parametrize("platforms", [WITH_XLA, WITH_CUDNN], ids="-".join)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_each_family_is_exported_in_bfloat16_with_its_gradient(model_type, platforms, request):
    config, dtype = json.loads(FAMILIES[model_type].read_text()), jnp.dtype("bfloat16")
    wide = dict.fromkeys(("num_attention_heads", "n_heads", "encoder_attention_heads"), 2)  # cuDNN takes heads of 8
    encoder = build_encoder(config | wide, dtype=dtype, remat=True)
    devices, biased = jax.devices()[:1], model_type in BIASED_ATTENTION
    if platforms == WITH_CUDNN:
        request.getfixturevalue("with_gpu")
        devices = [GPU]
    width = attention_choice.head_width(encoder.config)
    attention = attention_choice.choose_attention("auto", dtype, devices, width, biased)
    encoder = encoder.clone(attention_implementation=attention)
    inputs, mask = inputs_of(ENCODERS[model_type][0], encoder.config)
    params = jax.eval_shape(encoder.init, jax.random.key(0), inputs, mask)

    def loss(params, inputs, mask):
        sequence, pooled = encoder.apply(params, inputs, mask, deterministic=True)
        return sequence.sum() + pooled.sum()

    program = exported(jax.jit(jax.grad(loss)), platforms, params, inputs, mask)
    assert program.platforms == platforms
    assert attention == ("cudnn" if platforms == WITH_CUDNN and not biased else "xla")
    assert (CUDNN in program.mlir_module()) == (attention == "cudnn")
    assert jax.tree.map(np.shape, jax.tree.unflatten(program.out_tree, program.out_avals)) == jax.tree.map(
        np.shape, params
    )


def inputs_of(modality, config):
    """Shapes of two inputs of an encoder, and of their masks."""
    if modality == VISION:
        return jax.ShapeDtypeStruct((2, *height_width(config.image_size), 3), jnp.float32), None
    if modality == TEXT:
        return jax.ShapeDtypeStruct((2, 6), jnp.int32), jax.ShapeDtypeStruct((2, 6), bool)
    return jax.ShapeDtypeStruct((2, 3200), jnp.float32), jax.ShapeDtypeStruct((2, 3200), bool)
