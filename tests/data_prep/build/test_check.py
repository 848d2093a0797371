import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from data_prep.build import check
from data_prep.build.check import check_dataset
from data_prep.build.dataset import clear_leftovers, dataset_path, open_dataset, write_dataset
from data_prep.build.report import Report
from data_prep.corpora.reading import Request
from data_prep.errors import CorpusError
from tests.data_prep.conftest import COUNTS, write_table


@pytest.fixture
def spoiled(built, tmp_path):
    """Returns a function that rewrites the built dataset with one changed `valid` example and returns the faults."""
    builder = open_dataset(built[0])
    (tmp_path / "report.json").write_bytes((built[0] / "report.json").read_bytes())

    def faults(**change):
        def examples(split):
            for number, example in enumerate(builder.as_data_source(split)):
                changed = {**example, "faces": list(example["faces"])}
                yield example["id"].decode(), changed | (change if split == "valid" and not number else {})

        clear_leftovers(tmp_path)
        write_dataset(tmp_path, {split: lambda split=split: examples(split) for split in COUNTS}, builder.info.metadata)
        return check_dataset(tmp_path)

    return faults


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"labels": np.array([0, 0, 1.5, 0, 0, 0], np.float32)}, "found labels .*1.5.*expected values from 0 to 1"),
        ({"labels": np.array([0, 0, np.inf, 0, 0, 0], np.float32)}, "found labels .*inf.*expected values from 0 to 1"),
        ({"times": np.array([0.0], np.float32)}, r"found \d faces, 1 times and \d flags, expected as many of each"),
        ({"times": np.array([2, 1, 3, 4], np.float32)}, "found times that do not ascend, expected ascending seconds"),
        ({"times": np.array([0, np.nan, 1, 2], np.float32)}, "found times that are not finite"),
        ({"times": np.array([0, 1, 2, 90], np.float32)}, r"found 90\.00 s of pictures or sound, expected at most 12"),
        ({"audio": np.ones(16_000 * 20, np.int16)}, r"found 20\.00 s of pictures or sound, expected at most 12"),
        ({"landmarks": np.zeros((3, 5, 2), np.float32)}, r"found landmarks of shape \(3, 5, 2\), expected \(4,"),
        ({"landmarks": np.full((4, 5, 2), np.inf, np.float32)}, "found landmarks that are not all finite"),
        (
            {"landmarks": np.zeros((4, 5, 2), np.float32), "face_found": np.zeros(4, bool)},
            "found landmarks in pictures without a face, expected NaN",
        ),
        ({"faces": [b"no picture"] * 4}, r"face 0: found no JPEG, expected \(32, 32, 3\)"),
        (
            {
                "faces": [],
                "times": np.zeros(0, np.float32),
                "face_found": np.zeros(0, bool),
                "landmarks": np.zeros((0, 5, 2), np.float32),
                "audio": np.zeros(0, np.int16),
                "transcript": "",
            },
            "found no faces, no sound, no words and no features, expected one of them",
        ),
    ],
)
def test_check_reports_a_malformed_example(spoiled, change, fault):
    faults = spoiled(**change)
    assert faults.pop() == "fingerprint: found another content than when the dataset was written"
    assert len({line.split(":")[0] for line in faults}) == 1
    assert faults[0].startswith("valid ")
    assert re.search(fault, "\n".join(faults))


def test_fingerprint_detects_changed_words(spoiled):
    assert spoiled(transcript="other words") == ["fingerprint: found another content than when the dataset was written"]


def test_check_reports_too_many_faces(spoiled, built):
    (example, *_) = open_dataset(built[0]).as_data_source("train")
    face = list(example["faces"])[:1]
    more = {"faces": face * 9, "times": np.arange(9, dtype=np.float32), "face_found": np.ones(9, bool)}
    more["landmarks"] = np.full((9, 5, 2), np.nan, np.float32)
    assert "found 9 faces, expected at most 4" in "\n".join(spoiled(**more))


def test_check_reports_the_split_of_a_damaged_record(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "copy")
    (record,) = (tmp_path / "copy").rglob("*valid*.array_record*")
    data = bytearray(record.read_bytes())
    data[40:200] = bytes(160)
    record.write_bytes(data)
    faults = check_dataset(tmp_path / "copy")
    assert re.fullmatch(r"split valid: record \d of 2 cannot be read: .+", faults[0])
    assert len(faults) == 1


def test_check_reports_a_label_that_never_varies(built, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "FEW", 3)
    builder = open_dataset(built[0])
    (tmp_path / "report.json").write_bytes((built[0] / "report.json").read_bytes())

    def examples(split):
        for example in builder.as_data_source(split):
            labels = np.append(example["labels"][:5], np.float32(0.25))
            yield example["id"].decode(), {**example, "faces": list(example["faces"]), "labels": labels}

    write_dataset(tmp_path, {split: lambda split=split: examples(split) for split in COUNTS}, builder.info.metadata)
    assert "label Joy: found 0.25 in all clips of split train, expected several values" in check_dataset(tmp_path)


def test_check_compares_labels_and_words_with_the_tables(built, raw_corpus, tmp_path):
    for name in ("raw", "face_images"):
        (tmp_path / name).mkdir()
    for table in ("train_split.csv", "valid_split.csv", "test_split.csv", "transcripts.csv", "subjects.csv"):
        (tmp_path / table).write_bytes((raw_corpus / table).read_bytes())
    request = Request("vidmimic2", tmp_path)
    assert check_dataset(built[0], request) == []
    lines = (tmp_path / "train_split.csv").read_text().splitlines()
    swapped = [lines[0], lines[1].split(",")[0] + "," + lines[2].split(",", 1)[1], *lines[2:]]
    (tmp_path / "train_split.csv").write_text("\n".join(swapped) + "\n")
    (tmp_path / "subjects.csv").unlink()
    write_table(tmp_path / "valid_split.csv", lines[0].split(","), ["77777", *[0] * 6])
    faults = "\n".join(check_dataset(built[0], request))
    assert f"train {lines[1].split(',')[0]}: found labels" in faults
    assert "expected '' by its name" in faults
    assert "found no such clip in the corpus" in faults
    assert "valid 77777: found in neither dataset nor report, expected in one" in faults


def test_check_compares_the_report_with_the_dataset(built, tmp_path):
    (tmp_path / "emi").symlink_to(built[0] / "emi")
    assert check_dataset(tmp_path) == [
        f"{tmp_path}/report.json: found no readable report, expected the one of the preparation"
    ]
    dataclasses.replace(Report.load(built[0]), clips={"train": 1}).save(tmp_path)
    assert check_dataset(tmp_path) == [f"report.json: found {{'train': 1}} clips, expected {COUNTS} as in the dataset"]


def test_check_compares_the_index_with_the_records(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "copy")
    path = dataset_path(tmp_path / "copy") / "index.json"
    index = json.loads(path.read_text())
    right = index["valid"][0]["transcript"]
    index["valid"][0]["transcript"] = "other words"
    path.write_text(json.dumps(index))
    (fault,) = check_dataset(tmp_path / "copy")
    assert fault.startswith(
        f"valid {index['valid'][0]['id']}: transcript in index.json: found 'other words', expected "
    )
    assert fault.endswith(f"{right!r} as in the record")
    path.unlink()
    with pytest.raises(CorpusError, match=r"index.json cannot be read \(No such file"):
        check_dataset(tmp_path / "copy")
