"""The grid: every cell runs, finished cells are kept, and the comparison is a paired Student's t interval."""

import collections
import json
import signal

import jax
import numpy as np
import pytest
import scipy.stats

from configs import ablation as shipped
from configs import heads, stage2
from configs.stage2 import resize_heads
from emi_jax.errors import UserError
from emi_jax.metrics.significance import holm
from emi_jax.runs.evaluation import evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.studies import ablation
from emi_jax.studies.cells import cells
from emi_jax.train import parameters
from emi_jax.train.hooks import Log
from emi_jax.train.signals import StoppedError
from tests.configs import shrink, tiny_stage1
from tests.fakes import make_dataset


def tiny_grid(folder, *names):
    """The shipped grid, shrunk, with the named cells and two modalities."""
    config = shrink(shipped.get_config())
    config.model.modalities = ("vision", "text")
    config.init_from = str(folder / "stage1")
    config.features.update(dir=str(folder / "features"), renditions=1)
    resize_heads(config, width=8, dropout=0.0, num_heads=2)
    config.model.head.fusion.update(tcn=False, bilstm=False, decoder=False)
    config.train.update(epochs=2, evaluate_every=1.0)
    config.grid.update(seeds=(0, 1), cells=tuple(cell for cell in shipped.CELLS if cell[0] in names))
    return config


@pytest.fixture(scope="module")
def stage1(tmp_path_factory):
    """A stage-1 result: its folder holds the encoders as initialised and as trained."""
    folder = tmp_path_factory.mktemp("runs")
    experiment = Experiment.open(tiny_stage1(), make_dataset(), folder / "stage1", jax.devices()[:1])
    params = experiment.stage.init(jax.random.PRNGKey(0), {})
    experiment.encoders.save(folder / "stage1" / "initial", params["towers"])
    experiment.encoders.save(folder / "stage1" / "encoders", jax.tree.map(lambda leaf: leaf + 0.01, params["towers"]))
    return folder


def test_cells_run_once_resume_after_a_stop_and_are_compared_with_the_full_model(stage1, tmp_path, monkeypatch):
    dataset = make_dataset(train=16, test=12)
    config = tiny_grid(stage1, "full", "no-alignment", "text")
    config.grid.folder = str(tmp_path)
    written = ablation.run(config, dataset, tmp_path, "test", jax.devices()[:1])
    assert {path.name for path in written} == {
        "ablation.svg",
        "ablation.txt",
        "ablation.md",
        "ablation.tex",
        "ablation.json",
    }
    rows = json.loads((tmp_path / "ablation.json").read_text())
    assert [row["name"] for row in rows.values()] == ["full", "no-alignment", "text"]
    results = {name: json.loads((tmp_path / "cells" / f"{name}.json").read_text()) for name in ("full", "text")}
    goals = {name: np.array([scores["mean/pearson"] for scores in cell["scores"]]) for name, cell in results.items()}
    apart = rows["words alone"]
    assert apart["pearson"] == pytest.approx(goals["text"].mean())
    assert apart["difference"] == pytest.approx((goals["text"] - goals["full"]).mean())
    assert rows["minus stage-1 alignment"]["pearson"] != rows["full model"]["pearson"]
    p = [row["p"] for name, row in rows.items() if name != "full model"]
    corrected = [row["p_holm"] for row in rows.values()]
    assert corrected[0] is None
    assert corrected[1:] == pytest.approx(holm(p).tolist())
    assert "corrected for 2 comparisons by Holm" in (tmp_path / "ablation.txt").read_text()
    lines = (tmp_path / "ablation.md").read_text().splitlines()
    assert len(lines) == 5
    assert f"{apart['pearson']:.3f}" in lines[4]
    config.grid.reference = "text"
    ablation.run(config, dataset, tmp_path / "other", "test", jax.devices()[:1])
    against = json.loads((tmp_path / "other" / "ablation.json").read_text())
    assert against["full model"]["difference"] == pytest.approx(-apart["difference"])
    assert "minus text" in (tmp_path / "other" / "ablation.txt").read_text()

    cell = next(cell for cell in cells(config) if cell.name == "text")
    with monkeypatch.context() as patch:
        flush = Log.flush

        def interrupted(log):
            patch.setattr(Log, "flush", flush)
            signal.raise_signal(signal.SIGTERM)
            flush(log)

        patch.setattr(Log, "flush", interrupted)
        with pytest.raises(StoppedError, match=r"after step \d, which is saved"):
            ablation.run_cell(cell, dataset, tmp_path / "stopped", (0, 1), "test", jax.devices()[:1])
    resumed = ablation.run_cell(cell, dataset, tmp_path / "stopped", (0, 1), "test", jax.devices()[:1])
    assert resumed["scores"] == results["text"]["scores"]

    for folder, done in ((tmp_path, {"full", "no-alignment", "text"}), (tmp_path / "stopped", {"text"})):
        config.grid.folder = str(folder)
        parts = ablation.parts(config, dataset, "test", jax.devices()[:1])
        assert [part.name for part in parts] == ["full", "no-alignment", "text"]
        assert {part.name for part in parts if part.is_done()} == done
    assert parts[2].do() == resumed

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    config.train.members = 2
    config.grid.cells = tuple(cell for cell in config.grid.cells if cell[0] == "text")
    [cell] = cells(config)
    result = ablation.run_cell(cell, dataset, tmp_path, (0, 1), "test", jax.devices()[:1])
    assert len(result["scores"]) == 2
    assert {len(leaf) for leaf in jax.tree.leaves(ablation.load_trained(cell, tmp_path))} == {4}
    experiment = Experiment.open(cell.config, dataset, tmp_path / "again", jax.devices()[:1])
    params = parameters.merge(ablation.load_trained(cell, tmp_path), experiment.initial_params()[1])
    for split, name in (("test", "scores"), ("valid", "valid")):
        outputs = evaluator(experiment, split, 4).gather(params)
        for seed, scores in enumerate(result[name]):
            predictions = outputs["predictions"][:, 2 * seed : 2 * seed + 2].mean(1)
            expected = [
                scipy.stats.pearsonr(*pair).statistic for pair in zip(predictions.T, outputs["labels"].T, strict=True)
            ]
            assert scores["mean/pearson"] == pytest.approx(np.mean(expected), abs=1e-5)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed == {"text.json", "text.safetensors"}, "a changed cell alone is run again"


