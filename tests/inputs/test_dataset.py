"""A dataset on disk: what is read, and what is refused in an untrusted dataset."""

import functools
import json
import re
import sys

import numpy as np
import pytest

from data_prep.build.dataset import dataset_path, write_dataset
from data_prep.build.dataset import open_dataset as open_for_checks
from data_prep.clips.options import ClipOptions
from data_prep.errors import CorpusError
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import clip_id, open_dataset, subject, transcript, transcripts
from tests.disks import files_of_at_most
from tests.fakes import NAMES, make_example

METADATA = {
    "corpus": "folder",
    "label_names": list(NAMES),
    "label_range": [0, 100],
    "clip_options": ClipOptions(max_frames=6, face_size=32, detector="haar").stored(),
    "fingerprint": "abc",
    "available": {},
    "ceiling": {},
}


def examples():
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a", "b", "c")):
        yield name, make_example(rng, name, frames=2, samples=160 + number)


ROW = {"id": "", "subject": "", "transcript": "", "samples": 1, "steps": {}}


@pytest.fixture
def folder(tmp_path):
    write_dataset(tmp_path, {"train": functools.partial(examples)}, METADATA)
    return tmp_path


def test_a_disk_that_refuses_the_records_is_an_error_of_the_system(tmp_path):
    """ArrayRecord raises errors of its own for it."""
    with files_of_at_most(10_000), pytest.raises(OSError, match="File too large"):
        write_dataset(tmp_path, {"train": functools.partial(examples)}, METADATA)
    assert not dataset_path(tmp_path).exists()


def test_the_index_is_read_without_the_records(folder):
    before = [dict(row) for row in open_dataset(folder, "make it").index("train")]
    for path in dataset_path(folder).glob("*.array_record*"):
        path.write_bytes(b"")
    assert [dict(row) for row in open_dataset(folder, "make it").index("train")] == before
    assert sorted(row["id"] for row in before) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"train": []}',
        '{"train": [{"id": "a"}, {}, {}]}',
        '{"train": 3}',
        '{"train": ["a", "b", "c"]}',
        json.dumps({"train": [ROW | {"samples": "1"}] * 3}),
        json.dumps({"train": [ROW | {"steps": {"audio": None}}] * 3}),
    ],
)
def test_an_index_of_other_clips_is_refused(folder, content):
    (dataset_path(folder) / "index.json").write_text(content)
    with pytest.raises(UserError, match=r"index.json is not the index of the 3 clips of train; prepare the dataset"):
        open_dataset(folder, "make it")


def test_a_damaged_record_is_one_line_that_names_the_file_and_the_clip(folder):
    (path,) = dataset_path(folder).glob("emi-train.array_record*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    split, errors = open_dataset(folder, "make it").split("train"), {}
    for index in range(len(split)):
        try:
            split[index]
        except UserError as error:
            errors[index] = str(error)
    assert errors
    for index, error in errors.items():
        assert error.startswith(f"{dataset_path(folder)}, split train: clip number {index} cannot be read (Corrupted ")
        assert len(error.splitlines()) == 1


def change(folder, name, edit):
    path = dataset_path(folder) / name
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_the_index_holds_texts_and_lengths_of_the_examples_in_their_order(folder):
    dataset = open_dataset(folder, "make it")
    whole, index = dataset.split("train"), dataset.index("train")
    assert len(index) == len(whole) == 3
    for row in range(3):
        assert index[row].keys() == {"id", "subject", "transcript", "samples", "steps"}
        for read in (clip_id, subject, transcript):
            assert read(index[row]) == read(whole[row])
        assert index[row]["samples"] == len(whole[row]["audio"])
    assert sorted(row["samples"] for row in index) == [160, 161, 162]
    assert transcripts(index) == transcripts(whole)


def test_metadata_travels_with_the_dataset_to_another_path(folder):
    first = open_dataset(folder, "make it")
    assert (first.corpus, first.fingerprint, first.label_range) == ("folder", "abc", (0.0, 100.0))
    moved = folder.rename(folder.with_name("moved"))
    assert open_dataset(moved, "make it").description() == first.description()


def test_a_dataset_of_another_corpus_is_refused(folder):
    open_dataset(folder, "make it", "folder")
    with pytest.raises(UserError, match=r"made from the corpus 'folder', and config.data.corpus is 'synthetic': set"):
        open_dataset(folder, "make it", "synthetic")


MODULE = "planted_by_a_dataset"


def name_a_class(features):
    features["featuresDict"]["features"]["id"]["pythonClassName"] = f"{MODULE}.Feature"


def name_a_class_of_the_whole(features):
    features["pythonClassName"] = f"{MODULE}.Feature"


def name_a_class_in_the_old_form(features):
    features.clear()
    features |= {"type": f"{MODULE}.Feature", "content": {}}


def name_a_class_in_snake_case(features):
    features["python_class_name"] = f"{MODULE}.Feature"


def hide_a_class_in_a_text(features):
    sequence = features["featuresDict"]["features"]["faces"]
    del sequence["sequence"]
    sequence["jsonFeature"] = {"json": json.dumps({"feature": {"type": f"{MODULE}.Feature", "content": {}}})}


@pytest.mark.parametrize(
    "edit",
    [
        name_a_class,
        name_a_class_of_the_whole,
        name_a_class_in_the_old_form,
        name_a_class_in_snake_case,
        hide_a_class_in_a_text,
    ],
)
def test_features_of_other_classes_are_refused_before_anything_is_imported(edit, folder, tmp_path_factory, monkeypatch):
    planted = tmp_path_factory.mktemp("planted")
    (planted / f"{MODULE}.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(planted)
    change(folder, "features.json", edit)
    with pytest.raises(UserError, match=r"features.json holds the (class|field) .*, which is not part of this format"):
        open_dataset(folder, "make it")
    with pytest.raises(CorpusError, match=r"features.json holds the (class|field) "):
        open_for_checks(folder)
    assert MODULE not in sys.modules


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "metadata.json", "index.json"])
@pytest.mark.parametrize("content", ["", '{"a": ', "[]", '{"featuresDict": 3}', '{"splits": 3}'])
def test_a_malformed_file_is_one_line(name, content, folder):
    (dataset_path(folder) / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(name) + "|cannot be opened: ") as raised:
        open_dataset(folder, "make it").split("train")[0]
    assert "\n" not in str(raised.value)
