"""Every field of both stages and of the studies, with the defaults of the demo's scale."""

import dataclasses
import types
import typing
from typing import Any

from configs.demo_encoders import DEMO_ENCODERS
from configs.fields import Effect, Field, Section, Unset
from emi_jax.encoders.registry import ENCODERS
from emi_jax.inputs.described import DESCRIPTORS
from emi_jax.modalities import AUDIO, MODALITIES, VISION

PLACE, NOTHING, TRAINING, MODEL = Effect

RUN: Section = {
    "preset": Field("", "presets that were applied, by name", NOTHING),
    "root": Field("runs/demo", "folder of the runs that belong together", NOTHING),
    "workdir": Field("", "folder of this run, ROOT/NAME by default; --workdir sets it too", NOTHING),
}

DATA: dict[str, Field] = {
    "dir": Field("data/demo", "dataset, the folder given to data_prep as --out", NOTHING),
    "corpus": Field("synthetic", "kind of corpus that the dataset was made from, data_prep's --corpus"),
    "train_on": Field(("train",), "splits whose clips are trained on; with valid, set train.select=last or average"),
    "image_size": Field(0, "side of a frame in pixels; 0: as the vision encoder's preprocessor makes it", MODEL),
    "num_frames": Field(8, "frames read of a clip, spread over its time", MODEL),
    "frame_rate": Field(0.0, "frames per second to choose them from; 0: all of the dataset", MODEL),
    "smallest_crop": Field(0.8, "smallest side of a training crop, as a fraction of the face picture's side"),
    "seconds": Field(3.0, "seconds of sound read of a clip: from a random start in training, else the first", MODEL),
    "num_tokens": Field(24, "tokens read of a transcript", MODEL),
    "num_steps": Field(100, "steps read of the user's own features, spread over the clip", MODEL),
    "threads": Field(0, "threads that read clips during training and evaluation; 0: one for each core", NOTHING),
    "length_buckets": Field(
        (), "fractions of (sound, tokens) to which batches of shorter clips are padded: ((0.5,0.25),); (): all alike"
    ),
}


def overrides(modality: str) -> dict[str, Unset]:
    """Every config field of every encoder family and every kind of descriptors of a modality, unset."""
    fields: dict[str, Unset] = {"model_type": Unset(str)}
    for encodes, config, _ in (*ENCODERS.values(), *DESCRIPTORS.values()):
        hints = typing.get_type_hints(config)
        if encodes == modality:
            fields |= {field.name: _unset(hints[field.name]) for field in dataclasses.fields(config)}
    return {name: fields[name] for name in sorted(fields) if name not in ("add_pooling_layer", "vocab_size")}


def _unset(hint: Any) -> Unset:
    """Of a field's type: the first one of a union (`int | None`)."""
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    return Unset(typing.get_origin(hint) or hint)


def _encoder(modality: str, scratch: dict[str, Any]) -> Section:
    return {
        "pretrained": Field("", f"{modality} encoder's weights: a Hugging Face folder or ID[@REVISION]", MODEL),
        "config": Field(
            overrides(modality),
            "override of a field of the encoder's config.json; for a loaded encoder one that fits its weights",
            MODEL,
        ),
        "scratch": Field(scratch, "config.json of an encoder that starts from scratch", MODEL),
        "layers": Field(
            "last",
            "hidden states that are read: last; mix for a learned mix of all; or that of some: 4,8,-1",
            MODEL,
        ),
    }


def _encoders(**pooling: Field) -> dict[str, Section]:
    """The sections of the encoders, with the pooling of some."""
    sections = {name: _encoder(name, DEMO_ENCODERS[name]) for name in MODALITIES}
    return {name: {**section, **_only(pooling=pooling.get(name))} for name, section in sections.items()}


def _only(**fields: Field | None) -> Section:
    return {name: field for name, field in fields.items() if field}


_FRAMES = Field("class", "how the patches of a frame become a vector: class token, mean or learned attention", MODEL)
_STEPS = Field("mean", "how the steps of a clip become a vector: mean or learned attention", MODEL)
_TOKENS = Field("class", "how the tokens of a clip become a vector: class or end token, mean or attention", MODEL)

COMPUTE: Section = {
    "dtype": Field("float32", "dtype of the operands of matrix products: float32 or bfloat16"),
    "remat": Field(False, "recompute each encoder layer in the backward pass: less memory, more time"),
    "attention": Field("auto", "attention implementation: xla, cudnn, or auto for cuDNN's where it is available"),
    "attention_dropout": Field(
        True, "dropout of the encoders' attention weights as in their config.json; False: none, for fused attention"
    ),
}

LORA: Section = {
    "targets": Field((), "regular expressions of paths of kernels that are adapted; their towers are frozen", MODEL),
    "rank": Field(16, "rank of the updates", MODEL),
    "alpha": Field(16.0, "updates are scaled by alpha / rank", MODEL),
    "dropout": Field(0.05, "dropout rate of the input of the updates"),
}
"""LoRA: a trained update of low rank next to frozen linear layers of the towers."""