def test_cells_are_known_by_the_content_of_folders_and_not_by_their_paths(tmp_path):
    def recipes(root):
        config = shipped.get_config()
        config.root = str(root)
        return [ablation._recipe(cell, make_dataset(1, 1, 1), (0,), "test") for cell in cells(config)]

    for folder in ("encoders/text", "initial/vision", "initial/audio", "initial/text"):
        (tmp_path / "one" / "stage1" / folder).mkdir(parents=True)
        (tmp_path / "one" / "stage1" / folder / "model.safetensors").write_bytes(b"weights")
    before = recipes(tmp_path / "one")
    assert len(set(before)) == len(before) == len(shipped.CELLS)
    (tmp_path / "one").rename(tmp_path / "other")
    assert recipes(tmp_path / "other") == before
    (tmp_path / "other" / "stage1" / "encoders" / "text" / "model.safetensors").write_bytes(b"others")
    assert sum(one != other for one, other in zip(before, recipes(tmp_path / "other"), strict=True)) == len(before) - 1


def test_cells_are_known_by_every_setting_that_determines_their_result():
    dataset, found = make_dataset(1, 1, 1), set()
    for field in (None, "augment.voice", "train.corrupt", "loss.mse", "model.modality_dropout", "data.smallest_crop"):
        config = shipped.get_config()
        if field:
            config.update_from_flattened_dict({field: 0.55})
        found.add(ablation._recipe(cells(config)[0], dataset, (0,), "test"))
    assert len(found) == 6


def test_cells_of_modalities_that_are_not_in_use_are_left_out():
    config = shipped.get_config()
    config.model.modalities = ("vision", "text")
    names = [cell.name for cell in cells(config)]
    assert {"vision", "text", "vision-text"} < set(names)
    assert not {"audio", "vision-audio", "audio-text"} & set(names)
    config.features.dir = ""
    with pytest.raises(UserError, match="a study reads cached features: name a folder"):
        cells(config)


def test_some_cells_alone_are_run():
    config = shipped.get_config()
    config.grid.only = ("no-qam", "full")
    assert [cell.name for cell in cells(config)] == ["full", "no-qam"]
    config.grid.only = ("no-qma",)
    with pytest.raises(UserError, match=r"grid.only: there is no cell 'no-qma'; there are full, no-alignment, no-tcn"):
        cells(config)
    config.grid.update(only=(), reference="ful")
    with pytest.raises(UserError, match=r"grid.reference: there is no cell 'ful'; there are full, no-alignment"):
        cells(config)


def test_the_whole_grid_has_the_fusion_and_the_epochs_of_stage_2():
    config, demo = shipped.get_config("whole"), stage2.get_config()
    assert config.model.head.to_dict() == demo.model.head.to_dict()
    assert config.train.to_dict() == demo.train.to_dict()
    assert (config.workdir, config.grid.folder) == ("runs/demo/ablation_whole",) * 2
    small = shipped.get_config()
    assert small.train.epochs < demo.train.epochs
    assert (small.workdir, small.grid.folder) == ("runs/demo/ablation",) * 2


