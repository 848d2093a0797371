"""Optimisations, kept or not: each row races forms of one piece of work, forward and backward, in turn in one process.

python -m benchmarks.compiled.tried --json=tried.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from benchmarks import machine
from benchmarks.comparison import batches
from benchmarks.comparison.worker import hold_threads
from emi_jax.losses import info_nce
from emi_jax.memory import compute_where_called, restart_with_tuned_malloc
from emi_jax.models.attention import attend
from emi_jax.models.dense import dot
from emi_jax.models.gelu import gelu
from emi_jax.models.norm import layer_norm
from emi_jax.models.speech import convolve, convolve_by_fourier
from emi_jax.models.speech_features import NORM_EPSILON, MaskedGroupNorm, count_true, frame
from emi_jax.train.optimizer import adamw, clip

Race = tuple[dict[str, Callable], tuple[Any, ...], str]
"""Forms by name, their arguments, and what came of it."""


def main() -> None:
    """Runs the races, prints and keeps them."""
    restart_with_tuned_malloc()
    compute_where_called()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", default=",".join(RACES), help=f"of: {','.join(RACES)}")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.races.split(",")
    if unknown := set(names) - set(RACES):
        parser.error(f"unknown races: {', '.join(sorted(unknown))}; there are {', '.join(RACES)}")
    hold_threads(options.threads)
    report: dict[str, Any] = {"machine": machine.describe("cpu", options.threads), "rows": []}
    for name in names:
        forms, arguments, verdict = RACES[name]()
        report["rows"] += [{"race": name, "verdict": verdict, **row} for row in race(forms, arguments, options.rounds)]
        print(markdown(report["rows"][-len(forms) :]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")


def race(forms: dict[str, Callable], arguments: tuple[Any, ...], rounds: int) -> list[dict[str, Any]]:
    """Times compiled forms in turn: for each its median and quartiles, and its smallest processor time."""
    compiled = {name: jax.jit(form) for name, form in forms.items()}
    arguments = jax.device_put(arguments)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    processor: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 2):  # the first two warm up
        for name, form in compiled.items():
            start, used = time.perf_counter(), time.process_time()
            jax.block_until_ready(form(*arguments))
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - used)
    rows = []
    for name in forms:
        low, median, high = (1e3 * value for value in statistics.quantiles(seconds[name], n=4))
        rows.append({"form": name, "ms": median, "spread_ms": [low, high], "cpu_ms": 1e3 * min(processor[name])})
    return rows


def _backward(function: Callable, number: int = 1) -> Callable:
    """A function's gradients by its first arguments, for a cotangent that differs from place to place."""

    def weighted(*arguments: Any) -> Array:
        result = function(*arguments)
        return (result * jnp.cos(result)).sum()

    return jax.value_and_grad(weighted, argnums=tuple(range(number)))


def _gelu() -> Race:
    x = np.random.default_rng(0).standard_normal((8 * 197, 1536), np.float32)
    forms = {"jax.nn.gelu (erfc)": partial(jax.nn.gelu, approximate=False), "erf": gelu}
    return {name: _backward(form) for name, form in forms.items()}, (x,), "kept: erf"


def _attention() -> Race:
    arrays = _query_key_value(np.random.default_rng(0))
    forms = {
        "jax.nn.dot_product_attention": jax.nn.dot_product_attention,
        "a gradient of its own": lambda query, key, value: attend(query, key, value, None, None),
    }
    return {name: _backward(form, 3) for name, form in forms.items()}, arrays, "kept: its own gradient"


def _query_key_value(rng: np.random.Generator) -> tuple[Array, ...]:
    """For twelve heads over the patches of eight images, bfloat16."""
    return tuple(jnp.asarray(rng.standard_normal((8, 197, 12, 64), np.float32), jnp.bfloat16) for _ in range(3))


def _dropped_attention() -> Race:
    rng = np.random.default_rng(0)
    arrays = _query_key_value(rng)
    keep = jnp.asarray(rng.random((8, 12, 197, 197)) > 0.1)

    def derived(query: Array, key: Array, value: Array) -> Array:
        logits = jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=jnp.float32) / 8
        weights = jnp.where(keep, jax.nn.softmax(logits) / 0.9, 0)
        return jnp.einsum("bhts,bshd->bthd", weights.astype(value.dtype), value)

    forms = {
        "JAX's gradient": derived,
        "a gradient of its own": lambda query, key, value: attend(query, key, value, None, None, keep, 0.1),
    }
    return {name: _backward(form, 3) for name, form in forms.items()}, arrays, "kept: its own gradient"


