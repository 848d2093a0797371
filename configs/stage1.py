"""Stage 1: vision-text and audio-text contrastive alignment.

python run.py --config=configs/stage1.py
python run.py --config=configs/stage1.py:vidmimic2 --config.data.dir=DIR
python run.py --config=configs/stage1.py:vidmimic2,locked --config.data.dir=DIR
"""

from ml_collections import ConfigDict

from configs import fields, presets, sections


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of stage 1 with these presets applied."""
    config = fields.build(sections.STAGE_1)
    presets.place(config, "stage1")
    return presets.apply(config, preset, PRESETS)


def demo(config: ConfigDict) -> None:
    """Small encoders from scratch on the synthetic corpus; takes minutes on two cores."""
    config.data.num_frames = 2
    config.data.seconds = 2.0  # of each clip, from a random start
    config.data.smallest_crop = 1.0  # small encoders from scratch learn less from random crops
    config.loss.audio = 0.3  # the pairs share the text tower: at 0.5 the face learnt less than at 0.1
    config.train.batch_size = 16  # the face is learnt better in many small steps than in few large ones
    config.train.optimizer = "muon"  # AdamW needs three times the epochs (docs/engine.md)
    config.train.epochs = 8
    config.train.evaluate_every = 2.0


def vidmimic2(config: ConfigDict) -> None:
    """ViT-B/16, wav2vec2-base and BERT-base, from pretrained weights, on Hume-Vidmimic2.

    The projections are new and use the full learning rate; the towers are pretrained and use a tenth of it. The
    convolutions of the audio encoder are frozen, as its authors do in fine-tuning (Baevski et al. 2020, 4.2).
    """
    presets.paper_scale(config)
    config.model.width = 256
    config.train.frozen = ("^towers/audio/encoder/features/",)
    config.train.rate_factors = (("^towers/", 0.1), (".*", 1.0))


def locked(config: ConfigDict) -> None:
    """Trains the text tower alone: face and voice are read from a feature cache (Zhai et al. 2022, LiT)."""
    config.features.dir = presets.under_root(config, "locked_features")
    config.train.frozen = ("^towers/vision/", "^towers/audio/")


PRESETS = {"demo": demo, "vidmimic2": vidmimic2, "locked": locked}
