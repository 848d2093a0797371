"""Features in .npy and .npz files, and pickles, which are refused."""

import pickle

import numpy as np
import pytest

from data_prep.errors import ClipError
from data_prep.features.source import FeatureSource, Schema, layout, read_features

VALUES = np.array([[0, 1], [2, 3], [4, 5]], np.float64)


def read(path, rate=0.0):
    own = layout(path)
    return read_features(FeatureSource(Schema(own.source, own.names, rate), path), 12.0, [])


@pytest.mark.parametrize(
    ("arrays", "rate", "times", "rows"),
    [
        ({"features": VALUES, "times": [0.5, 1, 2]}, 0, [0.5, 1, 2], VALUES),
        ({"features": VALUES, "fps": 4}, 0, [0, 0.25, 0.5], VALUES),
        ({"features": VALUES, "hop": 0.5}, 0, [0, 0.5, 1], VALUES),
        ({"features": VALUES, "fps": 4, "times": [1, 2, 3]}, 0, [1, 2, 3], VALUES),
        ({"features": VALUES}, 10, [0, 0.1, 0.2], VALUES),
        ({"arr_0": VALUES}, 10, [0, 0.1, 0.2], VALUES),
        ({"features": VALUES, "fps": 4, "valid": [True, False, True]}, 0, [0, 0.5], VALUES[[0, 2]]),
        ({"features": VALUES[0]}, 0, [0], VALUES[:1]),
        ({"features": VALUES.astype(np.int16), "hop": 1}, 0, [0, 1, 2], VALUES),
        ({"features": np.where(VALUES == 2, np.nan, VALUES), "hop": 1}, 0, [0, 2], VALUES[[0, 2]]),
    ],
)
def test_arrays_are_read_with_times_and_flags(tmp_path, arrays, rate, times, rows):
    np.savez(tmp_path / "a.npz", **arrays)
    features = read(tmp_path / "a.npz", rate)
    np.testing.assert_array_equal(features.values, np.array(rows, np.float32), strict=True)
    np.testing.assert_allclose(features.times, times, rtol=1e-6)


@pytest.mark.parametrize(("array", "rate", "times"), [(VALUES, 25, [0, 0.04, 0.08]), (VALUES[1], 0, [0])])
def test_a_single_array_is_read_at_the_given_rate(tmp_path, array, rate, times):
    np.save(tmp_path / "a.npy", array)
    features = read(tmp_path / "a.npy", rate)
    np.testing.assert_array_equal(features.values, np.atleast_2d(array).astype(np.float32), strict=True)
    np.testing.assert_allclose(features.times, times, rtol=1e-6)


def test_columns_of_arrays_are_named_by_the_file_or_counted(tmp_path):
    np.savez(tmp_path / "a.npz", features=VALUES, fps=25, names=["AU01", "AU02"])
    assert layout(tmp_path / "a.npz")[:2] == ("npz", ("AU01", "AU02"))
    np.save(tmp_path / "a.npy", VALUES)
    assert layout(tmp_path / "a.npy")[:2] == ("npy", ("0", "1"))
    with pytest.raises(ClipError, match=r"--feature-columns does nothing for \.npy files, only for tables"):
        layout(tmp_path / "a.npy", ["0"])


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("ending", [".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy", ".npz"])
def test_pickles_are_refused_without_being_loaded(tmp_path, ending):
    path, opened = tmp_path / f"a{ending}", tmp_path / "opened"
    trap = np.array([Trap(opened)], object)
    if ending == ".npz":
        np.savez(path, features=trap)
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(ClipError, match=r"reading a pickle may run any program.*convert it .* with numpy\.save"):
        read(path)
    np.save(tmp_path / "b.npy", trap)
    with pytest.raises(ClipError, match="holds Python objects; reading a pickle"):
        read(tmp_path / "b.npy")
    assert not opened.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": VALUES, "b": VALUES}, "found the arrays a, b, expected one named 'features'"),
        ({"features": VALUES[None]}, r"found float64 of shape \(1, 3, 2\), expected numbers \[T, D\] or \[D\]"),
        ({"features": np.array(["a"])}, "found <U1 of shape"),
        ({"features": np.zeros((3, 0))}, r"found float64 of shape \(3, 0\)"),
        ({"features": VALUES, "times": [0, 1]}, "found 3 rows, 2 times and 3 flags, expected as many of each"),
        ({"features": VALUES, "fps": 4, "valid": [1]}, "found 3 rows, 3 times and 1 flags"),
        ({"features": VALUES, "fps": 0}, "found fps = 0, expected a positive number"),
        ({"features": VALUES, "hop": [1, 2]}, r"found hop = \[1, 2\], expected a positive number"),
        ({"features": VALUES, "fps": 1, "names": ["a"]}, "found 1 names for 2 columns, expected one for each"),
        ({"features": VALUES, "times": [0, 0, 1]}, "found a row at 0 s after one at 0 s"),
        ({"features": VALUES, "times": [0, np.nan, 1]}, "found no time for 1 of 3 rows"),
    ],
)
def test_unusable_arrays_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ClipError, match=message):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_truncated_files_are_named(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    (np.save if ending == ".npy" else np.savez)(path, VALUES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ClipError, match=r"is not a complete \.npy or \.npz file"):
        read(path)


def test_an_archive_named_like_an_array_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", VALUES)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ClipError, match=r"it is an \.npz file: name it so"):
        read(tmp_path / "a.npy")


def test_a_damaged_header_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, VALUES)
    path.write_bytes(path.read_bytes().replace(b"}", b"(", 1))
    with pytest.raises(ClipError, match=r"is not a complete \.npy or \.npz file"):
        read(path)
