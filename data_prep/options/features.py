"""The options that name users' own features: --features, --feature-columns and --feature-rate."""

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from data_prep.corpora.feature_files import FeatureRequest
from data_prep.errors import CorpusError
from data_prep.options.values import names, number
from emi_jax.files import path_option
from emi_jax.modalities import MODALITIES


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    parser.add_argument(
        "--features",
        type=_of_modality(path_option, required=True),
        action="append",
        metavar="MODALITY=PATH",
        help="own features in place of the clips' vision, audio or text: a folder with NAME.npy, NAME.npz, NAME.csv or "
        "NAME.tsv for each clip (OpenFace, py-feat, LibreFace, openSMILE, MuSe, plain), or one table of all clips",
    )
    parser.add_argument(
        "--feature-columns",
        type=_of_modality(names, required=False),
        action="append",
        metavar="[MODALITY=]PATTERN,PATTERN",
        help="columns of --features to use, as AU*_r,pose_* (default: all but times, flags, names and boxes)",
    )
    parser.add_argument(
        "--feature-rate",
        type=_of_modality(number(float, 0.001), required=False),
        action="append",
        metavar="[MODALITY=]HZ",
        help="rows, or pictures, per second of --features in files without times",
    )


def feature_requests(
    places: Iterable[tuple[str, Path]],
    columns: Iterable[tuple[str, tuple[str, ...]]],
    rates: Iterable[tuple[str, float]],
) -> dict[str, FeatureRequest]:
    """Where the user's own features are, by modality.

    Args:
        places: the values of --features, each with its modality.
        columns: those of --feature-columns; the modality "" is the only one of `places`.
        rates: those of --feature-rate, likewise.

    Raises:
        ValueError: a modality is named twice, has no features, or is missing although several have features.
    """
    requests: dict[str, FeatureRequest] = {}
    for modality, place in places:
        if modality in requests:
            raise ValueError(f"--features {modality}={place}: {modality} features are given already")
        requests[modality] = FeatureRequest(place)
    settings: tuple[tuple[str, str, Iterable[tuple[str, Any]]], ...] = (
        ("--feature-columns", "columns", columns),
        ("--feature-rate", "rate", rates),
    )
    for option, field, values in settings:
        known = set()
        for modality, value in values:
            first = next(iter(requests), "")
            if not modality and len(requests) > 1:
                raise ValueError(f"{option} must name one of {', '.join(requests)}, as in {option}={first}=...")
            own = modality or first
            if own not in requests or own in known:
                raise ValueError(f"{option}: expected once for each of --features, found {own or 'no features'}")
            known.add(own)
            requests[own] = dataclasses.replace(requests[own], **{field: value})
    return requests


def parse_features(values: Iterable[str]) -> dict[str, FeatureRequest]:
    """Where the user's own features of new clips are, by modality; columns and rate are those of the run's dataset.

    Args:
        values: the values of --features, as in vision=DIR.

    Raises:
        CorpusError: a value does not name a modality and a path, or a modality is named twice.
    """
    parse = _of_modality(path_option, required=True)
    try:
        return feature_requests(list(map(parse, values)), (), ())
    except argparse.ArgumentTypeError as error:
        raise CorpusError(f"--features: {error}") from None
    except ValueError as error:
        raise CorpusError(str(error)) from None


def _of_modality(parse: Callable[[str], Any], required: bool) -> Callable[[str], tuple[str, Any]]:
    """Makes a parser of MODALITY=VALUE, as in vision=DIR.

    Args:
        parse: parses the value.
        required: whether the modality must be given; if not, a value without one has the modality "".
    """

    def parse_pair(text: str) -> tuple[str, Any]:
        modality, equals, value = text.partition("=")
        if equals and modality in MODALITIES:
            return modality, parse(value)
        if required or equals:
            expected = "=..., ".join(MODALITIES)
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}=...")
        return "", parse(text)

    return parse_pair
