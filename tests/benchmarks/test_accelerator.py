"""`benchmarks.accelerator` runs on a CPU at tiny sizes, and records what could not be measured and why."""

import argparse
import dataclasses

import pytest

from benchmarks.accelerator import __main__ as command
from benchmarks.accelerator import plan, report, trace
from benchmarks.comparison.cases import CASES
from benchmarks.comparison.worker import SIDES
from configs import stage1, stage2

RAN = ("check-stage1", "check-attention", "cached-tiny-bfloat16-jax", "trace-cached-tiny")


def speed(side, seconds):
    """A line of results."""
    measured = {"clips": 4, "first_s": 2.0, "steps_s": [seconds] * 3, "waits_s": [0.0] * 3, "cpu_s": [0.1] * 3}
    labels = {"case": "stage1-paper", "dtype": "bfloat16", "side": side}
    return {"task": side, "kind": "speed", **labels, "result": measured | {"peak_mib": 1.0, "flops": 5e12}}


def results(folder):
    return {one["task"]: one for one in command.read(folder) if "task" in one}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of a run of a few tasks."""
    folder = tmp_path_factory.mktemp("accelerator")
    command.main([f"--out={folder}", "--device=cpu", f"--tasks={','.join(RAN)}", "--seconds=0.1", "--minutes=5"])
    return folder


def test_a_step_agrees_with_double_precision_as_far_as_its_own_precision_allows(measured):
    rows = {row["what"]: row for row in results(measured)["check-stage1"]["result"]["rows"]}
    assert all(row["passes"] for row in rows.values())
    assert rows["full float32, gradients"]["error"] < 1e-5
    assert rows["bfloat16, gradients"]["error"] > 1e-4  # products in bfloat16 were really compared


def test_speeds_and_operations_are_measured(measured):
    speed = results(measured)["cached-tiny-bfloat16-jax"]["result"]
    assert speed["clips"] == CASES["cached-tiny"].sizes.batch
    assert speed["flops"] > 0
    traced = results(measured)["trace-cached-tiny"]["result"]
    assert traced["operations"][0]["ms"] > 0
    assert list((measured / "trace-cached-tiny").rglob("*.trace.json.gz"))


def test_what_cannot_run_is_recorded_with_the_reason(measured):
    reason = results(measured)["check-attention"]["result"]["unavailable"]
    assert reason == "cuDNN's attention runs on NVIDIA GPUs alone"
    page = (measured / "report.md").read_text()
    assert f"| check-attention | {reason} |" in page
    assert "| stage1 | bfloat16, loss |" in page
    assert "| cached-tiny | bfloat16 | jax |" in page
    assert "## One step of cached-tiny, bfloat16, jax" in page


def test_a_second_start_repeats_only_what_has_no_result(measured, monkeypatch):
    started = []
    monkeypatch.setattr(command, "measure", lambda task, *_: started.append(task.name) or {"unavailable": "again"})
    command.main([f"--out={measured}", "--device=cpu", f"--tasks={','.join(RAN)}"])
    assert started == ["check-attention"]


def test_programs_compiled_ahead_are_timed_alone_and_keep_the_time_of_their_compilation(tmp_path, monkeypatch):
    measured = []

    def measure(task, options, left, shares_device=False):
        measured.append((task.name, shares_device))
        if task.kind == "check":
            return {"rows": []}
        return speed("jax", 0.1)["result"] | {"first_s": 9.0 if shares_device else 1.0}

    monkeypatch.setattr(command, "measure", measure)
    timed = "cached-tiny-bfloat16-jax"
    command.main([f"--out={tmp_path}", "--device=cpu", "--ahead=2", f"--tasks=check-stage1,{timed}"])
    assert sorted(measured) == [(timed, False), (timed, True), ("check-stage1", True)]
    assert measured[-1] == (timed, False)
    assert results(tmp_path)[timed]["result"]["first_s"] == 9.0
    untimed = next(task for task in plan.tasks("cpu", 4.0) if task.name == timed).untimed
    assert untimed.arguments[-2:] == ("--seconds=0", "--no-count")


@pytest.mark.parametrize(
    ("changes", "left", "reason"),
    [
        ({"needs": ("jax", "no_such_package")}, 60.0, "not installed here: no_such_package"),
        ({}, 1.0, "not started: the 8 minutes are over"),
        ({"seconds": 0.1}, 60.0, "took longer than 0 s"),
        ({"arguments": ("benchmarks.no_such_module",)}, 60.0, "No module named benchmarks.no_such_module"),
    ],
)
def test_a_task_that_fails_or_runs_out_of_time_has_a_reason(changes, left, reason, tmp_path):
    task = dataclasses.replace(plan.tasks("cpu", 1.0)[0], **changes)
    options = argparse.Namespace(device="cpu", threads=0, minutes=8.0, out=tmp_path)
    assert reason in command.measure(task, options, left)["unavailable"]


def test_an_unknown_task_is_named_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        command.parse(["--out=x", "--device=cpu", "--tasks=check-stage3"])
    assert "unknown task 'check-stage3'; there are peak-bfloat16-jax, check-stage1," in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_task_has_a_name_of_its_own_and_names_a_case_and_a_side(device):
    tasks = plan.tasks(device, 1.0)
    assert len({task.name for task in tasks}) == len(tasks)
    assert {task.labels["case"] for task in tasks if task.kind in ("speed", "trace")} <= CASES.keys()
    assert {task.labels["side"] for task in tasks if task.kind == "speed"} == set(SIDES)


def test_the_paper_sizes_equal_the_preset():
    """Layerdrop and SpecAugment aside, which the comparison leaves out on both sides."""
    for kind, config in (("stage1", stage1.get_config("vidmimic2")), ("cached", stage2.get_config("vidmimic2"))):
        sizes, data = CASES[f"{kind}-paper"].sizes, config.data
        assert (sizes.num_frames, sizes.seconds, sizes.num_tokens) == (data.num_frames, data.seconds, data.num_tokens)
        assert sizes.batch == config.train.batch_size
        assert not config.model.attention_dropout
    assert sizes.width == config.model.head.fusion.width
    assert sizes.num_heads == config.model.head.fusion.num_heads


def test_the_kernels_of_a_gpu_are_counted_once():
    def event(line, name, operation, microseconds):
        return {"ph": "X", "pid": 1, "tid": line, "name": name, "dur": microseconds, "args": {"hlo_op": operation}}

    names = [{"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "Stream #13(Compute)"}}]
    names += [{"ph": "M", "pid": 1, "tid": 2, "name": "thread_name", "args": {"name": "XLA Ops"}}]
    events = [event(1, "nvjet_1", "command_buffer", 3000), event(1, "nvjet_2", "command_buffer", 1000)]
    events += [event(2, "gemm_fusion.1", "gemm_fusion.1", 3000), event(1, "loop_add", "command_buffer", 1000)]
    assert trace.operations(names + events) == [
        {"name": "nvjet", "count": 2, "ms": 4.0, "share": 0.8},
        {"name": "loop_add", "count": 1, "ms": 1.0, "share": 0.2},
    ]


def test_the_page_compares_sides_of_the_same_case_and_dtype():
    peak = {"task": "peak", "kind": "peak", "dtype": "bfloat16", "side": "jax", "result": {"flops_per_second": 1e14}}
    page = report.markdown([peak, speed("jax", 0.2), speed("jax.remat", 0.1), speed("torch.compile", 0.15)])
    assert "| stage1-paper | bfloat16 | 100 | torch.compile | 150 | 1.50 |" in page
    assert "bfloat16 jax 100000" in page
    assert "| 50% |" in page  # 5 TFLOP in 0.1 s of 100 TFLOP/s
