"""Compares what an accelerator computes with a reference; started by `benchmarks.accelerator`.

`stage1` and `stage2`: loss and gradients of one training step against double precision on the CPU, at tiny sizes and
without dropout, with products in full float32, in float32 as the device multiplies by default (TF32 on recent GPUs),
and in bfloat16 with the attention that `run.py` chooses. `attention` and `lstm`: cuDNN's kernels against the plain
forms, outputs and gradients.
"""

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from benchmarks.comparison import batches, ours
from benchmarks.comparison.shapes import ENCODERS, PAIR_WEIGHTS, STAGE1
from benchmarks.comparison.work import UnavailableError
from benchmarks.comparison.worker import parse_options
from emi_jax.kernels import attention, cudnn_lstm
from emi_jax.models.bilstm import bidirectional_lstm
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.step import create_state, make_step

Row = dict[str, Any]
SIZES = STAGE1["tiny"]
DROPOUTS: dict[str, dict[str, float]] = {
    "vision": {},
    "audio": {"hidden_dropout": 0.0, "activation_dropout": 0.0},
    "text": {"hidden_dropout_prob": 0.0},
}
CHECKED = {name: config | DROPOUTS[name] for name, config in ENCODERS["tiny"].items()}
"""Encoders without dropout."""
FULL, DEFAULT, HALF = "full float32", "float32", "bfloat16"
LIMITS = {FULL: 1e-4, DEFAULT: 2e-2, HALF: 1e-1}
"""Largest relative error of the gradient that passes."""
LENGTHS = 128, 197, 599
"""Steps of a transcript, a picture and a voice at the paper's sizes."""


def main() -> None:
    """Parses the options, compares, and writes a row for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", choices=CHECKS, required=True)
    options = parse_options(parser)
    try:
        found: dict[str, Any] = {"rows": CHECKS[options.check]()}
    except UnavailableError as error:
        found = {"unavailable": str(error)}
    options.out.write_text(json.dumps(found))


def check_step(kind: str) -> list[Row]:
    """Loss and gradients of one step of a stage on the default device, against float64 on the CPU."""
    (cpu,) = jax.devices("cpu")[:1]
    flat = ours.draw(_stage(kind, jnp.float32), std=0.08)
    with ours.float64(), jax.default_device(cpu):
        wide = {path: value.astype(np.float64) for path, value in flat.items()}
        expected = _step(kind, np.float64, wide, cpu)
    rows = []
    for name, limit in LIMITS.items():
        if name == DEFAULT and jax.default_backend() == "cpu":
            continue  # it is full float32 there
        dtype = jnp.bfloat16 if name == HALF else jnp.float32
        with jax.default_matmul_precision("highest" if name == FULL else None):
            loss, gradients = _step(kind, dtype, flat, jax.devices()[0])
        rows += [
            _row(f"{name}, loss", abs(loss - expected[0]) / abs(expected[0]), limit),
            _row(f"{name}, gradients", relative_error(gradients, expected[1]), limit),
        ]
    return rows


def _stage(kind: str, dtype: Any) -> Any:
    batch = _batch()
    if kind == "stage1":
        return ours.alignment(CHECKED, SIZES, PAIR_WEIGHTS["tiny"], batch, dtype)
    return ours.intensity(CHECKED, SIZES, batch, dtype, modality_dropout=0.0, dropout=0.0)


def _batch() -> batches.Batch:
    return batches.clips(np.random.default_rng(0), SIZES, CHECKED)


def _step(kind: str, dtype: Any, flat: dict[str, Any], device: jax.Device) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of a step, and its gradients by path, which the optimiser keeps as its state."""
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda gradients, _, params=None: (jax.tree.map(jnp.zeros_like, gradients), gradients),
    )
    frozen = () if kind == "stage1" else ("^towers/",)
    trained, held = parameters.split(ours.tree(flat), frozen, "frozen")
    mapping = Mapping("shard_map", [device])
    step = mapping.map(make_step(_stage(kind, dtype), keep), (REPLICATED, SHARDED, REPLICATED))
    state = mapping.replicate(create_state(trained, held, keep))
    state, metrics = step(state, mapping.put(_batch()), mapping.replicate(jax.random.PRNGKey(0)))
    gradients = traverse_util.flatten_dict(jax.device_get(state.opt_state), sep="/")
    return float(metrics["loss"]), {path: np.asarray(value, np.float64) for path, value in gradients.items()}


