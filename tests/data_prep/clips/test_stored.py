"""Stored clip options are data: a function that they name is imported only if the user also names it."""

import dataclasses

import pytest

from data_prep.clips.options import ClipOptions
from data_prep.clips.stored import stored_options
from data_prep.errors import CorpusError

STORED = dataclasses.asdict(ClipOptions(max_frames=6))


def test_built_in_names_need_no_confirmation():
    assert stored_options(STORED) == ClipOptions(max_frames=6)
    assert stored_options(STORED | {"asr": "small.en"}, asr="small.en").asr == "small.en"


@pytest.mark.parametrize("option", ["detector", "asr"])
def test_a_function_in_a_stored_file_has_to_be_named_again(option):
    stored = STORED | {option: "runs.shared.evil:go"}
    with pytest.raises(CorpusError, match=f"add --{option}=runs.shared.evil:go if you trust it"):
        stored_options(stored)
    with pytest.raises(CorpusError, match=f"--{option}=mine:other: the run's own clips were read with runs.shared"):
        stored_options(stored, **{option: "mine:other"})
    assert getattr(stored_options(stored, **{option: "runs.shared.evil:go"}), option) == "runs.shared.evil:go"


def test_option_that_differs_from_the_stored_one_is_refused():
    with pytest.raises(CorpusError, match=r"--asr=small\.en: the run's own clips were read with none"):
        stored_options(STORED, asr="small.en")


@pytest.mark.parametrize(
    "change", [{"max_frames": "many"}, {"detector": None}, {"max_seconds": True}, {"shutter": 1}, {"face_size": 2.5}]
)
def test_malformed_options_are_a_one_line_error(change):
    with pytest.raises(CorpusError, match=f"stored clip options hold .*{next(iter(change))}"):
        stored_options(STORED | change)
