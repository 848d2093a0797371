"""Stage 2: six intensities from the encoders of stage 1.

python run.py --config=configs/stage2.py
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str = "demo") -> ConfigDict:
    """The config of stage 2; presets `demo`."""
    config = ConfigDict(
        {
            "stage": "intensity",
            "preset": preset,
            "workdir": "runs/demo/stage2",
            "init_from": "runs/demo/stage1",
            "data": presets.data(),
            "model": presets.encoders(),
            "train": presets.train(),
            "features": {"dir": "", "renditions": 2},
            "loss": {"correlation": 0.1, "quality": 0.1},
        }
    )
    config.model.dtype = "float32"
    config.model.remat = False
    config.model.modalities = ("vision", "audio", "text")
    config.model.modality_dropout = 0.1
    config.model.head = {
        "name": "fusion",
        "width": 256,
        "tcn": True,
        "tcn_dilations": (1, 2, 4, 8),
        "tcn_causal": False,
        "bilstm": True,
        "lstm_hidden": 0,
        "gate": True,
        "quality": True,
        "attention_bias": False,
        "decoder": True,
        "num_layers": 2,
        "num_heads": 8,
        "mlp_ratio": 4,
        "dropout": 0.1,
    }
    config.train.frozen = ("^towers/",)
    config.train.corrupt = 0.3
    return presets.apply(config, preset, {"demo": demo})


def demo(config: ConfigDict) -> None:
    """A small fusion on frozen demo encoders, minutes on two cores."""
    config.features.dir = "runs/demo/features"
    config.features.renditions = 4
    config.model.head.width = 96
    config.model.head.num_heads = 4
    config.train.batch_size = 32
    config.train.epochs = 20