def _norms() -> Race:
    """Of an AdamW step of 57 million parameters."""
    params = _kernels() | {"bias": np.zeros(3072, np.float32)}  # which is not decayed
    optimizer = adamw(params, lambda _: 1e-4, weight_decay=0.05, clip_norm=1.0, rate_factors=((".*", 1.0),))

    def step(all_norms: bool, params: Any, state: Any) -> Any:
        updates, state = optimizer.update(params, state, params)
        moved = optax.apply_updates(params, updates)
        logged = (params, updates, moved) if all_norms else (params,)
        return moved, state, [optax.tree.norm(tree) for tree in logged]

    forms = {"of gradients, updates and parameters": partial(step, True), "of gradients": partial(step, False)}
    return forms, (params, optimizer.init(params)), "kept: of gradients, that clipping needs"


def _clipping() -> Race:
    """Before the moments of an AdamW step of 57 million parameters."""
    gradients, adam = _kernels(), optax.scale_by_adam()

    def step(clipped: Callable[[Any], Any], gradients: Any, state: Any) -> Any:
        return adam.update(clipped(gradients), state)

    theirs = optax.clip_by_global_norm(1.0)
    forms = {
        "optax.clip_by_global_norm": partial(step, lambda tree: theirs.update(tree, optax.EmptyState())[0]),
        "one factor for all": partial(step, lambda tree: clip(tree, 1.0)),
    }
    return forms, (gradients, adam.init(gradients)), "kept: one factor"


def _kernels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {str(index): rng.standard_normal((768, 3072), np.float32) for index in range(24)}


def _layer_norms() -> Race:
    """Of twelve pre-norm residual layers with products in bfloat16, as in ViT-B/16."""
    rng, flax_norm = np.random.default_rng(0), nn.LayerNorm(use_fast_variance=False)
    x = rng.standard_normal((8 * 197, 768), np.float32)
    kernels = [rng.standard_normal((768, 768), np.float32) / 28 for _ in range(12)]
    scale, bias = np.ones(768, np.float32), np.zeros(768, np.float32)

    def stack(norm: Callable[..., Array], x: Array, kernels: list[Array], scale: Array, bias: Array) -> Array:
        for kernel in kernels:
            x = x + dot(norm(x, scale, bias), kernel, jnp.dtype("bfloat16"))
        return x

    forms = {
        "JAX's gradient": partial(
            stack, lambda x, scale, bias: flax_norm.apply({"params": {"scale": scale, "bias": bias}}, x)
        ),
        "a gradient of its own": partial(stack, partial(layer_norm, epsilon=1e-6)),
    }
    arguments = (x, kernels, scale, bias)
    return {name: _backward(form, 4) for name, form in forms.items()}, arguments, "kept: its own gradient"


def _frozen_kernels() -> Race:
    """The hidden layers of twelve MLPs, forward, on the steps of four clips of two seconds."""
    rng, half = np.random.default_rng(0), jnp.dtype("bfloat16")
    x = rng.standard_normal((4 * 99, 768), np.float32)
    kernels = [rng.standard_normal((768, 3072), np.float32) for _ in range(12)]
    rounded = [jnp.asarray(kernel, half) for kernel in kernels]
    forms = {
        "rounded in every step": lambda x, kernels, _: [dot(x, kernel, half) for kernel in kernels],
        "rounded once": lambda x, _, kernels: [dot(x, kernel, half) for kernel in kernels],
    }
    return forms, (x, kernels, rounded), "kept: once"


def _info_nce() -> Race:
    left, right, transcript, valid = batches.embeddings(np.random.default_rng(0), 1024, 256)
    scale = jnp.float32(20.0)

    def once(left: Array, right: Array) -> Array:
        return info_nce(left, right, transcript, valid, scale)[0]

    def twice(left: Array, right: Array) -> Array:
        """As several devices have to: each direction's products apart."""
        match = (transcript[:, None] == transcript[None, :]).astype(np.float32)
        targets = match / match.sum(1, keepdims=True)

        def rows(x: Array, others: Array) -> Array:
            logits = scale * jnp.matmul(x, others.T, precision=lax.Precision.HIGHEST)
            return jax.nn.logsumexp(logits, axis=1) - (targets * logits).sum(1)

        return (rows(left, right) + rows(right, left)).sum() / 2

    return (
        {
            "a product for each direction": _backward(twice, 2),
            "one product, read both ways": _backward(once, 2),
        },
        (left, right),
        "kept on one device: one product",
    )


def _linear() -> Race:
    """The input projection of a BiLSTM."""
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((4000, 256), np.float32), rng.standard_normal((256, 1024), np.float32) / 16

    def derived(x: Array, kernel: Array) -> Array:
        return jnp.dot(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), preferred_element_type=jnp.float32)

    forms = {"JAX's gradient": derived, "a gradient of its own": partial(dot, dtype=jnp.dtype("bfloat16"))}
    return {name: _backward(form, 2) for name, form in forms.items()}, (x, kernel), "kept: its own gradient"


