import json
import subprocess
import sys

import pytest

from benchmarks import compare, tables
from benchmarks.comparison import summary
from benchmarks.comparison.cases import CASES, Case
from benchmarks.comparison.shapes import STAGE1, STAGE2, Sizes, audio_steps


def rounds(*steps_s, clips=4):
    return [
        {
            "clips": clips,
            "first_s": 2.0,
            "steps_s": list(steps),
            "waits_s": [0.1 * step for step in steps],
            "cpu_s": [2 * step for step in steps],
            "peak_mib": 100.0,
            "flops": 5e9 if number == 0 else None,
        }
        for number, steps in enumerate(steps_s)
    ]


def test_a_row_holds_medians_over_all_rounds_and_the_ratio_to_ours():
    found = {"jax": rounds([0.1, 0.2, 0.3], [0.2, 0.2, 0.2]), "torch": rounds([0.4] * 3, [0.6] * 3)}
    peaks = {"jax": {"flops_per_second": 1e10}, "torch": {"flops_per_second": 1e11}}
    ours, theirs = summary.summarise("tcn", "float32", found, peaks)
    assert ours["step_ms"] == pytest.approx(200)
    assert ours["clips_per_s"] == pytest.approx(20)
    assert ours["compile_s"] == pytest.approx(1.8)
    assert ours["peak_share"] == pytest.approx(5e9 / 0.2 / 1e11)
    assert ours["wait_share"] == pytest.approx(0.1)
    assert ours["ratio"] == 1.0
    assert theirs["rounds_ms"] == pytest.approx([400, 600])
    assert theirs["ratio"] == pytest.approx(2.5)


def test_a_side_that_cannot_run_has_a_reason_and_no_ratio():
    found = {"jax": rounds([0.1, 0.1]), "torch": [{"unavailable": "no compiler"}]}
    ours, theirs = summary.summarise("tcn", "float32", found, {})
    assert "ratio" in ours
    assert "ratio" not in theirs
    assert "could not run: no compiler" in summary.lines([ours, theirs])


def test_options_choose_cases_by_name_stage_and_preset():
    options = compare.parse(["--stage=2", "--preset=demo"])
    assert [case.name for case in compare.chosen(options)] == ["stage2-demo", "cached-demo"]
    options = compare.parse(["--cases=tcn,input"])
    assert [case.name for case in compare.chosen(options)] == ["tcn", "input"]


def test_an_unknown_case_is_named_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        compare.parse(["--cases=tcn,lstm"])
    message = capsys.readouterr().err
    assert "unknown: lstm" in message
    assert "bilstm-50" in message


def test_a_case_can_be_resized():
    case = CASES["stage1-base"].resized(batch=64, num_frames=0, seconds=5.0)
    assert (case.sizes.batch, case.sizes.num_frames, case.sizes.seconds) == (64, 2, 5.0)


def test_tables_replace_what_stands_between_their_marks():
    text = "a\n<!-- compare -->\nold\n<!-- /compare -->\nb\n"
    assert tables.fill(text, "compare", "| new |") == "a\n<!-- compare -->\n| new |\n<!-- /compare -->\nb\n"
    with pytest.raises(ValueError, match="compiled"):
        tables.fill(text, "compiled", "")


def test_a_table_says_what_it_was_measured_on():
    found = {"jax": rounds([0.1, 0.1]), "torch": rounds([0.2, 0.2])}
    report = {
        "machine": {"threads": 2, "instructions": ["avx2"], "python": "3.11", "versions": {"jax": "1", "torch": "2"}},
        "peaks": {"float32": {"jax": {"flops_per_second": 2e11}, "torch": {"unavailable": "?"}}},
        "results": summary.summarise("tcn", "float32", found, {}),
    }
    text = tables.compared([json.loads(json.dumps(report))])
    assert "2 cores" in text
    assert "float32 jax 200" in text
    assert "| tcn | float32 | torch | 200 |" in text
    assert "| tcn | float32 | 100 | torch | 200 | 2.00 |" in text


def test_the_better_of_the_others_counts():
    found = {"jax": rounds([0.1, 0.1]), "torch": rounds([0.2, 0.2]), "torch.compile": rounds([0.08, 0.08])}
    table = summary.against_better(summary.summarise("tcn", "float32", found, {}))
    assert table.splitlines()[2:] == ["| tcn | float32 | 100 | torch.compile | 80 | 0.80 |"]


def test_the_demo_sizes_equal_the_shipped_config():
    configs = pytest.importorskip("configs.stage1"), pytest.importorskip("configs.stage2")
    for sizes, module in zip((STAGE1["demo"], STAGE2["demo"]), configs, strict=True):
        shipped = module.get_config("demo")
        assert sizes.batch == shipped.train.batch_size
        assert (sizes.num_frames, sizes.seconds) == (shipped.data.num_frames, shipped.data.seconds)
        assert sizes.num_tokens == shipped.data.num_tokens
    assert STAGE2["demo"].width == shipped.model.head.fusion.width
    assert STAGE2["demo"].num_heads == shipped.model.head.fusion.num_heads


def test_audio_steps_of_wav2vec2_base():
    assert audio_steps(5.0, {}) == 249


def test_the_model_cases_need_jax_flax_optax_torch_and_transformers_alone():
    pytest.importorskip("torch")
    absent = ("grain", "tensorflow_datasets", "ml_collections", "av", "cv2", "orbax", "array_record", "librosa")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "from benchmarks import compare, tables;"
        "from benchmarks.comparison import chart, jax_side, torch_side, worker;"
        "from benchmarks.compiled import forms, study, worker"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize("kind", ["bilstm", "tcn", "attention", "contrastive"])
def test_both_sides_of_a_part_run_and_are_counted(kind):
    pytest.importorskip("torch")
    from benchmarks.comparison import jax_side, torch_side

    case = Case("small", kind, 2, "base", Sizes(2, 0, 0.0, 0, 16, 2), 6)
    for work in (jax_side.prepare(case, "float32"), torch_side.prepare(case, "float32")):
        work.step(work.feed())
        assert work.count() > 0


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (
            "Traceback (most recent call last):\na.b.InductorError: TypeError: no\n\nSet VERBOSE=1 for more",
            "a.b.InductorError: TypeError: no",
        ),
        ("ValueError: first\nRuntimeError: second", "RuntimeError: second"),
        (
            "F1127 23:09:28 7 x.cc:161] [id=1] Termination timeout\n*** Check failure stack trace: ***\n  @ 0x7",
            "[id=1] Termination timeout",
        ),
        ("python: No module named x", "python: No module named x"),
        ("", "no message"),
    ],
)
def test_a_failed_side_is_reported_by_the_line_that_names_its_exception_or_reason(errors, reason):
    assert compare.reason(errors) == reason
