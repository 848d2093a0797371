"""Robustness of the models with and without the QAM; trains the cells of the ablation grid that are missing.

python run.py --config=configs/robustness.py
python run.py --config=configs/robustness.py:descriptors --config.data.dir=DIR --config.data.corpus=folder
"""

from ml_collections import ConfigDict

from configs import ablation

COMPARED = ("no-corruption", "no-qam", "no-supervision", "full", "attention")
DESCRIPTOR_COMPARED = ("single", "fusion", "fusion-no-qam", "fusion-corrupted", "fusion-supervised")


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the study; presets as for stage 2."""
    config = ablation.study("robustness", preset)
    described = ablation.is_described(config)
    compared = DESCRIPTOR_COMPARED if described else COMPARED
    config.grid.cells = tuple(cell for cell in config.grid.cells if cell[0] in compared)
    config.grid.reference = "fusion-supervised" if described else "full"  # has what the others lack
    return config


PRESETS = ablation.PRESETS