TRAIN: dict[str, Field] = {
    "seed": Field(0, "seed of everything random in a run"),
    "batch_size": Field(32, "clips in a global batch"),
    "accumulation": Field(1, "chunks into which each device splits its share of a batch: less memory, same gradients"),
    "epochs": Field(30, "passes over the training split"),
    "optimizer": Field("adamw", "adamw, or muon: orthogonal updates of weight matrices, AdamW's of all else"),
    "learning_rate": Field(1e-3, "highest learning rate, after the warm-up"),
    "final_rate": Field(1e-5, "learning rate at the end of the cosine schedule"),
    "warmup_epochs": Field(1.0, "epochs of linear warm-up"),
    "weight_decay": Field(0.05, "decoupled weight decay"),
    "clip_norm": Field(1.0, "largest global norm of the gradients; 0 for no clipping"),
    "frozen": Field((), "regular expressions of parameter paths that are not trained", MODEL),
    "last_layers": Field(
        dict.fromkeys(MODALITIES, 0),
        "number of last transformer layers of a tower that alone are trained; 0: unset",
        MODEL,
    ),
    "rate_factors": Field(((".*", 1.0),), "(regular expression, factor): the first match scales the learning rate"),
    "layer_decay": Field(1.0, "a tower's layer i of L learns at this power of L - i times its rate; 1: all alike"),
    "ema": Field(0.0, "decay of the moving average of the parameters that is evaluated; 0 for none", MODEL),
    "swa": Field(0.0, "share of the run, its last, over which evaluated parameters are averaged (SWA); 0: none", MODEL),
    "corrupt": Field(0.0, "probability that a modality of a training clip is deliberately corrupted (stage 2)"),
    "mapping": Field("pmap", "how a step is mapped over devices: pmap or shard_map"),
    "log_every": Field(10, "steps between two lines of the log", NOTHING),
    "evaluate_every": Field(5.0, "epochs between two evaluations"),
    "save_every": Field(5.0, "epochs between two checkpoints", NOTHING),
    "select": Field("best", "parameters that are evaluated: best on the validation split, last or average", NOTHING),
    "keep": Field(2, "number of last checkpoints to keep, in addition to the best one", NOTHING),
    "loggers": Field(("tensorboard",), "where metrics are sent: tensorboard, wandb, mlflow", NOTHING),
    "profile": Field(0, "number of steps to profile; the trace goes to WORKDIR/trace", NOTHING),
}

AUGMENT: dict[str, Field] = {
    "voice": Field(0.0, "probability of each change of a training clip's voice: noise, tempo, pitch, shift; 0: none"),
    "noise": Field((0.01, 0.15), "lowest and highest deviation of the noise, as fractions of the loudest sample"),
    "tempo": Field(0.05, "largest relative change of the tempo"),
    "semitones": Field(2.0, "largest change of the pitch"),
    "shift": Field(0.1, "largest shift in time, as a fraction of the sound that is read"),
    "face": Field(0.0, "probability of each change of a training clip's face: colours, blur, turn, scale; 0: none"),
    "colour": Field(0.2, "largest relative change of brightness, contrast and saturation"),
    "blur": Field(0.01, "largest deviation of the Gaussian blur, as a fraction of the picture's side"),
    "degrees": Field(10.0, "largest turn"),
    "scale": Field(0.1, "largest relative change of the size"),
}

FEATURES_DIR = Field(
    "", "folder of the cached features of frozen encoders; empty: clips are encoded in every step", PLACE
)

STAGE_1: Section = {
    **RUN,
    "stage": Field("alignment", "stage 1", MODEL),
    "init_from": Field("", "workdir of a run of stage 1 whose encoders this one starts from; empty for none", PLACE),
    "data": DATA,
    "augment": AUGMENT,
    "model": {
        **_encoders(vision=_FRAMES, audio=_STEPS, text=_TOKENS),
        **COMPUTE,
        "lora": LORA,
        "pairs": Field((VISION, AUDIO), "modalities that are each aligned with text", MODEL),
        "width": Field(96, "width of the common embedding", MODEL),
    },
    "train": TRAIN,
    "features": {"dir": FEATURES_DIR},
    "probe": Field(
        1024,
        "training clips on whose embeddings a ridge on the labels is fitted in each evaluation; 0: none",
        NOTHING,
    ),
    "loss": {
        "kind": Field("infonce", "contrastive loss: infonce, as CLIP's, or sigmoid, as SigLIP's", MODEL),
        "vision": Field(1.0, "weight of the vision-text pair"),
        "audio": Field(1.0, "weight of the audio-text pair"),
    },
}

