"""A head that reads statistics alone gets them without the features, and each clip is read from the cache once."""

import numpy as np
import pytest
from safetensors.numpy import save

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.inputs.cached import CachedClips, CachedTransform

STEPS, WIDTH = 7, 3


class Counted(list):
    """Records that count how often they are read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def record(rng):
    arrays = {"vision/features": rng.normal(size=(STEPS, WIDTH)).astype(np.float16)}
    arrays |= {f"vision/{name}": np.arange(STEPS) < 5 for name in ("mask", "clean", "supervised")}
    return arrays | {"vision/times": np.arange(STEPS, dtype=np.float32), "labels": rng.random(2).astype(np.float32)}


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    arrays = [[record(rng) for _ in range(2)] for _ in range(2)]
    return arrays, CachedClips({"vision": [Counted(map(save, rendition)) for rendition in arrays]})


def test_statistics_come_without_features_and_clips_are_read_once(clips):
    arrays, cached = clips
    transform = CachedTransform(arrays[0][0], pooled=True, sequences=False)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for index in range(2):
            found = transform(cached[index], rng, index)
            expected = arrays[0][index]
            np.testing.assert_array_equal(
                found["vision/pooled"], pooled_statistics(expected["vision/features"], expected["vision/mask"])
            )
            np.testing.assert_array_equal(found["labels"], expected["labels"])
            assert found["vision/features"].shape == (STEPS, 0)
            assert {name: array.shape for name, array in found.items()} == {
                name: array.shape for name, array in transform.padding.items()
            }
    assert cached.sources["vision"][0].reads == 2


def test_corrupted_clips_have_statistics_of_what_was_spliced(clips):
    arrays, cached = clips
    transform = CachedTransform(arrays[0][0], corrupt=1.0, pooled=True, sequences=False)
    found = transform(cached[0], np.random.default_rng(0), 0)
    steps = CachedTransform(arrays[0][0], corrupt=1.0)(cached[0], np.random.default_rng(0), 0)["vision/features"]
    assert (steps != arrays[0][0]["vision/features"]).any()
    np.testing.assert_array_equal(found["vision/pooled"], pooled_statistics(steps, arrays[0][0]["vision/mask"]))
    assert found["vision/features"].shape == (STEPS, 0)
