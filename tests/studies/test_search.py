"""The settings of a sweep: a grid, or draws that stay the same when more are asked for."""

import numpy as np
import pytest
import scipy.stats

from configs import sweep as shipped
from emi_jax.errors import UserError
from emi_jax.studies.search import settings

RATE, DROPOUT, LAYERS = "train.learning_rate", "model.head.fusion.dropout", "model.head.fusion.num_layers"


def config_of(*fields, **options):
    config = shipped.get_config()
    config.sweep.update(fields=fields, **options)
    return config


def test_a_grid_is_every_combination_and_the_configs_own_setting_first():
    config = config_of((RATE, "values", (1, 1e-4, 5e-4)), (LAYERS, "values", (1, 2)))
    config.train.learning_rate = 5e-4
    found = settings(config)
    assert found[0].changes == {}
    assert found[0].name == "base"
    points = [(each.values[RATE], each.values[LAYERS]) for each in found]
    assert points == [(5e-4, 2), (1.0, 1), (1.0, 2), (1e-4, 1), (1e-4, 2), (5e-4, 1)]
    assert found[1].changes == {RATE: 1.0, LAYERS: 1}
    assert found[2].changes == {RATE: 1.0}


def test_a_larger_grid_keeps_the_names_of_the_smaller_one():
    names = {each.name for each in settings(config_of((RATE, "values", (0.1, 0.2))))}
    more = config_of((DROPOUT, "values", (0.3, 0.5)), (RATE, "values", (0.2, 0.1, 0.4)))
    assert names < {each.name for each in settings(more)}


def test_draws_are_even_in_their_range_and_more_samples_keep_the_first_ones():
    fields = (RATE, "log", (1e-4, 1e-2)), (DROPOUT, "uniform", (0.0, 0.5)), (LAYERS, "log", (1, 64))
    few = settings(config_of(*fields, samples=20))
    drawn = settings(config_of(*fields, samples=400))
    assert (len(few), len(drawn)) == (21, 401)
    assert drawn[:21] == few
    assert settings(config_of(*fields, samples=20, seed=1))[1:] != few[1:]
    rates, dropouts, layers = (np.array([each.values[path] for each in drawn[1:]]) for path, _, _ in fields)
    assert scipy.stats.kstest(np.log10(rates), scipy.stats.uniform(-4, 2).cdf).pvalue > 0.01
    assert scipy.stats.kstest(dropouts, scipy.stats.uniform(0, 0.5).cdf).pvalue > 0.01
    assert layers.dtype.kind == "i"
    assert layers.min() == 1
    assert np.median(layers) == pytest.approx(8, abs=2)
    assert len({each.name for each in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("fields", "options", "error"),
    [
        ((), {}, "expected one field or more, each once"),
        (((RATE, "values", (1.0,)), (RATE, "values", (2.0,))), {}, "expected one field or more, each once"),
        (((RATE, "values", 1.0),), {}, r"expected \(FIELD, KIND, \(VALUE, \.\.\.\)\)"),
        (((RATE, "normal", (0.0, 1.0)),), {}, "with a kind of values, uniform, log"),
        (((RATE, "values", ()),), {}, "learning_rate has no values"),
        ((("train.learning", "values", (1.0,)),), {}, "there is no field config.train.learning"),
        ((("model.head", "values", (1.0,)),), {}, "config.model.head is a section; name a field in it"),
        ((("root", "values", ("a",)),), {}, "root cannot be searched"),
        (((3, "values", (1, 2)),), {}, "3 cannot be searched"),
        ((("data.dir", "values", ("a", "b")),), {}, "config.data.dir has no effect on the result of a run"),
        (((RATE, "values", (None,)),), {}, "learning_rate=None should be of the type of"),
        (((RATE, "values", (1.0,)),), {"samples": 2, "seed": -1}, "seed=-1: expected a number of settings"),
        ((("train.seed", "values", (1, 2)),), {}, "for seeds there is the study's own field"),
        (((LAYERS, "values", (1.5,)),), {}, r"num_layers=1.5 should be of the type of 2"),
        (((RATE, "log", (1e-4, 1e-2)),), {}, "learning_rate has a range, and a grid needs values"),
        (((RATE, "log", (0.0, 1.0)),), {"samples": 2}, "for log above 0"),
        (((RATE, "uniform", (1.0, 0.5)),), {"samples": 2}, "the lower one first"),
        ((("model.head.name", "uniform", (0, 1)),), {"samples": 2}, "expected the ends of a range of numbers"),
        (((LAYERS, "values", (1, 2, 3)),), {"samples": 9}, "only 2 settings besides the config's own"),
        (((RATE, "values", (1.0,)),), {"samples": -1}, "samples=-1, seed=0: expected a number of settings"),
    ],
)
def test_what_cannot_be_searched_is_refused(fields, options, error):
    with pytest.raises(UserError, match=error):
        settings(config_of(*fields, **options))
