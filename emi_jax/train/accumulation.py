"""Gradients of a batch processed in chunks, equal to those of the whole batch.

The method is GradCache (Gao et al. 2021, arXiv 2101.06983).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Outputs = Any
"""A tree of arrays [b, ...], one row for each clip."""
Value = tuple[jax.Array, dict[str, jax.Array]]


def value_and_gradients(
    outputs: Callable[[Any, Any, jax.Array], Outputs],
    loss: Callable[[Outputs, Any], Value],
    params: Any,
    batch: Any,
    rng: jax.Array,
    chunks: int,
) -> tuple[Value, Any]:
    """The loss of a device's batch, its parts, and its gradients with respect to `params`.

    A loss that compares clips with each other is not a sum over chunks. The outputs of all chunks are therefore
    computed first, without keeping activations. The loss and its gradient with respect to the outputs are then computed
    over the whole batch. Finally each chunk is run again with the same rng, and its part of that gradient is
    backpropagated to the parameters. Only one chunk's activations are in memory at a time, at the cost of a second
    forward pass of the encoders.

    Args:
        outputs: (params, batch, rng) -> a tree of arrays [b, ...]; row i depends on clip i alone.
        loss: (outputs, batch) -> the loss and its parts; may reduce over devices.
        params: the parameters to differentiate with respect to.
        batch: arrays [b, ...].
        rng: for dropout; it is split when there are several chunks.
        chunks: number of chunks, which must divide b; 1 processes the whole batch at once.
    """
    if chunks == 1:
        return jax.value_and_grad(lambda params: loss(outputs(params, batch, rng), batch), has_aux=True)(params)

    pieces = _cut(batch, chunks), jax.random.split(rng, chunks)
    cached = _joined(lax.map(lambda piece: outputs(params, *piece), pieces))
    leaves, structure = jax.tree.flatten(cached)
    differentiable = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def chosen(tree: Outputs) -> list[jax.Array]:
        return [leaf for leaf, is_float in zip(jax.tree.leaves(tree), differentiable, strict=True) if is_float]

    def loss_of(found: list[jax.Array]) -> Value:
        given = iter(found)
        whole = [next(given) if is_float else leaf for leaf, is_float in zip(leaves, differentiable, strict=True)]
        return loss(jax.tree.unflatten(structure, whole), batch)

    value, cotangents = jax.value_and_grad(loss_of, has_aux=True)(chosen(cached))

    def replay(total: Any, piece: tuple[Any, list[jax.Array]]) -> tuple[Any, None]:
        inputs, cotangent = piece
        _, backward = jax.vjp(lambda params: chosen(outputs(params, *inputs)), params)
        return jax.tree.map(jnp.add, total, backward(cotangent)[0]), None

    gradients, _ = lax.scan(replay, jax.tree.map(jnp.zeros_like, params), (pieces, _cut(cotangents, chunks)))
    return value, gradients


def _cut(tree: Any, chunks: int) -> Any:
    """[b, ...] -> [chunks, b / chunks, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(chunks, -1, *leaf.shape[1:]), tree)


def _joined(tree: Any) -> Any:
    """[chunks, b / chunks, ...] -> [b, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
