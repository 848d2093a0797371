"""Datasets with users' own features in place of pictures, sound or words."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import clear_leftovers, open_dataset, write_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.clip import ClipSource, duration, read_clip
from data_prep.corpora.feature_files import FeatureRequest
from data_prep.errors import ClipError, CorpusError
from data_prep.features.source import FeatureSource, Schema
from data_prep.media.remarks import NO_FEATURES, NO_VISION, UNREADABLE, Remark
from tests.data_prep.conftest import OPTIONS, tone, write_table, write_video
from tests.data_prep.features.test_tables import OPENFACE, OPENSMILE

NPZ = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
SPLITS = {"a": "train", "b": "train", "c": "valid", "d": "test"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of four clips without any media, and features of three modalities; d has no words."""
    source = tmp_path_factory.mktemp("features")
    rows = [[name, number / 10, split] for number, (name, split) in enumerate(SPLITS.items())]
    write_table(source / "labels.csv", ["Filename", "Joy", "Split"], *rows)
    for modality in ("face", "voice", "words"):
        (source / modality).mkdir()
    for number, name in enumerate(SPLITS):
        (source / f"face/{name}.csv").write_text(OPENFACE.replace("1.25", f"{number}.25"))
        (source / f"voice/{name}.csv").write_text(OPENSMILE.replace("2.500000e-01", f"{number}.500000e-01"))
        if name != "d":
            np.savez(source / f"words/{name}.npz", features=NPZ + number, times=[0.25, 1.5])
    return source


def request(source, **more):
    return {
        "vision": FeatureRequest(source / "face", more.get("columns", ())),
        "audio": FeatureRequest(source / "voice"),
        "text": FeatureRequest(source / "words"),
    }


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    """A dataset made of features alone."""
    out = tmp_path_factory.mktemp("prepared")
    report = prepare("folder", out, source=folder, features=request(folder), processes=1, progress=False)
    return out, report


def examples(out):
    builder = open_dataset(out)
    return {
        example["id"].decode(): example for split in builder.info.splits for example in builder.as_data_source(split)
    }


def test_no_face_detector_is_loaded_where_features_replace_pictures(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.clips.options.load_detector", lambda *arguments: pytest.fail("it was loaded"))
    features = {"vision": FeatureRequest(folder / "face")}
    assert prepare("folder", tmp_path, source=folder, features=features, processes=1, progress=False).is_new


def test_a_dataset_may_consist_of_features_alone(prepared):
    out, report = prepared
    found = examples(out)
    assert set(found) == set(SPLITS)
    assert report.left_out == []
    for number, name in enumerate(SPLITS):
        example = found[name]
        assert (len(example["faces"]), len(example["audio"]), example["transcript"]) == (0, 0, b"")
        vision = np.array([[-0.351, 21.1, 0, 0], [-0.349, 20.9, number + 0.25, 1]], np.float32)
        np.testing.assert_array_equal(example["vision_features"], vision, strict=True)
        np.testing.assert_array_equal(example["vision_feature_times"], np.array([0, 0.1], np.float32), strict=True)
        audio = np.array([[0.5, 0], [(number * 10 + 5) / 100, 31.5]], np.float32)
        np.testing.assert_allclose(example["audio_features"], audio, rtol=1e-6)
        np.testing.assert_array_equal(example["audio_feature_times"], np.array([0, 0.01], np.float32), strict=True)
        words = np.zeros((0, 3), np.float32) if name == "d" else NPZ + number
        np.testing.assert_array_equal(example["text_features"], words, strict=True)
        np.testing.assert_array_equal(
            example["text_feature_times"], np.array([] if name == "d" else [0.25, 1.5], np.float32), strict=True
        )
    assert check_dataset(out) == []


def test_metadata_names_columns_source_and_available_modalities(prepared):
    metadata = open_dataset(prepared[0]).info.metadata
    assert metadata["features"] == {
        "vision": {
            "width": 4,
            "names": ["gaze_angle_x", "pose_Tx", "AU01_r", "AU28_c"],
            "source": "openface2",
            "rate": 0.0,
        },
        "audio": {
            "width": 2,
            "names": ["Loudness_sma3", "F0semitoneFrom27.5Hz_sma3nz"],
            "source": "opensmile",
            "rate": 0.0,
        },
        "text": {"width": 3, "names": ["0", "1", "2"], "source": "npz", "rate": 0.0},
    }
    assert metadata["available"]["train"] == {"vision": 2, "audio": 2, "text": 2, "labels": 2}
    assert metadata["available"]["test"] == {"vision": 1, "audio": 1, "text": 0, "labels": 1}


def test_the_report_counts_clips_rows_and_valid_rows(prepared):
    out, report = prepared
    assert report.features == {
        "vision": {"source": "openface2", "columns": 4, "clips": 4, "rows": 16, "valid": 0.5},
        "audio": {"source": "opensmile", "columns": 2, "clips": 4, "rows": 8, "valid": 1.0},
        "text": {"source": "npz", "columns": 3, "clips": 3, "rows": 6, "valid": 1.0},
    }
    assert report.missing == {"vision": 0, "audio": 0, "text": 1}
    assert report.remarks[NO_FEATURES] == [{"id": "d", "split": "test", "detail": ""}]
    assert "faces found" not in report.summary()
    assert "pictures with a face" not in (out / "report.html").read_text()
    assert "Sample face crops" not in (out / "report.html").read_text()
    assert report.summary().splitlines()[-1] == f"report: {out / 'report.html'}"
    assert not [note for note in report.notes if "not read" in note or "not searched" in note]
    assert "vision features: 4 columns (openface2), 4 clips, 16 rows, 50.0% of them valid" in report.summary()
    assert "4 columns (openface2), 4 clips, 16 rows, 50.0% of them valid" in (out / "report.html").read_text()
    assert json.loads((out / "report.json").read_text())["features"] == report.features


def test_a_broken_file_is_named_before_any_clip_is_read(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    broken = tmp_path / "copy/words/c.npz"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(CorpusError, match=r"c\.npz: is not a complete \.npy or \.npz file"):
        prepare("folder", tmp_path / "out", source=tmp_path / "copy", features=request(tmp_path / "copy"))


def test_changed_features_are_prepared_again(folder, prepared, tmp_path):
    arguments = {"source": folder, "processes": 1, "progress": False}
    assert not prepare("folder", prepared[0], features=request(folder), **arguments).is_new
    chosen = prepare("folder", tmp_path, features=request(folder, columns=("AU*",)), **arguments)
    assert (chosen.is_new, chosen.features["vision"]["columns"]) == (True, 2)
    np.testing.assert_array_equal(examples(tmp_path)["b"]["vision_features"], np.array([[0, 0], [1.25, 1]], np.float32))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"vision_features": np.ones((2, 3), np.float32)},
            r"found vision features of shape \(2, 3\) and float32 with 2",
        ),
        ({"vision_feature_times": np.zeros(3, np.float32)}, r"expected float32 of shape \(3, 4\)"),
        ({"audio_feature_times": np.array([1, 0.5], np.float32)}, "found times of audio features that do not ascend"),
        ({"audio_feature_times": np.array([1, 13], np.float32)}, "at most 12 s"),
        ({"text_features": np.full((2, 3), np.nan, np.float32)}, "found text features that are not finite"),
    ],
)
def test_check_reports_malformed_features(prepared, tmp_path, change, fault):
    builder = open_dataset(prepared[0])
    (tmp_path / "report.json").write_bytes((prepared[0] / "report.json").read_bytes())
    metadata = dict(builder.info.metadata)
    if "vision_features" in change:  # the writer would refuse another width
        metadata["features"] = metadata["features"] | {"vision": metadata["features"]["vision"] | {"width": 3}}

    def rows(split):
        for example in builder.as_data_source(split):
            shown = {"vision_features": example["vision_features"][:, : metadata["features"]["vision"]["width"]]}
            yield example["id"].decode(), {**example, "faces": [], **shown, **change}

    clear_leftovers(tmp_path)
    splits = {split: lambda split=split: rows(split) for split in builder.info.splits}
    write_dataset(tmp_path, splits, metadata)
    if "vision_features" in change:
        path = tmp_path / "emi/1.3.0/metadata.json"
        path.write_text(path.read_text().replace('"width": 3', '"width": 4', 1))
    faults = "\n".join(check_dataset(tmp_path))
    assert re.search(fault, faults), faults


