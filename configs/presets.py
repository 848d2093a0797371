"""Shared by the configs of both stages: presets by name, the folders of runs, and the paper's scale."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict, FieldReference

from emi_jax.errors import UserError

Preset = Callable[[ConfigDict], None]

SCALES = ("demo", "vidmimic2", "descriptors", "demo_descriptors")
"""The presets that say how large a run is; any other changes a run of one of these."""


def apply(config: ConfigDict, names: str, presets: Mapping[str, Preset]) -> ConfigDict:
    """Applies presets in order: `vidmimic2,finetune`; `demo` comes first where no scale is named.

    Raises:
        UserError: a name that is not among them, or a scale that is not the first.
    """
    chosen = names.split(",")
    if unknown := [name for name in chosen if name not in presets]:
        raise UserError(f"unknown preset {unknown[0]!r}; there are {', '.join(presets)}, joined by commas")
    if chosen[0] not in SCALES:
        chosen = [SCALES[0], *chosen]
    if late := [name for name in chosen[1:] if name in SCALES]:
        raise UserError(f"preset {late[0]!r} sets the scale of a run and must come first; got {names!r}")
    for name in chosen:
        presets[name](config)
    if more := chosen[1:]:
        place(config, "_".join(more))
    config.preset = ",".join(chosen)
    return config


def place(config: ConfigDict, name: str) -> None:
    """Sets the workdir to `root/NAME`, also if `root` is changed later."""
    config.workdir = under_root(config, name)


def under_root(config: ConfigDict, name: str) -> FieldReference:
    """`root/NAME`; follows `--config.root`."""
    return config.get_oneway_ref("root") + f"/{name}"


def paper_scale(config: ConfigDict) -> None:
    """Settings of both stages of `vidmimic2`: the encoders, sizes and schedule that are usual in the literature.

    `model.*.scratch` holds the architectures of the same weights, for a run with `pretrained=` (empty). Attention
    weights are not dropped out: cuDNN's attention has no dropout, and towers with it would train on the plain form.
    """
    config.root = "runs/vidmimic2"
    config.data.update(dir="", corpus="vidmimic2", num_frames=16, seconds=12.0, num_tokens=128)
    config.data.length_buckets = ((0.25, 0.25), (0.5, 0.25), (0.75, 0.5))  # 3, 6 and 9 s; most clips have few words
    weights = {
        "vision": ("google/vit-base-patch16-224-in21k", {"model_type": "vit"}),
        "audio": ("facebook/wav2vec2-base-960h", {"model_type": "wav2vec2"}),
        "text": ("google-bert/bert-base-uncased", {"model_type": "bert", "vocab_size": 30522}),
    }
    for modality, (name, architecture) in weights.items():
        config.model[modality].pretrained = name
        config.model[modality].scratch = ConfigDict(architecture)
    config.model.dtype = "bfloat16"
    config.model.remat = True
    config.model.attention_dropout = False
    config.train.update(batch_size=32, epochs=30, learning_rate=1e-4, final_rate=1e-6, warmup_epochs=1.0)
    config.train.update(evaluate_every=1.0, save_every=1.0)
