"""Each head of stage 2 at four learning rates, five seeds each: which rate suits it, by its score on `valid`.

python run.py --config=configs/heads.py
python run.py --config=configs/heads.py:whole
python run.py --config=configs/heads.py:descriptors --config.data.dir=DIR --config.data.corpus=folder
"""

from ml_collections import ConfigDict

from configs import ablation

RATES = {"slow": 0.3, "": 1.0, "fast": 3.0, "fastest": 10.0}
"""Name and learning rate, as a multiple of the config's own."""
HEADS = ("full", "concatenation-ours", "text-anchored-ours")
DESCRIPTOR_HEADS = ("single", "fusion-no-qam", "concatenation")
"""The heads by their cells in the ablation grid; the others are compared with the first. Descriptors of words have no
class token, which the head `text_anchored` asks with."""


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the study; presets as for stage 2. Cells that the ablation grid has are shared with it."""
    config = ablation.study("heads", preset)
    shipped = {name: (title, changes) for name, title, changes in config.grid.cells}
    heads = DESCRIPTOR_HEADS if ablation.is_described(config) else HEADS
    cells = []
    for name in heads:
        title, changes = shipped[name]
        for pace, factor in RATES.items():
            rate = float(f"{config.train.learning_rate * factor:.3g}")
            own = "-".join(filter(None, (name, pace)))
            cells.append((own, f"{title}, learning rate {rate:g}", (*changes, ("train.learning_rate", rate))))
    config.grid.update(cells=tuple(cells), reference=heads[0])
    return config


PRESETS = ablation.PRESETS
