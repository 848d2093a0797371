"""Stage 1: vision-text and audio-text contrastive alignment.

python run.py --config=configs/stage1.py
python run.py --config=configs/stage1.py:vidmimic2 --config.data.dir=DIR
"""

from ml_collections import ConfigDict

from configs import fields, presets, sections


def get_config(preset: str = "demo") -> ConfigDict:
    """The config of stage 1 after the presets of that name."""
    config = fields.build(sections.STAGE_1)
    presets.place(config, "stage1")
    return presets.apply(config, preset, PRESETS)


def demo(config: ConfigDict) -> None:
    """Small encoders from scratch on the synthetic corpus, minutes on two cores."""
    config.data.num_frames = 2
    config.data.seconds = 2.0  # of each clip, from a random start
    config.data.smallest_crop = 1.0  # small encoders that learn from scratch spend themselves on crops
    config.loss.audio = 0.3  # the pairs share the text tower: at 0.5 the face learnt less than at 0.1
    config.train.batch_size = 16  # many small steps teach the face more than few large ones
    config.train.learning_rate = 5e-4
    config.train.epochs = 25
    config.train.evaluate_every = 5.0
    config.train.save_every = 5.0


def vidmimic2(config: ConfigDict) -> None:
    """ViT-B/16, wav2vec2-base and BERT-base, from pretrained weights, on Hume-Vidmimic2.

    The projections are new and take the full learning rate; the towers are not, and take a tenth of it. The
    convolutions of the audio encoder stay as they are, as its authors fine-tune it (Baevski et al. 2020, 4.2).
    """
    presets.paper_scale(config)
    config.model.width = 256
    config.train.frozen = ("^towers/audio/encoder/features/",)
    config.train.rate_factors = (("^towers/", 0.1), (".*", 1.0))


PRESETS = {"demo": demo, "vidmimic2": vidmimic2}
