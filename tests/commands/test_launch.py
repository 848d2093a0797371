"""Parts of a study in processes of their own, and as a job array."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from absl.testing import flagsaver

from configs import ablation, heads
from configs import sweep as shipped
from configs.command_line import training_command
from configs.commands import launch, program
from configs.commands.launch import start_all, starts_others, write_job_array
from configs.commands.study import run
from emi_jax.errors import UserError
from emi_jax.studies import sweep
from emi_jax.studies.parts import Part
from tests.fakes import make_dataset

WRITES = """
import json, os, pathlib, sys, time
number = int(sys.argv[-1].rpartition("=")[2])
folder = pathlib.Path(sys.argv[1])
names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION")
facts = [time.time(), *map(os.environ.get, names), sorted(os.sched_getaffinity(0))]
(folder / f"{number}.json").write_text(json.dumps(facts))
print("number", number)
time.sleep(0.3)
(folder / f"{number}.end").write_text(str(time.time()))
sys.exit(3 if number == 2 else 0)
"""


def make_config(folder, **changes):
    config = shipped.get_config()
    config.workdir = str(folder / "sweep")
    config.update_from_flattened_dict(changes)
    return config


PARTS = [Part(f"part-{number}", lambda: False, lambda: None) for number in range(6)]


def start(folder, count, missing=(1, 2, 4, 5)):
    """Starts processes that write when they began, their GPU, its share, and their cores; {part: these}."""
    start_all([sys.executable, "-S", "-c", WRITES, str(folder)], missing, PARTS, folder / "logs", count)
    return {number: json.loads((folder / f"{number}.json").read_text()) for number in missing}


def test_processes_do_the_missing_parts_side_by_side_each_with_its_log(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "emi_jax")
    monkeypatch.setattr(launch.log, "propagate", True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    found = start(tmp_path, 2)
    began = {number: facts[0] for number, facts in found.items()}
    ended = {number: float((tmp_path / f"{number}.end").read_text()) for number in began}
    assert {tuple(facts[1:3]) for facts in found.values()} == {("4", "0.90"), ("6", "0.90")}
    assert {tuple(facts[3]) for facts in found.values()} == {tuple(sorted(os.sched_getaffinity(0)))}
    for number, moment in began.items():
        assert sum(began[other] <= moment < ended[other] for other in began) <= 2, number
    assert began[2] < ended[1]
    assert (tmp_path / "logs" / "part-4" / "log.txt").read_text() == "number 4\n"
    assert f"part-2: ended with exit code 3, see {tmp_path / 'logs' / 'part-2' / 'log.txt'}; 2 left" in caplog.text
    assert not (tmp_path / "0.json").exists()


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [("0,1", 3, {("0", "0.45"), ("1", "0.45")}), ("5", 4, {("5", "0.23")})],
)
def test_processes_share_the_gpus(visible, count, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert {tuple(facts[1:3]) for facts in start(tmp_path, count).values()} == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are shared out where the system can")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_processes_share_the_cores_where_there_is_no_gpu(count, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = os.sched_getaffinity(0)
    shares = [facts[3] for facts in start(tmp_path, count).values()]
    assert os.sched_getaffinity(0) == cores
    assert set().union(*shares) == (cores if count <= len(cores) else set(sorted(cores)[:4]))
    sizes = {len(cores) // count, -(-len(cores) // count)} - {0}
    assert {len(share) for share in shares} <= sizes
    if count <= min(len(cores), 4):
        assert len(set(map(tuple, shares))) == count


def test_a_job_array_has_one_task_for_each_missing_run(tmp_path):
    path = write_job_array(tmp_path / "sweep", ["echo", "a b", "--config=x"], [0, 1, 2, 5, 7, 8], 4)
    text = path.read_text()
    assert "#SBATCH --array=0-2,5,7-8%4\n" in text
    assert "%4" not in write_job_array(tmp_path / "sweep", ["echo"], [3], 1).read_text()
    path.write_text(text)
    task = subprocess.run(
        ["bash", str(path)], env=os.environ | {"SLURM_ARRAY_TASK_ID": "7"}, capture_output=True, text=True, check=True
    )
    assert task.stdout == "a b --config=x --config.launch.launcher=local --config.launch.index=7\n"


def test_a_job_array_is_written_and_nothing_is_trained(tmp_path):
    config = make_config(tmp_path, **{"launch.launcher": "slurm"})
    assert starts_others(config)
    assert run(config, make_dataset(), "", ["python", "run.py"], ()) is None
    assert "--array=0-5\n" in (tmp_path / "sweep" / "job_array.sbatch").read_text()
    assert not (tmp_path / "sweep" / "runs").exists()


def test_a_process_that_does_one_run_starts_no_others(tmp_path):
    assert not starts_others(make_config(tmp_path, **{"launch.index": 3, "launch.processes": 4}))
    assert not starts_others(make_config(tmp_path))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"launch.launcher": "cloud"}, "found launcher=cloud, processes=1, index=-1; expected local or slurm"),
        ({"launch.index": 6}, "index=6; .* a number below 6, the parts of the study"),
        ({"sweep.fields": (("model.head.text_anchored.width", "values", (8,)),)}, "head in use is 'fusion'"),
    ],
)
def test_what_cannot_be_started_is_refused(changes, error, tmp_path):
    with pytest.raises(UserError, match=error):
        run(make_config(tmp_path, **changes), make_dataset(), "", ["python", "run.py"], ())


def grid(**changes):
    config = ablation.get_config()
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    ("config", "overridden", "error"),
    [
        (shipped.get_config(), ["train.seed"], "train.seed does nothing in this study: its runs have those of"),
        (grid(), ["train.seed"], "train.seed does nothing in this study: its cells have those of config.grid.seeds"),
        (heads.get_config(), ["train.learning_rate"], "learning_rate does nothing in this study: all of its cells"),
        (grid(**{"model.head.fusion.bilstm": False}), [], "cell 'no-gate': config.model.head.fusion.gate does nothing"),
    ],
)
def test_what_a_study_replaces_or_cannot_use_is_refused(config, overridden, error):
    with pytest.raises(UserError, match=error):
        run(config, make_dataset(), "test", ["python", "run.py"], overridden)


def test_a_study_needs_a_folder_without_a_run(tmp_path):
    config = make_config(tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="sweep holds a run, and a study needs a folder of its own"):
        run(config, make_dataset(), "", ["python", "run.py"], ())


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_the_command_of_a_run_trains_the_same_run(tmp_path, monkeypatch):
    config = shipped.get_config("text_anchored")
    config.root, config.train.frozen = str(tmp_path / "my root"), ("^towers/", "nothing")
    chosen = sweep.runs(config)[-1].config
    words = shlex.split(training_command(chosen))
    assert words[:3] == ["python", "run.py", "--config=configs/stage2.py:demo,text_anchored"]
    monkeypatch.setattr("sys.argv", words[1:])
    with flagsaver.flagsaver():
        program.parse(words[1:])
        found, expected = program.CONFIG.value.to_dict(), chosen.to_dict()
        assert {"bindings", *expected} == found.keys()
        expected["workdir"] = program.WORKDIR.value
        differing = {name for name in expected if found[name] != expected[name]}
    assert differing <= {"bindings", "workdir"}
    assert chosen.train.weight_decay != config.train.weight_decay or chosen.train.learning_rate == 3e-3
