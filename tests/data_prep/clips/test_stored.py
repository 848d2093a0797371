"""Stored clip options are data: a function that they name is imported only if the user also names it."""

import hashlib

import pytest

from data_prep.clips.options import ClipOptions
from data_prep.clips.stored import options_to_name, stored_options
from data_prep.clips.yunet import SHA256
from data_prep.errors import CorpusError

STORED = ClipOptions(max_frames=6, detector="haar").stored()


def test_built_in_names_need_no_confirmation():
    assert stored_options(STORED) == ClipOptions(max_frames=6, detector="haar")
    assert stored_options(STORED | {"asr": "small.en"}, asr="small.en").asr == "small.en"


def test_path_of_a_model_file_is_not_stored():
    assert "detector_path" not in ClipOptions(detector_path="/home/me/yunet.onnx").stored()
    with pytest.raises(CorpusError, match="stored clip options hold the unknown field 'detector_path'"):
        stored_options(STORED | {"detector_path": "/etc/passwd"})


def test_the_hubs_model_needs_no_confirmation():
    options = stored_options(STORED | {"detector": "yunet", "detector_model": SHA256})
    assert (options.detector_path, options.detector_model) == ("", SHA256)


def test_a_model_file_of_ones_own_has_to_be_given_again(tmp_path):
    file, other = tmp_path / "mine.onnx", tmp_path / "other.onnx"
    file.write_bytes(b"mine")
    other.write_bytes(b"other")
    stored = STORED | {"detector": "yunet", "detector_model": hashlib.sha256(b"mine").hexdigest()}
    with pytest.raises(CorpusError, match=r"SHA-256 [0-9a-f]{64}.* give it with --detector-model=PATH"):
        stored_options(stored)
    with pytest.raises(CorpusError, match=r"other.onnx: found a file with SHA-256 .* expected [0-9a-f]{64}: name"):
        stored_options(stored, detector_model=str(other))
    assert stored_options(stored, detector_model=str(file)).detector_path == str(file)
    with pytest.raises(CorpusError, match=r"mine\.onnx: the run's clips were read with haar; leave it out"):
        stored_options(STORED, detector_model=str(file))


@pytest.mark.parametrize("option", ["detector", "asr"])
def test_a_function_in_a_stored_file_has_to_be_named_again(option):
    stored = STORED | {option: "runs.shared.evil:go"}
    with pytest.raises(CorpusError, match=f"add --{option}=runs.shared.evil:go if you trust it"):
        stored_options(stored)
    with pytest.raises(CorpusError, match=f"--{option}=mine:other: the run's own clips were read with runs.shared"):
        stored_options(stored, **{option: "mine:other"})
    assert getattr(stored_options(stored, **{option: "runs.shared.evil:go"}), option) == "runs.shared.evil:go"


def test_what_the_user_has_to_name_again_is_listed():
    assert options_to_name(STORED) == []
    assert options_to_name(STORED | {"detector": "yunet", "detector_model": SHA256}) == []
    assert options_to_name(STORED | {"detector": "yunet", "detector_model": ""}) == []
    assert options_to_name(STORED | {"detector": "yunet", "detector_model": "0" * 64}) == ["--detector-model=PATH"]
    own = STORED | {"detector": "mine:face", "asr": "mine:words"}
    assert options_to_name(own) == ["--detector=mine:face", "--asr=mine:words"]


def test_option_that_differs_from_the_stored_one_is_refused():
    with pytest.raises(CorpusError, match=r"--asr=small\.en: the run's own clips were read with none"):
        stored_options(STORED, asr="small.en")


@pytest.mark.parametrize(
    "change", [{"max_frames": "many"}, {"detector": None}, {"max_seconds": True}, {"shutter": 1}, {"face_size": 2.5}]
)
def test_malformed_options_are_a_one_line_error(change):
    with pytest.raises(CorpusError, match=f"stored clip options hold .*{next(iter(change))}"):
        stored_options(STORED | change)
