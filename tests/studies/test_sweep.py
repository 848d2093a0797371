"""A sweep: runs of their own, ranked on the validation split; a killed one ends with the same table."""

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats
from ml_collections import ConfigDict
from safetensors.numpy import load_file

from configs import sweep as shipped
from emi_jax.errors import UserError
from emi_jax.metrics import bootstrap
from emi_jax.runs import results
from emi_jax.runs.experiment import Experiment
from emi_jax.studies import sweep, sweep_scores
from emi_jax.studies.search import Setting
from emi_jax.train.hooks import Log
from tests.configs import shrink_sizes
from tests.fakes import make_dataset, with_subjects

ROOT = Path(__file__).parents[2]
RATE, NORM = "train.learning_rate", "train.clip_norm"


def make_config(folder: Path, **changes) -> ConfigDict:
    config = shrink_sizes(shipped.get_config("descriptors"))
    config.workdir = str(folder)
    config.features.dir = str(folder / "features")
    config.model.modalities = ("text",)
    config.train.update(members=2, epochs=2, warmup_epochs=0.5, evaluate_every=1.0, save_every=1.0)
    config.train.rate_factors = ((".*", 1.0),)
    config.sweep.fields = ((RATE, "values", (1e-3, 1e-2)), (NORM, "values", (1.0, -1.0)))
    config.update_from_flattened_dict(changes)
    return config


def data():
    return with_subjects(make_dataset(train=16, valid=14, test=11))


def run(folder: Path):
    return sweep.run(make_config(folder), data(), jax.devices()[:1])


def die_in_the_second_run(folder: str) -> None:
    """Called in a process of its own, which kills itself after a checkpoint of the second run."""
    flush, logs = Log.flush, []

    def flush_or_die(log):
        logs.append(id(log))
        unfinished = [path for path in Path(folder).glob("runs/*") if not (path / "valid.safetensors").exists()]
        if len(set(logs)) == 2 and any((path / "checkpoints" / "last" / "2").exists() for path in unfinished):
            signal.raise_signal(signal.SIGKILL)
        flush(log)

    Log.flush = flush_or_die
    run(Path(folder))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def correlations(path: Path) -> list[float]:
    kept = load_file(path)
    pairs = zip(kept["predictions"].T, kept["labels"].T, strict=True)
    return [scipy.stats.pearsonr(*pair).statistic for pair in pairs]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, *run(folder)


def test_settings_are_ranked_by_scipys_score_on_the_validation_split(swept):
    folder, summary, best = swept
    found = rows(folder)
    done = [row for row in found if not row["failed"]]
    assert [row["setting"] == "base" for row in done].count(True) == 1
    scores = []
    for row in done:
        path = folder / "runs" / f"{row['setting']}-0"
        expected = correlations(path / "valid.safetensors")
        assert float(row["valid_pearson"]) == pytest.approx(np.mean(expected), abs=1e-6)
        assert int(row["parameters"]) > 100
        assert json.loads((path / "config.json").read_text())["train"]["learning_rate"] == float(row[RATE])
        scores.append(np.mean(expected))
    assert scores == sorted(scores, reverse=True)
    assert best.workdir == str(folder / "runs" / f"{done[0]['setting']}-0")
    assert summary.verdict == f"best on valid: {done[0]['setting']}, mean pearson {scores[0]:.3f}"
    assert "intervals over 5 subjects, too few" in summary.table
    experiment = Experiment.open(best, data(), best.workdir, jax.devices()[:1], output=folder / "evaluated")
    assert results.evaluate(experiment, "valid").verdict == f"mean pearson {scores[0]:.3f}"


def test_test_scores_are_shown_for_the_best_and_the_base_alone(swept):
    folder, _, _ = swept
    done = [row for row in rows(folder) if not row["failed"]]
    shown = {row["setting"] for row in done if row["test_pearson"]}
    assert shown == {done[0]["setting"], "base"}
    base = next(row for row in done if row["setting"] == "base")
    assert (base["valid_minus_base"], base["test_minus_base_low"]) == ("", "")
    expected = correlations(folder / "runs" / "base-0" / "test.safetensors")
    assert float(base["test_pearson"]) == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_failed_run_is_listed_with_its_reason_and_the_others_are_done(swept):
    folder, summary, _ = swept
    failed = [row for row in rows(folder) if row["failed"]]
    assert [float(row[NORM]) for row in failed] == [-1, -1]
    assert all("config.train.clip_norm=-1 should be 0 or more" in row["failed"] for row in failed)
    assert summary.table.count("failed, train.") == 2


