"""A search over fields of stage 2, by default learning rate and weight decay.

python run.py --config=configs/sweep.py
python run.py --config=configs/sweep.py:descriptors --config.data.dir=DIR --config.data.corpus=folder
python run.py --config=configs/sweep.py --config.sweep.samples=20 \
  --config.sweep.fields="(('train.learning_rate','log',(1e-4,1e-2)),('model.modality_dropout','uniform',(0.0,0.3)))"
"""

from ml_collections import ConfigDict

from configs import presets, stage2, studies


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the sweep; presets as for stage 2. For other fields, copy this file and change FIELDS."""
    config = presets.apply(stage2.start(studies.SWEEP), preset, PRESETS)
    presets.place(config, "sweep")
    config.study = "sweep"
    train = config.train
    config.sweep.fields = (
        ("train.learning_rate", "values", _multiples(train.learning_rate, 1 / 3, 1, 3)),
        ("train.weight_decay", "values", _multiples(train.weight_decay, 0.1, 1)),
    )
    return config


def _multiples(value: float, *factors: float) -> tuple[float, ...]:
    """The products, each rounded to two digits."""
    return tuple(float(f"{value * factor:.2g}") for factor in factors)


PRESETS = stage2.PRESETS
