"""Numbers out of their range are refused, and all shipped ones are in it."""

import pytest

from configs import stage1, stage2
from emi_jax.errors import UserError
from emi_jax.runs.bounds import check_bounds


@pytest.mark.parametrize("module", [stage1, stage2])
def test_the_shipped_numbers_are_in_range(module):
    for preset in module.PRESETS:
        check_bounds(module.get_config(preset))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.batch_size", 0, "train.batch_size=0 should be 1 or more"),
        ("train.learning_rate", -1.0, "train.learning_rate=-1 should be above 0"),
        ("train.learning_rate", float("nan"), "train.learning_rate=nan should be above 0"),
        ("train.weight_decay", -0.1, "train.weight_decay=-0.1 should be 0 or more"),
        ("train.corrupt", 1.5, r"train.corrupt=1.5 should be in \[0, 1\]"),
        ("data.seconds", float("inf"), "data.seconds=inf should be above 0"),
        ("data.smallest_crop", 0.0, r"data.smallest_crop=0 should be in \(0, 1\]"),
        ("loss.mse", -1.0, "loss.mse=-1 should be 0 or more"),
        ("model.modality_dropout", 1.0, r"model.modality_dropout=1 should be in \[0, 1\)"),
        ("model.head.fusion.dropout", 1.5, r"model.head.fusion.dropout=1.5 should be in \[0, 1\)"),
    ],
)
def test_a_number_out_of_range_is_refused(field, value, message):
    config = stage2.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        check_bounds(config)


def test_numbers_of_other_libraries_are_left_to_them():
    config = stage2.get_config()
    config.model.vision.scratch.width = 0
    check_bounds(config)