def check_attention() -> list[Row]:
    """Attention by cuDNN in bfloat16 against the plain form in float32, without and with padding."""
    if jax.default_backend() != "gpu":
        raise UnavailableError("cuDNN's attention runs on NVIDIA GPUs alone")
    rng, rows = np.random.default_rng(0), []
    for length in LENGTHS:
        *arrays, weight = (jnp.asarray(rng.standard_normal((4, length, 12, 64)), jnp.bfloat16) for _ in range(4))
        valid = jnp.asarray(np.arange(length) < np.array([[length], [length // 2], [1], [0]]))
        for mask in (None, valid[:, None, None]):
            if mask is not None:  # the result of a query that sees no key means nothing
                weight = weight * valid.any(axis=1)[:, None, None, None]
            fused, plain = (
                _with_gradients(
                    functools.partial(
                        attention.dot_product_attention, attention_mask=mask, implementation=implementation
                    ),
                    [x.astype(dtype) for x in arrays],
                    weight.astype(dtype),
                )
                for implementation, dtype in (("cudnn", jnp.bfloat16), ("xla", jnp.float32))
            )
            what = f"{length} steps{'' if mask is None else ', padded'}"
            rows.append(_row(what, relative_error(fused, plain), 2e-2))
    return rows


def check_lstm() -> list[Row]:
    """The bidirectional LSTM of cuDNN against the scan, both in full float32."""
    if reason := cudnn_lstm.unavailable(jax.devices()):
        raise UnavailableError(reason)
    rng = np.random.default_rng(0)
    x, mask, weight = batches.sequences(rng, STAGE1["paper"], LENGTHS[-1])
    width = x.shape[-1]
    shapes = (2, width, 4 * width), (2, width, 4 * width), (2, 4 * width)
    inputs = [x, *(rng.uniform(-1, 1, shape).astype(np.float32) * width**-0.5 for shape in shapes)]
    weight = np.concatenate([weight, weight], axis=-1)
    with jax.default_matmul_precision("highest"):
        fused, plain = (
            _with_gradients(lambda x, *rest, form=form: form(x, mask, *rest), inputs, weight)
            for form in (cudnn_lstm.bidirectional, bidirectional_lstm)
        )
    return [_row(f"{LENGTHS[-1]} steps, padded", relative_error(fused, plain), 1e-3)]


def _with_gradients(function: Callable, inputs: Sequence[Any], weight: Any) -> dict[str, Any]:
    """The result of a function, weighted, and the gradients of its sum by each input."""

    def total(*inputs: Any) -> tuple[Any, Any]:
        result = function(*inputs) * weight
        return result.sum(dtype=jnp.float32), result

    gradients, result = jax.jit(jax.grad(total, argnums=tuple(range(len(inputs))), has_aux=True))(*inputs)
    return {"result": result, **{str(place): gradient for place, gradient in enumerate(gradients)}}


def relative_error(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """The norm of the difference of all arrays over the norm of those expected."""
    difference, norm = 0.0, 0.0
    for path, value in expected.items():
        wide = np.asarray(value, np.float64)
        difference += float(np.square(np.asarray(found[path], np.float64) - wide).sum())
        norm += float(np.square(wide).sum())
    return (difference / norm) ** 0.5


def _row(what: str, error: float, limit: float) -> Row:
    return {"what": what, "error": error, "limit": limit, "passes": error <= limit}


CHECKS: dict[str, Callable[[], list[Row]]] = {
    "stage1": lambda: check_step("stage1"),
    "stage2": lambda: check_step("stage2"),
    "attention": check_attention,
    "lstm": check_lstm,
}

if __name__ == "__main__":
    main()
