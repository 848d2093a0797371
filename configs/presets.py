"""What the configs of both stages share: presets by name, and the sections on data, encoders and training."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict, FieldReference

from emi_jax.errors import UserError

Preset = Callable[[ConfigDict], None]

SCALES = ("demo", "vidmimic2")
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
        raise UserError(f"preset {late[0]!r} sets the scale of a run, so that only the first can be one; got {names!r}")
    for name in chosen:
        presets[name](config)
    if more := chosen[1:]:
        place(config, "_".join(more))
    config.preset = ",".join(chosen)
    return config


def place(config: ConfigDict, name: str) -> None:
    """Puts the run into `root/NAME`, whatever `root` will be."""
    config.workdir = under_root(config, name)


def under_root(config: ConfigDict, name: str) -> FieldReference:
    """`root/NAME`; follows `--config.root`."""
    return config.get_oneway_ref("root") + f"/{name}"


def data() -> ConfigDict:
    """Which clips, and how much of each is read. `corpus` is what `data_prep` is told when it makes the dataset."""
    return ConfigDict(
        {
            "dir": "data/demo",
            "corpus": "synthetic",
            "image_size": 0,  # side of a frame in pixels; 0 = as the vision encoder was trained
            "num_frames": 8,
            "smallest_crop": 0.8,  # smallest side of a training crop, as a part of the face picture's
            "seconds": 3.0,
            "num_tokens": 32,
        }
    )


def encoders() -> ConfigDict:
    """The three encoders, by the fields of a Hugging Face config.json, or `pretrained`: a folder or hub id."""
    return ConfigDict(
        {
            "vision": {
                "pretrained": "",
                "config": {
                    "model_type": "vit",
                    "hidden_size": 96,
                    "num_hidden_layers": 3,
                    "num_attention_heads": 4,
                    "intermediate_size": 384,
                    "image_size": 48,
                    "patch_size": 12,
                    "initializer_range": 0.15,  # 0.02 is for a width of 768: at 96 the features hardly leave zero
                    "hidden_dropout_prob": 0.0,
                    "attention_probs_dropout_prob": 0.0,
                },
            },
            "audio": {
                "pretrained": "",
                "config": {
                    "model_type": "wav2vec2",
                    "hidden_size": 96,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "intermediate_size": 192,
                    "initializer_range": 0.1,
                    "conv_dim": (32, 48, 64, 64),
                    "conv_kernel": (40, 8, 8, 8),
                    "conv_stride": (20, 4, 4, 4),
                    "num_conv_pos_embeddings": 32,
                    "num_conv_pos_embedding_groups": 8,
                    "hidden_dropout": 0.0,
                    "attention_dropout": 0.0,
                    "activation_dropout": 0.0,
                    "feat_proj_dropout": 0.0,
                    "layerdrop": 0.0,
                    "apply_spec_augment": False,
                },
            },
            "text": {
                "pretrained": "",
                "vocab_size": 600,
                "config": {
                    "model_type": "bert",
                    "hidden_size": 192,  # at 96 alignment leaves too little room for the words themselves
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "intermediate_size": 384,
                    "max_position_embeddings": 64,
                    "initializer_range": 0.1,
                    "hidden_dropout_prob": 0.1,
                    "attention_probs_dropout_prob": 0.1,
                },
            },
        }
    )


def train() -> ConfigDict:
    """The engine's section; stages set their own numbers."""
    return ConfigDict(
        {
            "seed": 0,
            "batch_size": 32,
            "accumulation": 1,  # chunks in which each device takes its part of the batch: less memory, same gradients
            "epochs": 30,
            "learning_rate": 1e-3,
            "final_rate": 1e-5,
            "warmup_epochs": 1.0,
            "weight_decay": 0.05,
            "clip_norm": 1.0,
            "frozen": (),
            "rate_factors": ((".*", 1.0),),
            "ema": 0.0,
            "corrupt": 0.0,
            "mapping": "pmap",
            "log_every": 10,
            "evaluate_every": 5.0,
            "save_every": 5.0,
            "keep": 2,
            "profile": 0,  # steps of which a trace is written to WORKDIR/trace
        }
    )


def paper_scale(config: ConfigDict) -> None:
    """What both stages of `vidmimic2` share: the encoders and the sizes of the field, and its schedule.

    The sections `config` are the architectures of the same weights, for a run from scratch with `pretrained=`.
    """
    config.root = "runs/vidmimic2"
    config.data.update(dir="", corpus="vidmimic2", num_frames=16, seconds=12.0, num_tokens=128)
    model = config.model
    model.vision = {"pretrained": "google/vit-base-patch16-224-in21k", "config": {"model_type": "vit"}}
    model.audio = {"pretrained": "facebook/wav2vec2-base-960h", "config": {"model_type": "wav2vec2"}}
    model.text = {
        "pretrained": "google-bert/bert-base-uncased",
        "vocab_size": 30522,
        "config": {"model_type": "bert"},
    }
    model.dtype = "bfloat16"
    model.remat = True
    config.train.update(batch_size=32, epochs=30, learning_rate=1e-4, final_rate=1e-6, warmup_epochs=1.0)
    config.train.update(evaluate_every=1.0, save_every=1.0)
