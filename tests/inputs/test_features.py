"""The feature cache: written features are read, corrupted segments carry their flags, and writers do not collide."""

import threading
import time

import numpy as np
import pytest

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.errors import UserError
from emi_jax.inputs.cached import CachedTransform
from emi_jax.inputs.features import CLEAN, FeatureCache, corrupted, rows
from emi_jax.modalities import STEPWISE
from tests.disks import files_of_at_most

MODALITIES = ("audio", "text")


def make_clip(rng, index, rendition):
    clip = {"clip": np.asarray(index, np.int32), "valid": np.asarray(True), "labels": rng.random(6).astype(np.float32)}
    for modality in MODALITIES:
        clip[f"{modality}/features"] = rng.standard_normal((10, 4)).astype(np.float16)
        clip[f"{modality}/mask"] = np.arange(10) < 8
        clip[f"{modality}/clean"] = np.full(10, rendition == 0)
        clip[f"{modality}/supervised"] = np.arange(10) < 8
        clip[f"{modality}/times"] = np.arange(10, dtype=np.float32) / 5
    return clip


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    clips = [[make_clip(rng, index, rendition) for index in range(5)] for rendition in range(3)]
    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    for name, rendition in zip((CLEAN, corrupted(0), corrupted(1)), clips, strict=True):
        assert not cache.has("text", "train", name)
        cache.write("train", name, rendition, MODALITIES)
        assert cache.has("text", "train", name)
    return cache.read("train", (CLEAN, corrupted(0), corrupted(1))), clips


def test_what_is_written_is_read(written):
    cached, clips = written
    assert len(cached) == 5
    for index in range(5):
        for rendition in range(3):
            arrays = cached[index].rendition(rendition)
            for name, array in clips[rendition][index].items():
                np.testing.assert_array_equal(arrays[name], array)
                assert (arrays[name].shape, arrays[name].dtype) == (array.shape, array.dtype)


def test_clips_are_stored_in_the_order_of_their_rows(tmp_path):
    rng = np.random.default_rng(0)
    clips = [make_clip(rng, index, 0) for index in range(5)]
    cache = FeatureCache(tmp_path, {"text": "abc"})
    cache.write("train", CLEAN, [clips[row] for row in (3, 0, 4, 1, 2)], ["text"])
    assert sorted(path.name for path in (tmp_path / "text").iterdir()) == ["features.json", "train-clean.array_record"]
    stored = cache.read("train", [CLEAN])
    for row in range(5):
        np.testing.assert_array_equal(stored[row].rendition(0)["text/features"], clips[row]["text/features"])


def test_arrays_of_a_short_batch_are_filled_up_with_zeros():
    batch = {"valid": np.array([True, False]), "clip": np.array([7, -1]), "text/mask": np.ones((2, 3), bool)}
    [clip] = rows([batch], {"text/mask": (5,)})
    assert clip["text/mask"].tolist() == [True, True, True, False, False]
    assert clip["clip"] == 7


def test_a_corrupted_segment_brings_its_features_and_flags_and_leaves_the_rest(written):
    cached, clips = written
    transform = CachedTransform(cached[0].rendition(0), corrupt=1.0)
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


def test_an_augmented_copy_exchanges_segments_with_its_own_corrupted_copy(tmp_path):
    """Renditions: clean, two augmented ones, and a corrupted one of each."""
    rng, names = np.random.default_rng(0), ["clean", "a-0", "a-1", "a-0-corrupted", "a-1-corrupted"]
    clips = [make_clip(rng, 0, rendition=int(name.endswith("corrupted"))) for name in names]
    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    for name, clip in zip(names, clips, strict=True):
        cache.write("train", name, [clip], MODALITIES)
    cached, drawn = cache.read("train", names), set()
    transform = CachedTransform(cached[0].rendition(0), corrupt=1.0, augmented=2, pooled=True)
    for seed in range(12):
        arrays = transform(cached[0], np.random.default_rng(seed), 0)
        for modality in MODALITIES:
            features, clean = arrays[f"{modality}/features"], arrays[f"{modality}/clean"]
            spoiled = [clips[number + 2][f"{modality}/features"][~clean] for number in (1, 2)]
            copy = 1 if np.array_equal(features[~clean], spoiled[0]) else 2
            drawn.add(copy)
            np.testing.assert_array_equal(features[~clean], spoiled[copy - 1])
            np.testing.assert_array_equal(features[clean], clips[copy][f"{modality}/features"][clean])
            statistics = pooled_statistics(features, arrays[f"{modality}/mask"])
            np.testing.assert_array_equal(arrays[f"{modality}/pooled"], statistics)
    assert drawn == {1, 2}


