"""Counts the floating-point operations of matrix products and convolutions in traced JAX functions."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr


def count(function: Callable, *arguments: Any) -> float:
    """Operations of one call; multiplications and additions count separately, and every loop iteration counts.

    Of a function mapped over devices, those of one device. What is recomputed in a backward pass counts again; what
    nothing uses, as a gradient into the clips themselves, does not.
    """
    traced = jax.make_jaxpr(function)(*arguments).jaxpr
    used, _ = dce_jaxpr(traced, [True] * len(traced.outvars))
    return _count(used)


def _count(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        kind = equation.primitive.name
        if kind == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, result = _shape(equation.invars[0]), _shape(equation.outvars[0])
            total += 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)
        elif kind == "conv_general_dilated":
            kernel, result = _shape(equation.invars[1]), _shape(equation.outvars[0])
            features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * math.prod(result) * math.prod(kernel) / features
        else:
            inner = [_count(sub) for sub in _inside(equation.params)]
            if kind == "cond":
                total += max(inner)
            elif inner:
                total += sum(inner) * (equation.params["length"] if kind == "scan" else 1)
    return total


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inside(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
