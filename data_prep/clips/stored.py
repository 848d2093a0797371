"""Clip options stored with a run or dataset: they are read as data and never cause an import on their own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from data_prep.clips.detectors import YUNET
from data_prep.clips.options import ON_THIS_MACHINE, ClipOptions
from data_prep.clips.yunet import SHA256, read_model
from data_prep.errors import CorpusError


def stored_options(
    stored: Mapping[str, Any], detector: str = "", asr: str = "", detector_model: str = ""
) -> ClipOptions:
    """The options for reading new clips in the same way as those of a stored run.

    A custom detector or recogniser (MODULE:FUNCTION) is imported when clips are read. Its name in a stored file is not
    enough for that: the user has to give the same name again. A model file is known by its hash, and the stored options
    hold no path to it: it is the one on the Hugging Face hub, or the user gives a file with this hash.

    Args:
        stored: what `ClipOptions.stored` returned.
        detector: the user's --detector; "" if not given.
        asr: the user's --asr; "" if not given.
        detector_model: the user's --detector-model, a path; "" if not given.

    Raises:
        CorpusError: the fields are not those of `ClipOptions`, the user gives another value than the stored one, or a
            function or model file is needed and the user does not name it.
    """
    fields = [field for field in dataclasses.fields(ClipOptions) if field.name not in ON_THIS_MACHINE]
    for field in fields:
        value, kind = stored.get(field.name), type(field.default)
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise CorpusError(
                f"stored clip options hold {field.name}={value!r}, expected {kind.__name__}: copy dataset.json again"
            )
    if unknown := sorted(set(stored) - {field.name for field in fields}):
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
    return ClipOptions(**stored, detector_path=_model_path(stored, detector_model))


def options_to_name(stored: Mapping[str, Any]) -> list[str]:
    """The options that `stored_options` needs from the user for reading new clips, as on a command line."""
    functions = [f"--{option}={stored[option]}" for option in ("detector", "asr") if ":" in stored.get(option, "")]
    return [*functions, *(["--detector-model=PATH"] if _is_of_user(stored) else [])]


def _is_of_user(stored: Mapping[str, Any]) -> bool:
    """Whether the detector's model file is another one than the hub's; its hash is "" where no pictures were read."""
    return stored.get("detector") == YUNET and stored.get("detector_model", "") not in ("", SHA256)


def _model_path(stored: Mapping[str, Any], given: str) -> str:
    """The detector's model file: the given one, or "" for the one on the hub."""
    detector, sha256 = stored["detector"], stored["detector_model"]
    if detector != YUNET:
        if given:
            raise CorpusError(f"--detector-model={given}: the run's clips were read with {detector}; leave it out")
    elif given:
        read_model(given, sha256)
    elif _is_of_user(stored):
        raise CorpusError(
            f"the run's faces were found with a user's model file (SHA-256 {sha256}), which is not stored with "
            "the run: give it with --detector-model=PATH"
        )
    return given
