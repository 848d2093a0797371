"""Stage 1: vision-text and audio-text contrastive alignment.

python run.py --config=configs/stage1.py
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str = "demo") -> ConfigDict:
    """The config of stage 1; presets `demo`."""
    config = ConfigDict(
        {
            "stage": "alignment",
            "preset": preset,
            "workdir": "runs/demo/stage1",
            "init_from": "",
            "data": presets.data(),
            "model": presets.encoders(),
            "train": presets.train(),
            "loss": {"vision": 1.0, "audio": 1.0},
        }
    )
    config.model.dtype = "float32"
    config.model.remat = False
    config.model.pairs = ("vision", "audio")
    config.model.width = 96
    return presets.apply(config, preset, {"demo": demo})


def demo(config: ConfigDict) -> None:
    """Small encoders from scratch on the synthetic corpus, minutes on two cores."""
    config.data.num_frames = 4
    config.loss.audio = 0.1  # with 1.0 the voice is learnt at once and the face not at all
    config.train.batch_size = 64
    config.train.epochs = 20
    config.train.evaluate_every = 5.0
    config.train.save_every = 5.0
