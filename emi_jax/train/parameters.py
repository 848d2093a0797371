"""Parameter trees by path: `towers/text/encoder/layers_0/attention/query/kernel` and patterns over such paths."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from flax import traverse_util

from emi_jax.errors import UserError

Value = TypeVar("Value")


def first_match(params: Any, rules: Sequence[tuple[str, Value]], field: str) -> Any:
    """The value, for each parameter, of the first rule whose pattern occurs in its path.

    Args:
        params: a tree of dicts.
        rules: (regular expression, value); matched anywhere in the path, so anchor with `^` and `$` where needed.
        field: the config field that holds the rules, for error messages.

    Returns:
        A tree of the same structure.

    Raises:
        UserError: a pattern matches no parameter, or a parameter is covered by no pattern.
    """
    paths = traverse_util.flatten_dict(params, sep="/")
    for pattern, _ in rules:
        if not any(re.search(pattern, path) for path in paths):
            roots = sorted({"/".join(path.split("/")[:2]) for path in paths})
            raise UserError(
                f"{field}: pattern {pattern!r} matches no parameter; parameters start with {', '.join(roots)}"
            )
    values = {}
    for path in paths:
        found = [value for pattern, value in rules if re.search(pattern, path)]
        if not found:
            raise UserError(f"{field}: no pattern covers the parameter {path}; end the rules with ('.*', VALUE)")
        values[path] = found[0]
    return traverse_util.unflatten_dict(values, sep="/")


def split(
    params: Any, frozen_patterns: Sequence[str], field: str, trained_patterns: Sequence[str] = ()
) -> tuple[Any, Any]:
    """Splits a tree into (trained, frozen).

    Args:
        params: a tree of dicts.
        frozen_patterns: a parameter is frozen if one of them occurs in its path ...
        field: the config field that holds them, for error messages.
        trained_patterns: ... and none of these does.

    Raises:
        UserError: a pattern matches no parameter, or all are frozen.
    """
    rules = [*((pattern, False) for pattern in trained_patterns), *((pattern, True) for pattern in frozen_patterns)]
    rules.append(("", False))
    flat, frozen = traverse_util.flatten_dict(params), traverse_util.flatten_dict(first_match(params, rules, field))
    trained = {path: value for path, value in flat.items() if not frozen[path]}
    held = {path: value for path, value in flat.items() if frozen[path]}
    if not trained:
        raise UserError(f"{field}: {list(frozen_patterns)} freezes every parameter; nothing is left to train")
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(held)


def merge(trained: Mapping, frozen: Mapping) -> dict:
    """The inverse of `split`."""
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(trained) | traverse_util.flatten_dict(frozen))


def count(params: Any) -> int:
    """Number of scalars in a tree."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))


def fingerprint(params: Any) -> str:
    """SHA-256 over paths, dtypes, shapes and bits of all parameters."""
    digest = hashlib.sha256()
    for path, value in sorted(traverse_util.flatten_dict(params, sep="/").items()):
        array = np.asarray(value)
        digest.update(f"{path} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