@pytest.mark.parametrize("preset", ["demo", "whole"])
def test_each_head_has_four_learning_rates_and_shares_a_cell_with_the_grid(preset):
    dataset, rates = make_dataset(1, 1, 1), collections.defaultdict(list)

    def recipes(config):
        return {cell.name: ablation._recipe(cell, dataset, (0,), "test") for cell in cells(config)}

    study, grid = heads.get_config(preset), recipes(shipped.get_config(preset))
    for cell in cells(study):
        rates[cell.config.model.head.name].append(cell.config.train.learning_rate)
        assert f"rate {cell.config.train.learning_rate:g}" in cell.title
    assert rates.keys() == {"fusion", "concatenation", "text_anchored"}
    assert all(each == [3e-4, 1e-3, 3e-3, 1e-2] for each in rates.values())
    found = recipes(study)
    assert len(set(found.values())) == 12
    shared = found.keys() & grid.keys()
    assert shared == {"full", "concatenation-ours", "text-anchored-ours"}
    assert all(found[name] == grid[name] for name in shared)


def test_every_shipped_cell_makes_its_stated_change():
    config = shipped.get_config()
    config.init_from = "elsewhere"
    found = {cell.name: cell.config for cell in cells(config)}
    assert len(found) == len(shipped.CELLS)
    assert found["no-alignment"].model.audio.pretrained == "elsewhere/initial/audio"
    assert (found["no-alignment"].init_from, found["full"].init_from) == ("", "elsewhere")
    assert found["text-anchored"].model.head.name == "text_anchored"
    assert found["vision-text"].model.modalities == ("vision", "text")
    assert "grid" not in found["full"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cells": (("odd", "odd", (("modle.head.tcn", False),)),)}, "cell 'odd': there is no field config.modle.head"),
        ({"cells": (("odd", "odd", (("data.dir", "x"),)),)}, "cell 'odd': config.data.dir has no effect on the result"),
        (
            {"cells": (("odd", "odd", (("train.seed", 1),)),)},
            "config.train.seed cannot be changed: for seeds",
        ),
        ({"cells": (("odd", "odd", (("init_from", "{config.rot}/x"),)),)}, "'{config.rot}/x' names no field"),
        ({"cells": (("odd", "odd", (("train.epochs", None),)),)}, "train.epochs=None should be of the type"),
        ({"cells": (("odd", "odd", ("train.epochs", 2)),)}, "in which a comma ends the single one"),
        ({"cells": (("odd", "odd"),)}, r"expected \(NAME, TITLE, CHANGES\)"),
        ({"cells": ("odd",)}, "found 'odd', expected"),
        ({"cells": (("odd", "a", ()), ("odd", "b", ()))}, "two cells have the name 'odd'"),
        ({"cells": (("odd", "a", ()), ("b", "a", ()))}, "two cells have the title 'a'"),
        ({"cells": (("../odd", "a", ()),)}, "'../odd' names files"),
        ({"cells": ()}, "there is no cell 'odd'; there are none"),
        ({"cells": (("odd", "odd", (("model.modalities", ("audio",)),)),)}, "no cell is left: odd need more than text"),
        ({"seeds": ()}, r"grid.seeds=\(\): expected whole numbers from 0, one or more, each once"),
        ({"seeds": (0, 0)}, "each once"),
        ({"seeds": ("a",)}, "expected whole numbers"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused_in_one_line(fields, message):
    config = shipped.get_config()
    config.model.modalities = ("text",)
    config.grid.update({"cells": (("odd", "odd", ()),), "reference": "odd"} | fields)
    with pytest.raises(UserError, match=message):
        cells(config)


def test_a_damaged_cell_is_named_and_one_without_parameters_is_done_again(tmp_path):
    [cell] = cells(tiny_grid(tmp_path, "full"))
    (tmp_path / "cells").mkdir()
    result, parameters = (tmp_path / "cells" / f"full.{kind}" for kind in ("json", "safetensors"))
    recipe = ablation._recipe(cell, make_dataset(1, 1, 1), (0,), "test")
    result.write_text(json.dumps({"recipe": recipe}))
    assert ablation._finished(result, recipe) is None
    parameters.write_bytes(b"cut")
    assert ablation._finished(result, recipe)
    with pytest.raises(UserError, match=r"full.safetensors is damaged .*: delete it"):
        ablation.load_trained(cell, tmp_path)
    result.write_text("{")
    with pytest.raises(UserError, match=r"full.json cannot be parsed"):
        ablation._finished(result, recipe)