def test_without_corruption_the_clip_is_clean(written):
    cached, clips = written
    arrays = CachedTransform(cached[0].rendition(0))(cached[1], np.random.default_rng(0), 1)
    for modality in MODALITIES:
        for name in STEPWISE:
            np.testing.assert_array_equal(arrays[f"{modality}/{name}"], clips[0][1][f"{modality}/{name}"])


def test_padding_is_neither_valid_nor_a_clip(written):
    cached, _ = written
    padding = CachedTransform(cached[0].rendition(0)).padding
    assert (bool(padding["valid"]), int(padding["clip"])) == (False, -1)
    assert not padding["audio/mask"].any()


def test_features_of_other_weights_are_an_error(written, tmp_path):
    with pytest.raises(UserError, match=r"other weights, preprocessing or data .*abc.*delete the folder"):
        FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "xyz"))


def test_a_run_of_fewer_modalities_reads_its_own(written, tmp_path):
    _, clips = written
    cached = FeatureCache(tmp_path, {"audio": "abc"}).read("train", (CLEAN, corrupted(0)))
    transform = CachedTransform(cached[0].rendition(0), corrupt=1.0)
    arrays = transform(cached[2], np.random.default_rng(0), 2)
    assert {name.partition("/")[0] for name in arrays} & set(MODALITIES) == {"audio"}
    assert transform.padding.keys() == arrays.keys()
    clean = arrays["audio/clean"]
    np.testing.assert_array_equal(arrays["audio/features"][clean], clips[0][2]["audio/features"][clean])


def test_a_run_of_more_modalities_writes_only_what_is_missing(written, tmp_path):
    _, clips = written
    cache = FeatureCache(tmp_path, {"audio": "abc", "vision": "xyz"})
    assert [cache.has(name, "train", CLEAN) for name in ("audio", "vision", "text")] == [True, False, True]
    audio = (tmp_path / "audio" / "train-clean.array_record").read_bytes()
    faces = [{"clip": clip["clip"], "vision/features": clip["text/features"][:3]} for clip in clips[0]]
    cache.write("train", CLEAN, faces, ["vision"])
    assert (tmp_path / "audio" / "train-clean.array_record").read_bytes() == audio
    arrays = cache.read("train", [CLEAN])[3].rendition(0)
    np.testing.assert_array_equal(arrays["audio/features"], clips[0][3]["audio/features"])
    np.testing.assert_array_equal(arrays["vision/features"], clips[0][3]["text/features"][:3])


def test_a_clip_has_the_modalities_that_the_run_reads(tmp_path):
    cache = FeatureCache(tmp_path, {"audio": "abc", "text": "abc"})
    clip = make_clip(np.random.default_rng(0), 0, 0) | {"present": np.array([True, False, True])}
    cache.write("train", CLEAN, [clip], MODALITIES)
    for modalities, present in ((("text",), [False, False, True]), (MODALITIES, [False, False, True])):
        cached = FeatureCache(tmp_path, dict.fromkeys(modalities, "abc")).read("train", [CLEAN])
        assert cached[0].rendition(0)["present"].tolist() == present


def test_an_unfinished_rendition_is_not_complete(tmp_path):
    def broken():
        yield make_clip(np.random.default_rng(0), 0, 0)
        raise KeyboardInterrupt

    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    with pytest.raises(KeyboardInterrupt):
        cache.write("test", CLEAN, broken(), MODALITIES)
    assert not cache.has("audio", "test", CLEAN)


def test_rows_leave_padding_out():
    batch = {"valid": np.array([True, False, True]), "clip": np.array([4, -1, 7])}
    assert [int(row["clip"]) for row in rows([batch, batch], {})] == [4, 7, 4, 7]


