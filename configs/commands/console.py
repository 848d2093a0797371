"""Estimates the intensity of six emotions from face, voice and words.

emi prepare --corpus=folder --source=CLIPS --labels=CSV --out=data/mine
emi train --config=stage1 --config.data.dir=data/mine --config.data.corpus=folder
emi train --config=stage2 --config.data.dir=data/mine --config.data.corpus=folder
emi evaluate --config=stage2 --split=valid
emi predict clip.mp4 --model=runs/demo/stage2 --pages
emi serve --model=runs/demo/stage2

The first word is the mode. What follows are the options below, or with `emi prepare` those of `emi prepare --help`.
"""

import sys
from collections.abc import Sequence

from emi_jax.memory import restart_with_tuned_malloc

PREPARE, PREDICT = "prepare", "predict"


def main() -> None:
    """The command `emi`."""
    mode, *rest = sys.argv[1:] or ["--help"]
    if mode == PREPARE:
        sys.argv[1:] = rest
        from data_prep.__main__ import main as prepare

        sys.exit(prepare())
    restart_with_tuned_malloc()
    from configs.commands.program import execute  # slow to import

    sys.argv[1:] = translated([mode, *rest])
    execute(str(__doc__))


def translated(arguments: Sequence[str]) -> list[str]:
    """The options of `run.py` for the arguments of `emi`: the mode and, of `predict`, the clips."""
    mode, *rest = arguments
    if mode.startswith("-"):
        return list(arguments)
    if mode == PREDICT and rest and not rest[0].startswith("-"):
        rest[0] = f"--input={rest[0]}"
    return [f"--mode={mode}", *rest]
