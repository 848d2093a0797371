"""Robustness of the models with and without the QAM; trains the cells of the ablation grid that are missing.

python run.py --config=configs/robustness.py
"""

from ml_collections import ConfigDict

from configs import ablation

COMPARED = ("no-corruption", "no-qam", "no-supervision", "full", "attention")


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the study; presets as for stage 2."""
    config = ablation.study("robustness", preset)
    config.grid.cells = tuple(cell for cell in ablation.CELLS if cell[0] in COMPARED)
    return config


PRESETS = ablation.PRESETS
