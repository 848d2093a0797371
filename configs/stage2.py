"""Stage 2: six intensities from the encoders of stage 1.

python run.py --config=configs/stage2.py
python run.py --config=configs/stage2.py:vidmimic2 --config.data.dir=DIR
python run.py --config=configs/stage2.py:vidmimic2,finetune --config.data.dir=DIR
python run.py --config=configs/stage2.py:vidmimic2,lora --config.data.dir=DIR
python run.py --config=configs/stage2.py:demo_descriptors
"""

from typing import Any

from ml_collections import ConfigDict

from configs import fields, presets, sections

Changes = tuple[tuple[str, Any], ...]

# Of both winners: the squared error alone, the weight decay that AdamW has in PyTorch by default, a cosine to 0.
_PUBLISHED: Changes = (
    ("loss.mse", 1.0),
    ("loss.correlation", 0.0),
    ("loss.quality", 0.0),
    ("train.corrupt", 0.0),
    ("train.final_rate", 0.0),
    ("train.weight_decay", 0.01),
    ("train.clip_norm", 100.0),
)
WINNERS: dict[str, Changes] = {
    "concatenation": (("model.head.name", "concatenation"), ("model.modality_dropout", 0.0), *_PUBLISHED),
    "text_anchored": (("model.head.name", "text_anchored"), ("model.modality_dropout", 0.1), *_PUBLISHED),
}
"""The heads of the challenge's winners of 2025 and 2026 with their published training, but for rate and epochs."""


def get_config(preset: str = "demo") -> ConfigDict:
    """Returns the config of stage 2 with these presets applied: `demo` or `vidmimic2`, then any of the others."""
    return presets.apply(start(sections.STAGE_2), preset, PRESETS)


def start(section: fields.Section) -> ConfigDict:
    """Returns a config of stage 2 or of a study on it, before any preset."""
    config = fields.build(section)
    presets.place(config, "stage2")
    config.init_from = presets.under_root(config, "stage1")
    config.features.dir = presets.under_root(config, "features")
    return config


def resize_heads(config: ConfigDict, **sizes: Any) -> None:
    """Sets fields of every head that has them."""
    for name in set(config.model.head) - {"name"}:
        head = config.model.head[name]
        head.update({field: value for field, value in sizes.items() if field in head})


def demo(config: ConfigDict) -> None:
    """A small fusion on frozen demo encoders; takes minutes on two cores."""
    config.features.renditions = 1
    config.data.smallest_crop = 1.0  # as in stage 1
    resize_heads(config, width=96, vision_hidden=96, num_heads=4)
    config.model.head.fusion.dropout = 0.3
    config.loss.correlation = 1.0  # some labels are nearly constant in a batch: squared errors are uninformative
    config.train.batch_size = 32
    config.train.epochs = 12
    config.train.evaluate_every = 1.0


def vidmimic2(config: ConfigDict) -> None:
    """The fusion of the paper on the frozen encoders of stage 1, read from the feature cache."""
    presets.paper_scale(config)


def finetune(config: ConfigDict) -> None:
    """Also trains the text tower, at a tenth of the learning rate: the largest gain reported in the literature.

    The features of the other towers are read from the cache.
    """
    config.train.frozen = ("^towers/vision/", "^towers/audio/")
    config.train.rate_factors = (("^towers/text/", 0.1), (".*", 1.0))


def lora(config: ConfigDict) -> None:
    """Adapts the text and audio towers by updates of low rank (LoRA); vision is read from the feature cache."""
    config.model.lora.targets = (r"^towers/(audio|text)/.*/layers_\d+/(attention|mlp)/",)


def concatenation(config: ConfigDict) -> None:
    """The head of the 2025 winner with the recipe that it was published with, on frozen encoders.

    Learning rate, schedule and batch are those of `vidmimic2`; the demo keeps its own learning rate and epochs.
    """
    config.update_from_flattened_dict(dict(WINNERS["concatenation"]))


def text_anchored(config: ConfigDict) -> None:
    """The head of the 2026 winner, as `concatenation`, but with 50 epochs in place of 30, or as many more in the demo.

    The winner stopped once five epochs were no better; here the best epoch is chosen after all of them.
    """
    config.update_from_flattened_dict(dict(WINNERS["text_anchored"]))
    config.train.epochs = config.train.epochs * 5 // 3


def descriptors(config: ConfigDict) -> None:
    """Descriptors of face, voice and words in place of trained encoders: for a few hundred clips, without stage 1."""
    config.root, config.init_from = "runs/descriptors", ""
    config.features.renditions = 0
    config.data.update(dir="", corpus="", num_frames=60, frame_rate=7.5, seconds=8.0, num_tokens=64)
    for modality, kind in (("vision", "face"), ("audio", "voice"), ("text", "word")):
        config.model[modality].scratch = ConfigDict({"model_type": f"{kind}_descriptors"})
    # Few clips: statistics of the sequences, all modalities alike, no corruption (docs/results.md).
    config.model.head.fusion.update(statistics=True, sequences=False, quality=False, width=64, dropout=0.5)
    config.model.modality_dropout = 0.0
    config.loss.update(correlation=0.3, unimodal=1.0, quality=0.0)
    config.train.corrupt = 0.0
    config.train.update(members=5, batch_size=256, epochs=80, weight_decay=1.0, select="last")
    config.train.rate_factors = (("statistics_readout/vision", 0.5), ("statistics_readout/prior", 30.0), (".*", 1.0))


def demo_descriptors(config: ConfigDict) -> None:
    """`descriptors` on the synthetic corpus, one model: a first result within a minute or two, without stage 1."""
    descriptors(config)
    config.root = "runs/demo_descriptors"
    config.data.update(dir="data/demo", corpus="synthetic", num_frames=8, seconds=4.0, num_tokens=24)
    config.train.update(members=1, epochs=20, evaluate_every=2.0)


PRESETS = {
    "demo": demo,
    "vidmimic2": vidmimic2,
    "descriptors": descriptors,
    "demo_descriptors": demo_descriptors,
    "finetune": finetune,
    "lora": lora,
    "concatenation": concatenation,
    "text_anchored": text_anchored,
}
