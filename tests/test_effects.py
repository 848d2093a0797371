"""Fields without effect are refused."""

import re

import pytest

from configs import stage2
from configs.effects import refuse_without_effect
from emi_jax.errors import UserError


@pytest.mark.parametrize(
    ("field", "switch", "off"),
    [
        ("model.head.fusion.tcn_causal", "model.head.fusion.tcn", False),
        ("model.head.fusion.num_layers", "model.head.fusion.decoder", False),
        ("augment.semitones", "augment.voice", 0.0),
        ("model.lora.rank", "model.lora.targets", ()),
    ],
)
def test_fields_of_a_part_that_is_switched_off_are_refused(field, switch, off):
    config = stage2.get_config()
    config.update_from_flattened_dict({switch: off})
    with pytest.raises(UserError, match=re.escape(f"config.{field} does nothing: config.{switch} is {off!r}")):
        refuse_without_effect(config, {field})
    on = {"model.lora.targets": ("query",), "augment.voice": 0.5}.get(switch, True)
    config.update_from_flattened_dict({switch: on})
    refuse_without_effect(config, {field})


def test_fields_without_effect_are_refused():
    config = stage2.get_config()
    refuse_without_effect(config, {"model.head.fusion.tcn", "model.head.name", "train.epochs", "data.length_buckets"})
    with pytest.raises(
        UserError, match=r"head in use is 'fusion'; choose another with --config\.model\.head\.name=text_a"
    ):
        refuse_without_effect(config, {"model.head.text_anchored.width"})
    with pytest.raises(UserError, match=r"model.text.scratch.hidden_size does nothing: .*loaded from runs/demo/stage1"):
        refuse_without_effect(config, {"model.text.scratch.hidden_size"})
    with pytest.raises(UserError, match=r"model.text.pretrained does nothing: .* runs/demo/stage1; set it there"):
        refuse_without_effect(config, {"model.text.pretrained"})
    config.model.modalities = ("vision",)
    with pytest.raises(UserError, match=r"data\.length_buckets does nothing: the run reads neither sound nor words"):
        refuse_without_effect(config, {"data.length_buckets"})
    config.init_from = ""
    refuse_without_effect(config, {"model.text.scratch.hidden_size", "model.text.pretrained"})