def test_a_second_writer_finds_what_the_first_has_written(tmp_path):
    first, second = (FeatureCache(tmp_path, {"audio": "abc"}) for _ in range(2))
    seen, entered = [], threading.Event()

    def wait_and_look():
        entered.set()
        with second.sole_writer():
            seen.append(second.has("audio", "train", CLEAN))

    with first.sole_writer():
        waiting = threading.Thread(target=wait_and_look)
        waiting.start()
        assert entered.wait(60)
        time.sleep(0.1)
        assert not seen
        first.write("train", CLEAN, [make_clip(np.random.default_rng(0), 0, 0)], ["audio"])
    waiting.join(60)
    assert seen == [True]
    assert len(second.read("train", [CLEAN])) == 1


def test_two_writers_of_one_rendition_leave_a_complete_file(tmp_path):
    """Where locks do not work, each writer uses a unique temporary name, and one of the files remains in the end."""
    cache, rng = FeatureCache(tmp_path, {"audio": "abc"}), np.random.default_rng(0)
    clips = [make_clip(rng, index, 0) for index in range(3)]

    def clips_during_which_another_writes():
        yield clips[0]
        cache.write("train", CLEAN, clips, ["audio"])
        yield from clips[1:]

    cache.write("train", CLEAN, clips_during_which_another_writes(), ["audio"])
    cached = cache.read("train", [CLEAN])
    for index, clip in enumerate(clips):
        np.testing.assert_array_equal(cached[index].rendition(0)["audio/features"], clip["audio/features"])
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["features.json", "train-clean.array_record"]


def test_an_empty_file_is_rewritten(tmp_path):
    cache = FeatureCache(tmp_path, {"audio": "abc"})
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "train-clean.array_record").touch()
    assert not cache.has("audio", "train", CLEAN)


def test_metadata_that_are_cut_off_are_rewritten_only_if_no_features_depend_on_them(tmp_path, caplog):
    facts = tmp_path / "audio" / "features.json"
    facts.parent.mkdir()
    facts.write_text('{"finger')
    cache = FeatureCache(tmp_path, {"audio": "abc"})
    assert "features.json is cut off and will be rewritten" in caplog.text
    cache.write("train", CLEAN, [make_clip(np.random.default_rng(0), 0, 0)], ["audio"])
    FeatureCache(tmp_path, {"audio": "abc"})
    facts.write_text("")
    with pytest.raises(UserError, match=r"features.json is cut off, so that it is unknown what .* were made from"):
        FeatureCache(tmp_path, {"audio": "abc"})


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path):
    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((64, 256)).astype(np.float16) for _ in range(20)]
    clips = [{"clip": np.asarray(row), "text/features": values} for row, values in enumerate(features)]
    refused = f"^features could not be written to {tmp_path}: .*File too large.*rerun"
    with files_of_at_most(100_000), pytest.raises(UserError, match=refused):
        cache.write("train", CLEAN, clips, ["text"])
    assert [path.name for path in (tmp_path / "text").iterdir()] == ["features.json"]
    cache.write("train", CLEAN, clips, ["text"])
    text = FeatureCache(tmp_path, {"text": "abc"}).read("train", [CLEAN])
    np.testing.assert_array_equal(text[19].rendition(0)["text/features"], clips[19]["text/features"])


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_file_of_features_is_named(written, tmp_path, damage):
    file = tmp_path / "text" / "train-corrupted-0.array_record"
    file.write_bytes(damage(file.read_bytes()))
    cache = FeatureCache(tmp_path, dict.fromkeys(MODALITIES, "abc"))
    with pytest.raises(
        UserError, match=r"train-corrupted-0.array_record is damaged.*: delete it and rerun the same command"
    ):
        [clip.rendition(1) for clip in cache.read("train", (CLEAN, corrupted(0)))]
    file.unlink()
    cache.write("train", corrupted(0), written[1][1], ["text"])
    clip = cache.read("train", (CLEAN, corrupted(0)))[4].rendition(1)
    np.testing.assert_array_equal(clip["text/features"], written[1][1][4]["text/features"])
