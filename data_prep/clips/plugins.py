"""Imports functions that a user names on the command line as MODULE:FUNCTION, never those named only in a file."""

import importlib
from collections.abc import Callable
from typing import Any

from data_prep.errors import CorpusError


def load_function(name: str, option: str) -> Callable[..., Any]:
    """The function `MODULE:FUNCTION`, imported.

    Args:
        name: MODULE:FUNCTION.
        option: the command-line option that names it, for error messages.

    Raises:
        CorpusError: there is no such module, or no such function in it.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise CorpusError(f"{option}={name}: {error}; expected MODULE:FUNCTION that can be imported") from error
    if not callable(found):
        raise CorpusError(f"{option}={name}: found a {type(found).__name__}, expected a function")
    return found
