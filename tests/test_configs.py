"""Every field of the shipped configs has a meaning and says whether it may change on resume."""

import pytest
from ml_collections import ConfigDict

from configs import ablation, crossval, heads, robustness, stage1, stage2
from configs.fields import Effect, flatten
from configs.studies import section_of
from emi_jax.models.heads import HEADS, build_head
from emi_jax.runs.checks import check_fields
from emi_jax.studies.cells import cells


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("module", [stage1, stage2, crossval, ablation, heads, robustness])
@pytest.mark.parametrize("preset", ["demo", "vidmimic2"])
def test_every_field_is_defined_with_its_meaning(module, preset):
    config = module.get_config(preset)
    defined = dict(flatten(section_of(config)))
    for leaf in leaves(config):
        parts = leaf.split(".")
        names = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        assert leaf.startswith("bindings.") or names & defined.keys(), leaf
    assert all(field.meaning and "\n" not in field.meaning for field in defined.values())


@pytest.mark.parametrize(
    ("module", "preset"), [(module, preset) for module in (stage1, stage2, crossval) for preset in module.PRESETS]
)
def test_every_preset_passes_the_checks_of_a_run(module, preset):
    check_fields(module.get_config(preset))


@pytest.mark.parametrize("module", [ablation, heads])
@pytest.mark.parametrize("preset", ["demo", "descriptors"])
def test_every_cell_of_the_grid_passes_the_checks_of_a_run(module, preset):
    for cell in cells(module.get_config(preset)):
        check_fields(cell.config)


def test_a_config_lists_the_fields_that_may_change_on_resume():
    config = stage2.get_config()
    defined = dict(flatten(section_of(config)))
    for kind, names in (
        (Effect.NOTHING, config.bindings.free),
        (Effect.PLACE, config.bindings.places),
        (Effect.MODEL, config.bindings.model),
    ):
        assert set(names) == {path for path, field in defined.items() if field.effect is kind}
    assert {"train.log_every", "data.dir", "workdir"} <= set(config.bindings.free)
    assert set(config.bindings.places) == {"init_from", "features.dir"}
    assert {"data.seconds", "model.head.fusion.width", "model.vision.scratch"} <= set(config.bindings.model)


def test_configs_share_no_values():
    one, other = stage2.get_config(), stage2.get_config()
    one.model.text.config.hidden_dropout_prob = 0.5
    one.model.head.fusion.width = 8
    assert other.model.text.config.hidden_dropout_prob is None
    assert stage2.get_config().model.head.fusion.width == other.model.head.fusion.width != 8


@pytest.mark.parametrize("name", HEADS)
def test_every_head_has_a_section_of_its_own_fields(name):
    config = stage2.get_config(name if name != "fusion" else "demo")
    assert config.model.head.name == name
    build_head(name, num_labels=6, **config.model.head[name])
    assert "modalities" not in config.model.head[name]
