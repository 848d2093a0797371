"""Clip options stored with a run or dataset: they are read as data and never cause an import on their own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from data_prep.clips.options import ClipOptions
from data_prep.errors import CorpusError


def stored_options(stored: Mapping[str, Any], detector: str = "", asr: str = "") -> ClipOptions:
    """The options for reading new clips in the same way as those of a stored run.

    A custom detector or recogniser (MODULE:FUNCTION) is imported when clips are read. Its name in a stored file is not
    enough for that: the user has to give the same name again.

    Args:
        stored: fields of `ClipOptions`.
        detector: the user's --detector; "" if not given.
        asr: the user's --asr; "" if not given.

    Raises:
        CorpusError: the fields are not those of `ClipOptions`, the user gives another value than the stored one, or a
            function is stored and the user does not name it.
    """
    for field in dataclasses.fields(ClipOptions):
        value, kind = stored.get(field.name), type(field.default)
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise CorpusError(
                f"stored clip options hold {field.name}={value!r}, expected {kind.__name__}: copy dataset.json again"
            )
    if unknown := sorted(set(stored) - {field.name for field in dataclasses.fields(ClipOptions)}):
        raise CorpusError(f"stored clip options hold the unknown field {unknown[0]!r}; copy dataset.json again")
    for option, given in (("detector", detector), ("asr", asr)):
        used = stored[option]
        if given and given != used:
            raise CorpusError(f"--{option}={given}: the run's own clips were read with {used or 'none'}; leave it out")
        if ":" in used and given != used:
            raise CorpusError(
                f"the run's clips were read with the function {used}, which is imported only if you name it: add "
                f"--{option}={used} if you trust it"
            )
    return ClipOptions(**stored)