_DROPOUT = Field(0.1, "dropout rate", MODEL)
_TOKEN = Field(
    "first", "token that stands for the text: first, BERT's class token; last, CLIP's end token; or mean", MODEL
)

HEADS: Section = {
    "name": Field("fusion", "head that is used: fusion, concatenation or text_anchored; each has its section", MODEL),
    "fusion": {
        "width": Field(256, "width of everything after the projections", MODEL),
        "tcn": Field(True, "TCN on the frames", MODEL),
        "tcn_dilations": Field((1, 2, 4, 8), "dilation of each residual block of the TCN", MODEL),
        "tcn_causal": Field(False, "a causal TCN: no step sees a later one", MODEL),
        "bilstm": Field(True, "BiLSTM on the voice", MODEL),
        "lstm_hidden": Field(0, "units of the BiLSTM in each direction; 0: width", MODEL),
        "gate": Field(True, "gate between the BiLSTM's output and its input", MODEL),
        "quality": Field(True, "Quality-Aware Module; False weights the present modalities alike", MODEL),
        "positions": Field(
            "seconds", "positions of steps in the decoder's memory: seconds, or steps for their numbers", MODEL
        ),
        "attention_bias": Field(False, "add the log of the quality weights to the decoder's attention logits", MODEL),
        "decoder": Field(True, "Transformer decoder; False: mean over time and an MLP", MODEL),
        "sequences": Field(True, "read the sequences through the decoder; False: only their statistics", MODEL),
        "statistics": Field(False, "readout of each modality's statistics over time, for small data sets", MODEL),
        "input_dropout": Field(0.3, "dropout rate of these statistics", MODEL),
        "auxiliary": Field(False, "predictions from the sequence of each modality alone, for loss.unimodal", MODEL),
        "num_layers": Field(2, "decoder layers", MODEL),
        "num_heads": Field(8, "attention heads; must divide width", MODEL),
        "mlp_ratio": Field(4, "hidden width of the Transformer's MLPs, as a multiple of width", MODEL),
        "dropout": _DROPOUT,
    },
    "concatenation": {
        "width": Field(1027, "width of the hidden layer", MODEL),
        "audio_hidden": Field(0, "units of the voice's LSTM; 0: as many as the voice has features", MODEL),
        "vision_hidden": Field(768, "units of the frames' LSTM", MODEL),
        "num_layers": Field(2, "layers of both LSTMs", MODEL),
        "token": _TOKEN,
    },
    "text_anchored": {
        "width": Field(512, "width of the attention and of the hidden layer", MODEL),
        "num_heads": Field(4, "attention heads; must divide width", MODEL),
        "token": _TOKEN,
        "dropout": _DROPOUT,
    },
}
"""The heads of stage 2; a head never sees another's fields."""

STAGE_2: Section = {
    **RUN,
    "stage": Field("intensity", "stage 2", MODEL),
    "init_from": Field("", "workdir of the run of stage 1 whose encoders this one starts from; empty for none", PLACE),
    "data": DATA,
    "augment": AUGMENT,
    "model": {
        **_encoders(vision=_FRAMES),  # the head reads all steps of the others
        **COMPUTE,
        "lora": LORA,
        "modalities": Field(MODALITIES, "modalities in use", MODEL),
        "lstm": Field("xla", "the fusion's LSTM: xla, a scan; or cudnn, NVIDIA's in float32, which was slower"),
        "modality_dropout": Field(0.1, "probability that a present modality is hidden in training, never the last one"),
        "head": HEADS,
    },
    "train": {
        **TRAIN,
        "members": Field(
            1, "models trained side by side with seeds of their own; their predictions are averaged", MODEL
        ),
        "frozen": dataclasses.replace(TRAIN["frozen"], value=("^towers/",)),
        "corrupt": dataclasses.replace(TRAIN["corrupt"], value=0.3),
    },
    "features": {
        "dir": FEATURES_DIR,
        "standardise": Field(
            "auto",
            "standardise features over the training split or within each subject: split, subject or none; auto: split "
            "for descriptors and the user's own features",
            MODEL,
        ),
        "renditions": Field(
            2, "copies of each training clip in the feature cache, corrupted, augmented (augment.*) or both"
        ),
    },
    "baseline": Field(
        "auto",
        "ridge on statistics of the same features, scored next to the model: auto (if quick), on or off",
        NOTHING,
    ),
    "loss": {
        "mse": Field(1.0, "weight of the mean squared error"),
        "correlation": Field(0.1, "weight of 1 - Pearson over the global batch"),
        "ccc": Field(0.0, "weight of 1 - CCC over the global batch"),
        "quality": Field(0.1, "weight of the quality supervision"),
        "unimodal": Field(0.0, "weight of the regression loss of each modality alone: fusion.{statistics,auxiliary}"),
        "balance": Field(0.0, "0: labels count alike; 1: squared errors are divided by the label's training variance"),
    },
}
