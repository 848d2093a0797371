"""The study of tuned forms swaps what its rows name."""

import argparse
import importlib
import os

import pytest

from benchmarks.comparison.cases import CASES
from benchmarks.comparison.worker import KERNELS
from benchmarks.compiled import forms
from emi_jax.memory import SWITCH


def run_of(*milliseconds):
    seconds = [value / 1e3 for value in milliseconds]
    return {"steps_s": seconds, "cpu_s": [2 * value for value in seconds]}


@pytest.mark.parametrize("form", forms.ROWS)
def test_one_side_runs_the_plain_form_and_the_other_does_not(form, tmp_path, monkeypatch):
    plain = []

    def run_worker(folder, arguments, options):
        plain.append(f"--plain={form}" in arguments or os.environ.get(SWITCH) == "0")
        return run_of(100, 110, 120) if plain[-1] else run_of(80, 88, 96)

    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(forms, "run_worker", run_worker)
    options = argparse.Namespace(repeats=2, seconds=0.0)
    row = forms.time_both(form, "cached-demo", "float32", options, tmp_path)
    assert plain == [False, True] * 2
    assert row == pytest.approx({"tuned_ms": 88, "plain_ms": 110, "tuned_cpu_ms": 176, "plain_cpu_ms": 220})
    table = forms.markdown([{"form": form, "case": "cached-demo", "dtype": "float32"} | row])
    assert table.splitlines()[2] == f"| {form} | cached-demo | float32 | 88 | 110 | 20% | 176 | 220 |"


def test_rows_name_kernels_with_two_forms_and_known_cases():
    assert set(forms.ROWS) == {*KERNELS, forms.MALLOC}
    for name in KERNELS:
        kernel = importlib.import_module(f"emi_jax.kernels.{name}")
        assert callable(kernel.tuned)
        assert callable(kernel.reference)
    assert {case for rows in forms.ROWS.values() for case, _ in rows} <= CASES.keys()
