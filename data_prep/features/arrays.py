"""Reads features from .npy and .npz files. Pickled objects in them are never loaded."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from data_prep.errors import ClipError
from data_prep.features.rows import PICKLED, Layout, Rows, spaced

FEATURES, TIMES, VALID, NAMES, FPS, HOP = "features", "times", "valid", "names", "fps", "hop"
"""Arrays of an .npz file: [T, D] or [D], and optionally seconds [T], truth [T], text [D], rows per second, seconds."""

KNOWN = (FEATURES, TIMES, VALID, NAMES, FPS, HOP)


def layout_of_array(path: Path) -> Layout:
    """What an .npy or .npz file holds.

    Raises:
        ClipError: it cannot be read, or holds something else than features.
    """
    with _opened(path) as arrays:
        features = _features(path, arrays)
        names = [str(name) for name in arrays[NAMES]] if NAMES in arrays else [str(k) for k in range(features.shape[1])]
        if len(names) != features.shape[1] or len(set(names)) != len(names):
            raise ClipError(
                path, f"found {len(set(names))} names for {features.shape[1]} columns, expected one for each"
            )
        needs_rate = len(features) > 1 and not {TIMES, FPS, HOP} & arrays.keys()
    return Layout(path.suffix.lower()[1:], tuple(names), needs_rate=needs_rate)


def read_array(path: Path, names: tuple[str, ...], rate: float) -> Rows:
    """The rows of an .npy or .npz file.

    Args:
        path: the file.
        names: the columns to read, as in the file's layout.
        rate: rows per second, for files without times; 0 if unknown.

    Raises:
        ClipError: as `layout_of_array`; or the arrays do not fit each other.
    """
    own = layout_of_array(path).names
    with _opened(path) as arrays:
        features = _features(path, arrays).astype(np.float64)
        count = len(features)
        if TIMES in arrays:
            times = np.asarray(arrays[TIMES], np.float64).reshape(-1)
        else:
            times = spaced(count, _rate(path, arrays) or rate)
        valid = np.asarray(arrays[VALID], np.float64).reshape(-1) > 0 if VALID in arrays else np.ones(count, bool)
    if not count == len(times) == len(valid):
        raise ClipError(
            path, f"found {count} rows, {len(times)} times and {len(valid)} flags, expected as many of each"
        )
    return Rows(features[:, [own.index(name) for name in names]], times, valid)


def _rate(path: Path, arrays: Mapping[str, np.ndarray]) -> float:
    """The rows per second according to the file; 0 if it does not say."""
    name = next((name for name in (FPS, HOP) if name in arrays), None)
    if name is None:
        return 0.0
    given = arrays[name]
    if given.size != 1 or given.dtype.kind not in "fiu" or not given.item() > 0:
        raise ClipError(path, f"found {name} = {given.tolist()}, expected a positive number")
    return float(given.item()) if name == FPS else 1 / float(given.item())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file by name; an array without a name is FEATURES.

    Raises:
        ClipError: the file cannot be read, or holds pickled objects.
    """
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(array, np.ndarray):
                array.close()
                raise ValueError("it is an .npz file: name it so")
            yield {FEATURES: array}
            return
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaves a damaged file open
            alone = len(arrays.files) == 1 and arrays.files[0] not in KNOWN
            yield {FEATURES if alone else name: arrays[name] for name in arrays.files}
    except ClipError:
        raise
    except Exception as error:  # NumPy, zipfile and the tokenizer of headers each raise different errors
        if any(word in str(error).lower() for word in ("pickle", "object")):
            raise ClipError(path, f"holds Python objects; {PICKLED}") from error
        raise ClipError(path, f"is not a complete .npy or .npz file ({error})") from error


def _features(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The features [T, D]; a single vector [D] is one row."""
    if FEATURES not in arrays:
        raise ClipError(path, f"found the arrays {', '.join(arrays) or 'none'}, expected one named {FEATURES!r}")
    features = np.atleast_2d(arrays[FEATURES])
    if features.ndim != 2 or not features.shape[1] or features.dtype.kind not in "fiub":
        raise ClipError(
            path, f"found {features.dtype} of shape {arrays[FEATURES].shape}, expected numbers [T, D] or [D]"
        )
    return features
