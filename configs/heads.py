"""Each head of stage 2 at four learning rates, five seeds each: which rate suits it, by its score on `valid`.

python run.py --config=configs/heads.py
python run.py --config=configs/heads.py:whole
"""

from ml_collections import ConfigDict

from configs import ablation

RATES = {"slow": 0.3, "": 1.0, "fast": 3.0, "fastest": 10.0}
"""Name and learning rate, as a multiple of the config's own."""


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the study; presets as for stage 2. Cells that the ablation grid has are shared with it."""
    config = ablation.study("heads", (), preset)
    shipped = {cell[0]: cell for cell in ablation.CELLS}
    cells = []
    for name in ("full", "concatenation-ours", "text-anchored-ours"):
        _, title, changes = shipped[name]
        for pace, factor in RATES.items():
            rate = float(f"{config.train.learning_rate * factor:.3g}")
            own = "-".join(filter(None, (name, pace)))
            cells.append((own, f"{title}, learning rate {rate:g}", (*changes, ("train.learning_rate", rate))))
    config.grid.cells = tuple(cells)
    return config


PRESETS = ablation.PRESETS
