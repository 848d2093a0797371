"""A head that reads statistics alone gets them without the features, and each clip is read from the cache once."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.inputs.cached import CachedClips, CachedTransform, FixedClips
from emi_jax.inputs.loader import batches
from emi_jax.inputs.sampling import Epochs

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


def test_batches_of_fixed_clips_are_gathered_and_equal_those_read_clip_by_clip(clips):
    arrays, cached = clips
    transform = CachedTransform(arrays[0][0], pooled=True, sequences=False)
    fixed = FixedClips(cached.sources, transform=transform)
    plan = Epochs(2, 3, seed=5)  # with one unused place
    options = {"seed": 1, "first_step": 1, "steps": 4, "process_index": 1, "process_count": 3}
    expected = list(batches(CachedClips(cached.sources), transform, plan, **options))
    before = cached.sources["vision"][0].reads
    found = list(batches(fixed, transform, plan, **options))
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert array.dtype == other[name].dtype
            np.testing.assert_array_equal(array, other[name])
    list(batches(fixed, transform, plan, steps=4))
    assert np.shares_memory(fixed[1].pooled("vision"), fixed.rows["vision/pooled"])
    assert cached.sources["vision"][0].reads == before + 2


@pytest.mark.parametrize("changes", [{"corrupt": 0.5}, {"augmented": 1}, {"sequences": True}, {"moments": [{}]}])
def test_clips_that_may_change_from_step_to_step_are_not_fixed(clips, changes):
    plain = CachedTransform(clips[0][0][0], pooled=True, sequences=False)
    assert plain.is_fixed
    assert not dataclasses.replace(plain, **changes).is_fixed
