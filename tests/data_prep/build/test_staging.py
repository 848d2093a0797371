"""Staged clips: complete files are kept; clips with damaged files are read again."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from data_prep.build import staging
from data_prep.build.staging import content_digest, fingerprint, load_staged, signature, stage_clip, staged_path
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.errors import CorpusError
from tests.data_prep.conftest import tone, write_video

OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")


@pytest.fixture
def source(tmp_path):
    path = write_video(tmp_path / "a.wav", None, sound=tone(0.5), codecs=("", "pcm_s16le"))
    return ClipSource("x" * 255, video=path, transcript="so funny", labels=(0.5, float("nan")), split="train")


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda data: b"", cut, flip, lambda data: b"\0" * len(data)])
def test_a_damaged_staged_file_is_read_again(source, tmp_path, damage):
    first = stage_clip(source, tmp_path, OPTIONS)
    path = staged_path(source, tmp_path, OPTIONS)
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    assert stage_clip(source, tmp_path, OPTIONS) == first
    example = load_staged(path, 2)
    assert content_digest(example) == first.digest
    np.testing.assert_array_equal(example["audio"], read_clip(source, OPTIONS).example["audio"])


@pytest.mark.parametrize("damage", [cut, flip])
def test_damage_found_while_writing_the_dataset_is_an_error(source, tmp_path, damage):
    stage_clip(source, tmp_path, OPTIONS)
    path = staged_path(source, tmp_path, OPTIONS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorpusError, match=r"damaged .*; rerun the same command to read the clip again"):
        load_staged(path, 2)


def test_arrays_of_any_memory_layout_are_staged_unchanged(source, tmp_path, monkeypatch):
    clip = read_clip(source, OPTIONS)
    features = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    example = {**clip.example, "audio": np.arange(8_000, dtype=np.int16)[::2], "text_features": features}
    monkeypatch.setattr(staging, "read_clip", lambda *arguments: clip._replace(example=example))
    stage_clip(source, tmp_path, OPTIONS)
    staged = load_staged(staged_path(source, tmp_path, OPTIONS), 2)
    assert staged.keys() == example.keys()
    np.testing.assert_array_equal(staged["audio"], np.arange(0, 8_000, 2))
    np.testing.assert_array_equal(staged["text_features"], [[0, 1, 2], [3, 4, 5]])


def test_staging_does_not_wait_for_the_disk(source, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("waits for the disk"))
    assert stage_clip(source, tmp_path, OPTIONS) == stage_clip(source, tmp_path, OPTIONS)


def test_complete_staged_file_is_kept(source, tmp_path, monkeypatch):
    first = stage_clip(source, tmp_path, OPTIONS)
    monkeypatch.setattr(staging, "read_clip", lambda *arguments: pytest.fail("the clip was read again"))
    assert stage_clip(source, tmp_path, OPTIONS) == first


def test_replaced_face_images_change_the_signature(tmp_path):
    images = tmp_path / "00001"
    images.mkdir()
    (images / "1.jpg").write_bytes(b"one")
    source = ClipSource("00001", faces=images, split="train")
    before = signature(source, OPTIONS)
    status = images.stat()
    (images / "1.jpg").write_bytes(b"two")
    os.utime(images / "1.jpg", ns=(0, 0))
    os.utime(images, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert signature(source, OPTIONS) != before
    copy = tmp_path / "copy" / "00001"
    shutil.copytree(images, copy)
    assert signature(ClipSource("00001", faces=copy, split="train"), OPTIONS) == signature(source, OPTIONS)


def test_muting_a_clip_changes_its_signature(source):
    assert signature(dataclasses.replace(source, muted=True), OPTIONS) != signature(source, OPTIONS)


def test_the_fingerprint_depends_on_content_and_not_on_order(source, tmp_path):
    example = dict(read_clip(source, OPTIONS).example)
    other = {**example, "transcript": "so sad"}
    clips = [("train", "a", content_digest(example)), ("test", "b", content_digest(other))]
    assert clips[0][2] != clips[1][2]
    assert fingerprint(["Joy"], (0, 1), clips) == fingerprint(["Joy"], (0, 1), clips[::-1])
    assert fingerprint(["Joy"], (0, 1), clips) != fingerprint(["Joy"], (0, 1), clips[:1])
    assert content_digest({**example, "labels": np.full(3, np.nan, np.float32)}) == content_digest(
        {**example, "labels": np.zeros(0, np.float32)}
    )


def test_the_face_model_and_not_its_path_decides_the_signature(source):
    here, there, other = (
        dataclasses.replace(OPTIONS, detector="yunet", detector_model=sha256, detector_path=path)
        for sha256, path in (("ab", "/here/m.onnx"), ("ab", "/there/m.onnx"), ("cd", "/here/m.onnx"))
    )
    assert signature(source, here) == signature(source, there) != signature(source, other)
