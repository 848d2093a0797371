"""The JAX side of each case, run as in training: `make_step` mapped by `Mapping`, with a donated state."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.comparison import batches, ours
from benchmarks.comparison.cases import CLIP, DECAY, RATE, STEPS, WARMUP, Case
from benchmarks.comparison.shapes import ENCODERS, PAIR_WEIGHTS
from benchmarks.comparison.work import UnavailableError, Work
from emi_jax.kernels import cudnn_lstm
from emi_jax.losses import info_nce
from emi_jax.models.bilstm import GatedBiLSTM, Implementation
from emi_jax.models.tcn import TCN
from emi_jax.models.transformer import Attention, Layer
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.intensity import Intensity
from emi_jax.train import flops, parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Kind, Mapping
from emi_jax.train.optimizer import make_optimizer, schedule
from emi_jax.train.step import create_state, make_step


@dataclasses.dataclass(frozen=True)
class _Settings:
    dtype: Any
    mapping: Kind
    remat: bool
    lstm: Implementation


def prepare(case: Case, dtype: str, mapping: Kind = "pmap", remat: bool = False, lstm: Implementation = "xla") -> Work:
    """Builds a case.

    Args:
        case: the case to build.
        dtype: as in `config.model.dtype`.
        mapping: as in `config.train.mapping`.
        remat: as in `config.model.remat`, for cases that train encoders.
        lstm: as in `config.model.lstm`, for cases of stage 2.

    Raises:
        UnavailableError: the case cannot run here, or `remat` or `lstm` has no effect on it.
    """
    if remat and case.kind not in ("stage1", "fed"):
        raise UnavailableError("recomputation has no effect: no encoder is trained")
    if lstm == "cudnn" and (reason := cudnn_lstm.unavailable(jax.devices()[:1])):
        raise UnavailableError(reason)
    if lstm == "cudnn" and case.kind not in ("stage2", "cached", "predict"):
        raise UnavailableError("the case has no fusion with an LSTM")
    builders = {
        "stage1": _stage1,
        "stage2": _stage2,
        "cached": _stage2,
        "fed": _stage1,
        "predict": _predict,
        "bilstm": _bilstm,
        "tcn": _tcn,
        "attention": _attention,
        "contrastive": _contrastive,
        "input": _input,
    }
    return builders[case.kind](case, _Settings(jnp.dtype(dtype), mapping, remat, lstm))


def _stage1(case: Case, settings: _Settings) -> Work:
    encoders = ENCODERS[case.preset]
    source, send = _clips(case), _send_lazily
    if case.kind == "fed":
        from benchmarks.comparison.demo_data import loader
        from emi_jax.inputs.loader import to_device

        (source, encoders), send = loader(case, encoders), to_device
    first = next(source)

    def stage(remat: bool) -> Alignment:
        weights = PAIR_WEIGHTS[case.preset]
        return ours.alignment(encoders, case.sizes, weights, _one(first), settings.dtype, remat)

    clips = itertools.chain([first], source)
    counted = stage(remat=False)  # recomputed operations do not count
    return _training(stage(settings.remat), counted, clips, case.sizes.batch, (), settings.mapping, send)


def _stage2(case: Case, settings: _Settings) -> Work:
    source = _clips(case) if case.kind == "stage2" else _features(case)
    stage = _intensity(case, settings)
    return _training(stage, stage, source, case.sizes.batch, ("^towers/",), settings.mapping)


def _predict(case: Case, settings: _Settings) -> Work:
    stage, source = _intensity(case, settings), _clips(case)
    params = jax.device_put(ours.tree(ours.draw(stage)))
    forward = jax.jit(stage.forward)

    def step(batch: Any) -> Any:
        return jax.block_until_ready(forward(params, batch))

    return Work(lambda: jax.device_put(next(source)), step, 1, lambda: flops.count(forward, params, next(_clips(case))))


def _intensity(case: Case, settings: _Settings) -> Intensity:
    example = _one(next(_clips(case)))
    return ours.intensity(ENCODERS[case.preset], case.sizes, example, settings.dtype, lstm_implementation=settings.lstm)


def _send_lazily(source: Iterator[Any], put: Callable[[Any], Any]) -> Iterator[Any]:
    """Sends each batch when the step requests it."""
    return map(put, source)


def _training(
    stage: Alignment | Intensity,
    counted: Alignment | Intensity,
    source: Iterator[Any],
    clips: int,
    frozen: tuple[str, ...],
    kind: Kind,
    send: Callable[[Iterator[Any], Callable[[Any], Any]], Iterator[Any]] = _send_lazily,
) -> Work:
    trained, held = parameters.split(ours.tree(ours.draw(stage)), frozen, "frozen")
    optimizer = make_optimizer(
        trained, schedule(RATE, 0.0, WARMUP, STEPS), weight_decay=DECAY, clip_norm=CLIP, rate_factors=((".*", 1.0),)
    )
    mapping = Mapping(kind, jax.devices()[:1])
    take = mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED), donate=(0,))
    state = mapping.replicate(create_state(trained, held, optimizer))
    rng = mapping.replicate(jax.random.PRNGKey(0))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (state, rng))
    first = next(source)
    on_devices = send(itertools.chain([first], source), mapping.put)

    def step(batch: Any) -> Any:
        nonlocal state
        state, metrics = take(state, batch, rng)
        return jax.block_until_ready(metrics["loss"])

    def operations() -> float:
        one = Mapping("shard_map", jax.devices()[:1])
        traced = one.map(make_step(counted, optimizer), (REPLICATED, SHARDED, REPLICATED))
        return flops.count(traced, shapes[0], first, shapes[1])

    return Work(lambda: next(on_devices), step, clips, operations)


def _gradients(loss: Callable, params: Any, inputs: tuple[Any, ...], clips: int) -> Work:
    """The gradients of a scalar with respect to parameters and first input."""
    take = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    params, inputs = jax.device_put((params, inputs))

    def step(batch: Any) -> Any:
        return jax.block_until_ready(take(params, *batch))

    return Work(lambda: inputs, step, clips, lambda: flops.count(take, params, *inputs))


def _part(module: Any, case: Case) -> Work:
    x, mask, gradient = batches.sequences(np.random.default_rng(0), case.sizes, case.length)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, mask)["params"]
    params = ours.tree(ours.draw_like(shapes))

    def loss(params: Any, x: Array, mask: Array, gradient: Array) -> Array:
        return (module.apply({"params": params}, x, mask) * gradient).sum()

    return _gradients(loss, params, (x, mask, gradient), case.sizes.batch)


def _bilstm(case: Case, settings: _Settings) -> Work:
    return _part(GatedBiLSTM(case.sizes.width, dtype=settings.dtype), case)


def _tcn(case: Case, settings: _Settings) -> Work:
    return _part(TCN(dtype=settings.dtype), case)


def _attention(case: Case, settings: _Settings) -> Work:
    module = Attention(Layer(case.sizes.num_heads, 4 * case.sizes.width, dtype=settings.dtype))
    x, _, gradient = batches.sequences(np.random.default_rng(0), case.sizes, case.length)
    shapes = jax.eval_shape(lambda key: module.init(key, x), jax.random.key(0))["params"]

    def loss(params: Any, x: Array, gradient: Array) -> Array:
        return (module.apply({"params": params}, x) * gradient).sum()

    return _gradients(loss, ours.tree(ours.draw_like(shapes)), (x, gradient), case.sizes.batch)


def _contrastive(case: Case, settings: _Settings) -> Work:
    left, right, transcript, valid = batches.embeddings(np.random.default_rng(0), case.length, case.sizes.width)

    def loss(left: Array, right: Array, transcript: Array, valid: Array) -> Array:
        total, number = info_nce(left, right, transcript, valid, jnp.asarray(20.0))
        return total / number

    return _gradients(loss, left, (right, transcript, valid), case.length)


def _input(case: Case, settings: _Settings) -> Work:
    from benchmarks.comparison.demo_data import loader

    source, _ = loader(case, ENCODERS[case.preset])
    return Work(lambda: jax.device_put(next(source)), jax.block_until_ready, case.sizes.batch, lambda: 0.0)


def _clips(case: Case) -> Any:
    rng, encoders = np.random.default_rng(0), ENCODERS[case.preset]
    return itertools.cycle([batches.clips(rng, case.sizes, encoders) for _ in range(2)])


def _features(case: Case) -> Any:
    rng, encoders = np.random.default_rng(0), ENCODERS[case.preset]
    return itertools.cycle([batches.features(rng, case.sizes, encoders) for _ in range(4)])


def _one(batch: batches.Batch) -> batches.Batch:
    return {name: array[:1] for name, array in batch.items()}
