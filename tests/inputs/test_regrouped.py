"""A regrouped dataset has the same clips in other splits."""

import dataclasses

import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import clip_id
from emi_jax.inputs.index import row_of
from emi_jax.inputs.regrouped import base_of, join_for_training, places_of, regroup
from tests.fakes import make_dataset


def test_named_splits_are_replaced_and_others_stay():
    dataset = dataclasses.replace(
        make_dataset(), available={"train": {"text": 9}, "test": {"text": 0}}, ceiling={"valid": {"Joy": 0.9}}
    )
    regrouped = regroup(dataset, {"train": [("valid", 2), ("train", 5)], "valid": [("train", 0)]})
    examples = dataset.builder.examples
    assert [example is examples["valid"][2] for example in (regrouped.split("train")[0],)] == [True]
    assert regrouped.index("train")[1] == row_of(examples["train"][5])
    assert regrouped.splits == {"train": 2, "valid": 1, "test": 7}
    assert [clip_id(regrouped.split("test")[row]) for row in range(7)] == [f"{row:05d}" for row in range(7)]
    assert regrouped.lacks("test", "text")
    assert not regrouped.lacks("train", "text")
    assert regrouped.ceiling == {}
    assert base_of(regrouped) is dataset
    assert places_of(regrouped, "train") == [("valid", 2), ("train", 5)]


def test_the_fingerprint_depends_on_the_clips_of_each_split():
    dataset = make_dataset()
    one, again = (regroup(dataset, {"train": [("valid", 2)]}).fingerprint for _ in range(2))
    other = regroup(dataset, {"train": [("valid", 3)]}).fingerprint
    assert one == again
    assert len({one, other, dataset.fingerprint}) == 3


def test_splits_are_joined_for_training():
    dataset = make_dataset()
    joined = join_for_training(dataset, ("train", "valid"))
    assert joined.splits == {"train": 19, "valid": 7, "test": 7}
    assert joined.split("train")[12] is dataset.builder.examples["valid"][0]
    assert join_for_training(dataset, ("train",)) is dataset


@pytest.mark.parametrize(
    ("splits", "error"),
    [
        (("valid",), "expected train and further splits"),
        (("train", "train"), "each once"),
        (("train", "more"), "no clips in split 'more'"),
    ],
)
def test_splits_that_cannot_be_joined_are_refused(splits, error):
    with pytest.raises(UserError, match=error):
        join_for_training(make_dataset(), splits)
