"""The feature cache: what is written is read, hurt segments carry their flags, and nothing else is taken for it."""

import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.features import CLEAN, STEPWISE, CachedTransform, FeatureCache, hurt, rows

MODALITIES = ("audio", "text")


def make_clip(rng, index, rendition):
    clip = {"clip": np.asarray(index, np.int32), "valid": np.asarray(True), "labels": rng.random(6).astype(np.float32)}
    for modality in MODALITIES:
        clip[f"{modality}/features"] = rng.standard_normal((10, 4)).astype(np.float16)
        clip[f"{modality}/mask"] = np.arange(10) < 8
        clip[f"{modality}/clean"] = np.full(10, rendition == 0)
        clip[f"{modality}/supervised"] = np.arange(10) < 8
    return clip


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    clips = [[make_clip(rng, index, rendition) for index in range(5)] for rendition in range(3)]
    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    for name, rendition in zip((CLEAN, hurt(0), hurt(1)), clips, strict=True):
        assert not cache.has("train", name)
        cache.write("train", name, rendition)
        assert cache.has("train", name)
    return cache.read("train", (CLEAN, hurt(0), hurt(1))), clips


def test_what_is_written_is_read(written):
    cached, clips = written
    assert len(cached) == 5
    for index in range(5):
        for rendition in range(3):
            arrays = cached[index].rendition(rendition)
            for name, array in clips[rendition][index].items():
                np.testing.assert_array_equal(arrays[name], array)
                assert (arrays[name].shape, arrays[name].dtype) == (array.shape, array.dtype)


def test_a_hurt_segment_brings_its_features_and_flags_and_leaves_the_rest(written):
    cached, clips = written
    transform = CachedTransform(MODALITIES, cached[0].rendition(0), corrupt=1.0)
    for seed in range(10):
        arrays = transform(cached[2], np.random.default_rng(seed), 2)
        for modality in MODALITIES:
            clean = arrays[f"{modality}/clean"]
            assert not clean.all()
            features, original = arrays[f"{modality}/features"], clips[0][2][f"{modality}/features"]
            np.testing.assert_array_equal(features[clean], original[clean])
            others = [clips[rendition][2][f"{modality}/features"] for rendition in (1, 2)]
            assert any((features[~clean] == other[~clean]).all() for other in others)
    np.testing.assert_array_equal(cached[2].rendition(0)["audio/features"], clips[0][2]["audio/features"])


def test_without_corruption_the_clip_is_clean(written):
    cached, clips = written
    arrays = CachedTransform(MODALITIES, cached[0].rendition(0))(cached[1], np.random.default_rng(0), 1)
    for modality in MODALITIES:
        for name in STEPWISE:
            np.testing.assert_array_equal(arrays[f"{modality}/{name}"], clips[0][1][f"{modality}/{name}"])


def test_padding_is_neither_valid_nor_a_clip(written):
    cached, _ = written
    padding = CachedTransform(MODALITIES, cached[0].rendition(0)).padding
    assert (bool(padding["valid"]), int(padding["clip"])) == (False, -1)
    assert not padding["audio/mask"].any()


def test_features_of_other_weights_are_an_error(written, tmp_path):
    with pytest.raises(UserError, match=r"other weights, preprocessing or data .*abc.*delete the folder"):
        FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "xyz"))


def test_a_run_of_fewer_modalities_reads_its_own(written, tmp_path):
    _, clips = written
    cached = FeatureCache(tmp_path, {"audio": "abc"}).read("train", (CLEAN, hurt(0)))
    transform = CachedTransform(("audio",), cached[0].rendition(0), corrupt=1.0)
    arrays = transform(cached[2], np.random.default_rng(0), 2)
    assert {name.partition("/")[0] for name in arrays} & set(MODALITIES) == {"audio"}
    assert transform.padding.keys() == arrays.keys()
    clean = arrays["audio/clean"]
    np.testing.assert_array_equal(arrays["audio/features"][clean], clips[0][2]["audio/features"][clean])


def test_a_run_of_fewer_modalities_writes_no_split_that_lacks_the_others(written, tmp_path):
    with pytest.raises(UserError, match="also hold text, which this run does not use: write those of valid"):
        FeatureCache(tmp_path, {"audio": "abc"}).write("valid", CLEAN, [])


def test_a_cache_that_lacks_a_modality_is_refused(tmp_path):
    FeatureCache(tmp_path, {"audio": "abc"}).write("train", CLEAN, [])
    with pytest.raises(UserError, match="are of audio and lack text"):
        FeatureCache(tmp_path, {"audio": "abc", "text": "abc"})


def test_an_unfinished_rendition_does_not_pass_for_whole(tmp_path):
    def broken():
        yield make_clip(np.random.default_rng(0), 0, 0)
        raise KeyboardInterrupt

    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    with pytest.raises(KeyboardInterrupt):
        cache.write("test", CLEAN, broken())
    assert not cache.has("test", CLEAN)


def test_rows_leave_padding_out():
    batch = {"valid": np.array([True, False, True]), "clip": np.array([4, -1, 7])}
    assert [int(row["clip"]) for row in rows([batch, batch])] == [4, 7, 4, 7]