def test_a_sweep_that_is_killed_and_started_again_ends_with_the_same_table(swept, tmp_path):
    folder, summary, _ = swept
    call = f"import tests.conftest; from tests.studies.test_sweep import *; die_in_the_second_run({str(tmp_path)!r})"
    assert subprocess.run([sys.executable, "-c", call], cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    done = sorted(tmp_path.glob("runs/*/valid.safetensors"))
    assert len(done) == 1
    assert not (tmp_path / "sweep.csv").exists()
    before = done[0].stat().st_mtime_ns
    again, _ = run(tmp_path)
    assert (tmp_path / "sweep.csv").read_bytes() == (folder / "sweep.csv").read_bytes()
    assert done[0].stat().st_mtime_ns == before
    without_seconds = [re.sub(r" +\d+$", "", table, flags=re.M) for table in (again.table, summary.table)]
    assert without_seconds[0] == without_seconds[1]


def test_runs_of_another_config_are_refused(swept):
    folder, _, _ = swept
    with pytest.raises(UserError, match=r"another config: train.epochs was 2, is 4"):
        sweep.run(make_config(folder, **{"train.epochs": 4}), data(), jax.devices()[:1])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data.train_on": ("train", "valid")}, "chooses by the scores on valid, whose clips may not be trained on"),
        ({"sweep.seeds": (1, 1)}, "expected one seed or more, each once"),
    ],
)
def test_what_cannot_be_swept_is_refused(changes, error, tmp_path):
    with pytest.raises(UserError, match=error):
        sweep.runs(make_config(tmp_path, **changes))


def test_a_score_is_the_mean_over_seeds_and_differences_are_paired():
    rng, dataset = np.random.default_rng(0), data()
    labels = rng.random((14, 6), np.float32)

    def outputs(noise):
        predictions = labels + noise * rng.random((14, 6), np.float32)
        return {
            "predictions": predictions,
            "labels": labels,
            "label_mask": np.ones((14, 6), bool),
            "clip": np.arange(14),
            "parameters": np.array(7),
        }

    one, other = ([outputs(noise), outputs(noise)] for noise in (0.5, 2.0))
    made = [
        sweep_scores.score(Setting({}, {}), each, [[{"step": 5, "seconds_per_step/data": 0.5}]] * 2, dataset, "valid")
        for each in (one, other)
    ]
    means = [
        np.mean([scipy.stats.pearsonr(run["predictions"], labels).statistic for run in each]) for each in (one, other)
    ]
    assert [each.pearson for each in made] == pytest.approx(means, abs=1e-6)
    difference, *ends = made[0].minus(made[1])
    assert difference == pytest.approx(means[0] - means[1], abs=1e-6)
    people = np.arange(14) % 5
    drawn = np.random.default_rng(0).multinomial(5, np.full(5, 1 / 5), 2000)[:20]
    by_hand = []
    for times in drawn:
        clips = np.concatenate([np.tile(np.flatnonzero(people == k), n) for k, n in enumerate(times)])
        scores = [
            np.mean([scipy.stats.pearsonr(run["predictions"][clips], labels[clips]).statistic for run in each])
            for each in (one, other)
        ]
        by_hand.append(scores[0] - scores[1])
    np.testing.assert_allclose((made[0].drawn - made[1].drawn)[:20], by_hand, atol=1e-5)
    np.testing.assert_allclose(ends, bootstrap.quantiles(made[0].drawn - made[1].drawn))
    assert (made[0].parameters, made[0].seconds) == (7, 5.0)


def test_seconds_of_repeated_steps_count_once():
    records = [
        {"step": 9, "seconds_per_step/data": 0.5, "seconds_per_step/step": 1.5},
        {"step": 10, "valid/mean/pearson": 0.5},
        {"step": 19, "seconds_per_step/data": 0.5, "seconds_per_step/step": 0.5},
    ]
    assert sweep_scores.training_seconds(records) == 9 * 2 + 10
