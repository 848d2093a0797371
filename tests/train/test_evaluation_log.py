"""What is logged after each evaluation."""

import logging
from types import SimpleNamespace

import pytest

from emi_jax.train.hooks import Evaluate


def evaluation(scores, is_best, seeds=()):
    scorer = SimpleNamespace(split="valid", run=lambda params, progress: (scores, {}))
    best = SimpleNamespace(update=lambda step, params, goals: is_best)
    state = SimpleNamespace(evaluated={}, evaluated_params={})
    records = []
    save = SimpleNamespace(log=SimpleNamespace(flush=lambda: None))
    hook = Evaluate(
        2, 1500, scorer, "recall", ("probe",), save, best, lambda *record: records.append(record), seeds, shows=False
    )
    hook(1200, state, {})
    return records


@pytest.mark.parametrize(
    ("scores", "is_best", "seeds", "line"),
    [
        ([{"recall": 0.25, "rank": 3.0}], True, (), "recall 0.250, the best so far"),
        ([{"recall": 0.25, "probe": 0.5}], False, (), "recall 0.250, probe 0.500"),
        ([{"recall": 0.25}, {"recall": 0.75}], False, (0, 1), "recall 0.500 (0.250 to 0.750 over 2 seeds)"),
    ],
)
def test_the_scores_that_matter_are_logged_after_each_evaluation(caplog, scores, is_best, seeds, line):
    with caplog.at_level(logging.INFO, "emi_jax"):
        records = evaluation(scores, is_best, seeds)
    assert caplog.messages == [f"step 1,200 of 1,500, valid: {line}"]
    assert records[0][1]["valid/recall"] == sum(found["recall"] for found in scores) / len(scores)