@pytest.fixture
def clip(tmp_path):
    """A video of a second with a tone, and features of faces."""
    video = write_video(tmp_path / "a.mp4", np.arange(10) / 10, 10, tone(1.0))
    (tmp_path / "a.csv").write_text(OPENFACE)
    schema = Schema("openface2", ("AU01_r", "AU28_c"))
    return ClipSource("a", video, features={"vision": FeatureSource(schema, tmp_path / "a.csv")})


def test_a_modality_with_features_is_not_read_from_the_media(clip, monkeypatch):
    monkeypatch.setattr("data_prep.clips.clip.read_video_faces", lambda *arguments: pytest.fail("pictures were read"))
    example, remarks, rows = read_clip(clip, OPTIONS)
    assert len(example["faces"]) == len(example["times"]) == 0
    assert abs(len(example["audio"]) - 16_000) < 1_100
    np.testing.assert_array_equal(example["vision_features"], np.array([[0, 0], [1.25, 1]], np.float32))
    assert rows == {"vision": (2, 4)}
    assert NO_VISION not in [remark.kind for remark in remarks]


HEARD: list[int] = []


def recogniser():
    """Returns a recogniser that records how much it heard."""

    def recognise(audio):
        HEARD.append(len(audio))
        return "hi"

    return recognise


@pytest.mark.parametrize(
    ("modalities", "transcript", "recognised"),
    [(["audio"], None, "hi"), (["audio"], "known", "known"), (["audio", "text"], None, "")],
)
def test_sound_with_features_is_read_for_recognition_alone(clip, modalities, transcript, recognised):
    HEARD.clear()
    (features,) = clip.features.values()
    clip = dataclasses.replace(clip, features=dict.fromkeys(modalities, features), transcript=transcript)
    example, _, _ = read_clip(clip, dataclasses.replace(OPTIONS, asr=f"{__name__}:recogniser"))
    assert example["transcript"] == recognised
    assert len(HEARD) == (recognised == "hi")
    assert len(example["audio"]) == 0


def test_the_duration_counts_features():
    example = {
        "audio": np.zeros(1600),
        "times": np.zeros(0),
        "word_times": np.ones((1, 2)),
        "text_feature_times": [1, 2.5],
    }
    assert duration({name: np.asarray(value) for name, value in example.items()}) == 2.5


def test_broken_features_are_absent_with_a_remark_unless_nothing_else_is_there(clip):
    clip.features["vision"].path.write_text("time,AU01_r\n0,1\n")
    example, remarks, rows = read_clip(clip, OPTIONS)
    assert example["vision_features"].shape == (0, 2)
    assert Remark(UNREADABLE, "a.csv: found no column 'AU28_c', expected the columns of the other clips") in remarks
    assert Remark(NO_VISION) in remarks
    assert rows == {"vision": (0, 0)}
    with pytest.raises(ClipError, match=r"a\.csv: found no column 'AU28_c'"):
        read_clip(dataclasses.replace(clip, video=None), OPTIONS)
