"""The command line: wrong input is one clear line, a non-zero exit and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "no config: say which, with --config=configs/stage1.py"),
        (("--config=configs/stage3.py",), "configs/stage3.py"),
        (("--config=configs/stage1.py:hugest",), "unknown preset 'hugest'; there are demo"),
        (("--config=configs/stage1.py", "--config.train.bach_size=8"), "batch_size"),
        (("--config=configs/stage1.py", "--config.train.flavour=8"), "the config has no such field: 'flavour'"),
        (("--config=configs/stage1.py", "--config.train.batch_size=many"), "many"),
        (("--config=configs/stage1.py", "--mode=dance"), "dance"),
        (("--config=configs/stage1.py", "train"), "unexpected argument 'train'"),
        (
            ("--config=configs/stage1.py", "--config.data.corpus=folder", "--config.data.dir={tmp}/none"),
            "no dataset in {tmp}/none",
        ),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, expected, tmp_path):
    arguments = [argument.format(tmp=tmp_path) for argument in (*arguments, f"--workdir={tmp_path / 'run'}")]
    run = subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr + run.stdout
    errors = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert expected.format(tmp=tmp_path) in errors[0]
