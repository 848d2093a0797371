"""Stage 2: six intensities from the encoders of stage 1.

python run.py --config=configs/stage2.py
python run.py --config=configs/stage2.py:vidmimic2 --config.data.dir=DIR
python run.py --config=configs/stage2.py:vidmimic2,finetune --config.data.dir=DIR
"""

from ml_collections import ConfigDict

from configs import presets
from emi_jax.models.heads import switch_head


def get_config(preset: str = "demo") -> ConfigDict:
    """The config of stage 2; presets `demo` and `vidmimic2`, and after either `finetune` or a head of a peer."""
    config = ConfigDict(
        {
            "stage": "intensity",
            "preset": preset,
            "root": "runs/demo",  # folder of the runs that belong together
            "data": presets.data(),
            "model": presets.encoders(),
            "train": presets.train(),
            "features": {"renditions": 2},
            "loss": {"mse": 1.0, "correlation": 0.1, "ccc": 0.0, "quality": 0.1},
        }
    )
    presets.place(config, "stage2")
    config.init_from = presets.under_root(config, "stage1")
    config.features.dir = presets.under_root(config, "features")
    config.model.dtype = "float32"
    config.model.remat = False
    config.model.attention = "auto"
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
    more = {"finetune": finetune, "concatenation": concatenation, "text_anchored": text_anchored}
    return presets.apply(config, preset, {"demo": demo, "vidmimic2": vidmimic2, **more})


def demo(config: ConfigDict) -> None:
    """A small fusion on frozen demo encoders, minutes on two cores."""
    config.features.renditions = 1
    config.data.smallest_crop = 1.0  # as in stage 1
    config.model.head.width = 96
    config.model.head.num_heads = 4
    config.model.head.dropout = 0.3
    config.loss.correlation = 1.0  # some labels are nearly constant in a batch: their squared errors say little
    config.train.batch_size = 32
    config.train.epochs = 12
    config.train.evaluate_every = 1.0


def vidmimic2(config: ConfigDict) -> None:
    """The fusion of the paper on the frozen encoders of stage 1, read from the feature cache."""
    presets.paper_scale(config)


def finetune(config: ConfigDict) -> None:
    """Trains the text tower too, at a tenth of the learning rate: the largest gain known in the field.

    Features that change cannot be kept, so that clips are encoded in every step.
    """
    config.features.dir = ""
    config.train.frozen = ("^towers/vision/", "^towers/audio/")
    config.train.rate_factors = (("^towers/text/", 0.1), (".*", 1.0))


def concatenation(config: ConfigDict) -> None:
    """The head of the 2025 winner in place of the fusion."""
    config.model.head = switch_head(config.model.head, "concatenation")


def text_anchored(config: ConfigDict) -> None:
    """The head of the 2026 winner in place of the fusion."""
    config.model.head = switch_head(config.model.head, "text_anchored")
