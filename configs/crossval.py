"""Cross-validation of stage 2 over subjects.

python run.py --config=configs/crossval.py
python run.py --config=configs/crossval.py:descriptors --config.data.dir=DIR --config.data.corpus=folder
"""

from ml_collections import ConfigDict

from configs import presets, stage2, studies


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of the cross-validation; presets as for stage 2."""
    config = presets.apply(stage2.start(studies.CROSSVAL), preset, PRESETS)
    presets.place(config, "crossval")
    config.study = "crossval"
    config.train.select = "last"  # the held-out clips of a fold may not select its checkpoint
    return config


PRESETS = stage2.PRESETS