def _dilated(dtype: str, verdict: str) -> Race:
    rng, (B, T, C), r = np.random.default_rng(0), (8, 200, 256), 2
    x, kernel = rng.standard_normal((B, T, C), np.float32), rng.standard_normal((3, C, C), np.float32) / 30

    def convolution(x: Array, kernel: Array) -> Array:
        numbers = ("NWC", "WIO", "NWC")
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        return lax.conv_general_dilated(x, kernel, (1,), "SAME", rhs_dilation=(r,), dimension_numbers=numbers)

    def padded(x: Array) -> list[Array]:
        wide = jnp.pad(x, ((0, 0), (r, r), (0, 0)))
        return [wide[:, tap * r : tap * r + T] for tap in range(3)]

    def windows(x: Array, kernel: Array) -> Array:
        taken = jnp.concatenate(padded(x), axis=-1).reshape(-1, 3 * C)
        return dot(taken, kernel.reshape(3 * C, C), jnp.dtype(dtype)).reshape(B, T, C)

    def taps(x: Array, kernel: Array) -> Array:
        parts = [dot(y.reshape(-1, C), kernel[tap], jnp.dtype(dtype)) for tap, y in enumerate(padded(x))]
        return sum(parts[1:], parts[0]).reshape(B, T, C)

    forms = {"convolution": convolution, "a product over windows": windows, "a product for each tap": taps}
    return {name: _backward(form, 2) for name, form in forms.items()}, (x, kernel), verdict


def _group_norm() -> Race:
    """Over the steps of one clip of ten seconds, forward."""
    x, mask = np.random.default_rng(0).standard_normal((1, 31999, 512), np.float32), np.ones((1, 31999), bool)
    params = {"scale": np.ones(512, np.float32), "bias": np.zeros(512, np.float32)}

    def sums(x: Array, mask: Array) -> Array:
        weight = mask[:, :, None].astype(jnp.float32)
        count = weight.sum(axis=1, keepdims=True)
        x = x - (x * weight).sum(axis=1, keepdims=True) / count
        return x * lax.rsqrt((jnp.square(x) * weight).sum(axis=1, keepdims=True) / count + NORM_EPSILON)

    forms = {"sums": sums, "products": lambda x, mask: MaskedGroupNorm().apply({"params": params}, x, mask)}
    return forms, (x, mask), "kept: products"


def _wide_convolution() -> Race:
    """The positional convolution of wav2vec2-base over one clip of ten seconds, forward."""
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((1, 499, 768), np.float32), rng.standard_normal((128, 48, 768), np.float32)
    forms = {"by Fourier transform": convolve_by_fourier, "as it stands": convolve}
    return {name: partial(form, groups=16) for name, form in forms.items()}, (x, kernel), "kept: as it stands"


def _windows() -> Race:
    rng, width, stride = np.random.default_rng(0), 40, 20
    audio, kernel = rng.standard_normal((16, 48_000, 1), np.float32), rng.standard_normal((width, 32), np.float32)

    def slices(x: Array) -> Array:
        last = (x.shape[1] - width) // stride * stride + 1
        return jnp.concatenate([x[:, first : first + last : stride] for first in range(width)], axis=-1)

    def product(cut: Callable[[Array], Array], audio: Array, kernel: Array) -> Array:
        return cut(audio) @ kernel

    forms = {"a strided slice for each tap": slices, "whole strides side by side": partial(frame, width=40, stride=20)}
    raced = {name: _backward(partial(product, form), 2) for name, form in forms.items()}
    return raced, (audio, kernel), "kept where strides divide the width: whole strides"


def _counting() -> Race:
    mask, width, stride = np.arange(48_000)[None] < np.linspace(20_000, 48_000, 16)[:, None], 40, 20

    def every_sample(mask: Array) -> Array:
        total = jnp.cumsum(jnp.pad(mask, ((0, 0), (1, 0))), axis=1, dtype=jnp.int32)
        return total[:, width::stride] - total[:, :-width:stride]

    forms = {"running sum of samples": every_sample, "running sum of strides": partial(count_true, width=40, stride=20)}
    return forms, (mask,), "kept: strides"


RACES: dict[str, Callable[[], Race]] = {
    "gelu": _gelu,
    "attention": _attention,
    "attention with dropout": _dropped_attention,
    "norms in a step": _norms,
    "clipping": _clipping,
    "layer norms (bfloat16)": _layer_norms,
    "frozen kernels (bfloat16)": _frozen_kernels,
    "info_nce": _info_nce,
    "linear layer (bfloat16)": _linear,
    "tcn convolution (float32)": partial(_dilated, "float32", "no difference: a product over windows"),
    "tcn convolution (bfloat16)": partial(_dilated, "bfloat16", "kept: a product over windows"),
    "group norm over time": _group_norm,
    "frozen wide convolution": _wide_convolution,
    "windows of samples": _windows,
    "counting valid samples": _counting,
}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for the documents."""
    lines = ["| work | form | ms | quartiles | CPU ms | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        low, high = row["spread_ms"]
        numbers = f"{row['ms']:.3g} | {low:.3g}-{high:.3g} | {row['cpu_ms']:.3g}"
        lines.append(f"| {row['race']} | {row['form']} | {numbers} | {row['verdict']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
