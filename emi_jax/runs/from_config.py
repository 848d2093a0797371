"""Builds what a config describes: how clips are read, and the stage that is trained."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from emi_jax.encoders.sources import Encoders
from emi_jax.errors import UserError
from emi_jax.inputs.texts import Subwords, Words
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.kernels import cudnn_lstm
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.models.bilstm import Implementation
from emi_jax.models.contrastive import ContrastiveModel
from emi_jax.models.heads import build_head
from emi_jax.models.lora import LORA_A, Lora
from emi_jax.models.text.clip import CLIPText
from emi_jax.runs.freezing import Freezing
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.initialisation import init_towers
from emi_jax.stages.intensity import Intensity
from emi_jax.stages.intensity_loss import Weights
from emi_jax.train.step import Stage

log = logging.getLogger(__name__)


def used_modalities(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a run, in their order.

    Raises:
        UserError: the config names no modality, an unknown one, or one twice.
    """
    chosen = (*config.model.pairs, TEXT) if config.stage == "alignment" else config.model.modalities
    known = (VISION, AUDIO, TEXT)
    if not chosen or set(chosen) - set(known):
        raise UserError(f"config.model: modalities {tuple(chosen)} should be some of {known}")
    if len(set(chosen)) < len(chosen):
        raise UserError(
            f"config.model: modalities {tuple(chosen)} name one twice; a tuple that is given twice on the command line "
            "is joined, not replaced: give it once"
        )
    return tuple(modality for modality in known if modality in chosen)


def build_transform(
    config: ConfigDict, encoders: Encoders, modalities: tuple[str, ...], num_labels: int
) -> ClipTransform:
    """The transform from an example to arrays, without augmentation.

    Raises:
        UserError: a modality is augmented that is not read, or stage 1 would train an encoder without weights.
    """
    data = config.data
    for modality, field in ((VISION, "face"), (AUDIO, "voice")):
        if config.augment[field] and (modality not in modalities or modality in encoders.own):
            raise UserError(
                f"config.augment.{field}={config.augment[field]:g} has no effect: the run reads no "
                f"{'faces' if modality == VISION else 'sound'}; set --config.augment.{field}=0"
            )
    if config.stage == "alignment" and (fixed := [*encoders.describers, *encoders.own]):
        raise UserError(
            f"stage 1 trains encoders, and that of {fixed[0]} has no weights: leave it out with --config.model.pairs, "
            "or start with stage 2, --config.init_from="
        )
    shape = InputShape(
        num_labels=num_labels,
        modalities=modalities,
        num_frames=data.num_frames,
        image_size=encoders.image_size,
        num_samples=round(data.seconds * SAMPLE_RATE),
        num_tokens=_tokens(data.num_tokens, encoders.max_tokens),
        num_steps=data.num_steps,
        frame_rate=data.frame_rate,
    )
    find_silence = config.stage == "intensity"
    reader = Subwords(encoders.tokenizer, shape.num_tokens) if encoders.tokenizer else Words(shape.num_tokens)
    return ClipTransform(
        shape,
        reader,
        encoders.describers,
        encoders.own,
        smallest_crop=data.smallest_crop,
        find_silence=find_silence,
    )


def build_stage(
    config: ConfigDict,
    encoders: Encoders,
    transform: ClipTransform,
    label_names: Sequence[str],
    devices: Sequence[jax.Device],
) -> Stage:
    """The stage that a config describes, for these devices.

    Raises:
        UserError: the head has no such field, or rejects its value or the text encoder; cached features would be
            augmented without copies; the LSTM's implementation is not available.
    """
    example: dict[str, Any] = {name: np.asarray(array)[None] for name, array in transform.padding.items()}
    model, dtype = config.model, jnp.dtype(config.model.dtype)
    trained_towers = _trained_towers(config, encoders, example, transform.shape.modalities)
    for modality, field in ((VISION, "face"), (AUDIO, "voice")):
        cached = config.features.dir and modality not in trained_towers
        if config.augment[field] and cached and not config.features.get("renditions", 0):
            raise UserError(
                f"config.augment.{field}={config.augment[field]:g} has no effect on features from the cache, which "
                "holds no augmented copies; use --config.features.renditions=4 in stage 2, or encode clips in every "
                "step with --config.features.dir="
            )
    if config.stage == "alignment":
        pairs = ContrastiveModel(encoders.towers, tuple(model.pairs), model.width, dtype, config.loss.kind)
        return Alignment(pairs, example, {name: config.loss[name] for name in pairs.modalities}, trained_towers)
    modalities, name = transform.shape.modalities, model.head.name
    fields = dict(model.head.get(name, {}))
    if name == "fusion" and fields["bilstm"]:
        fields["lstm_implementation"] = choose_lstm(model.lstm, devices)
    try:
        head = build_head(name, num_labels=len(label_names), modalities=modalities, dtype=dtype, **fields)
    except ValueError as error:
        raise UserError(f"config.model.head: {error}") from error
    if TEXT in modalities and fields.get("token") == "first":
        _check_first_token(name, encoders)
    if trained_towers and config.train.members > 1:
        raise UserError(
            f"config.train.members={config.train.members}: the members of an ensemble share their encoders, and that "
            f"of {trained_towers[0]} is trained; freeze it with --config.train.frozen"
        )
    return Intensity(
        encoders.towers,
        head,
        example,
        label_names,
        weights=Weights(**config.loss),
        trained_towers=trained_towers,
        modality_dropout=model.modality_dropout,
    )


def choose_lstm(name: str, devices: Sequence[jax.Device]) -> Implementation:
    """The implementation of the fusion's LSTM on these devices.

    Args:
        name: "xla" or "cudnn".
        devices: the devices it will run on.

    Raises:
        UserError: an unknown name, or "cudnn" where it is not available.
    """
    if name == "xla":
        return "xla"
    if name != "cudnn":
        raise UserError(f"config.model.lstm={name!r} is unknown; use 'xla' or 'cudnn'")
    if reason := cudnn_lstm.unavailable(devices):
        raise UserError(f"config.model.lstm='cudnn': {reason}; use config.model.lstm='xla'")
    log.info("LSTM: cuDNN's, in float32")
    return "cudnn"


def _check_first_token(head: str, encoders: Encoders) -> None:
    """Raises UserError where the first token of a text does not stand for the whole."""
    if TEXT in encoders.describers:
        raise UserError(
            f"config.model.head.{head}.token=first reads a class token, and descriptors of words have none; use mean"
        )
    if encoders.towers.text and isinstance(encoders.towers.text.encoder, CLIPText):
        raise UserError(
            f"config.model.head.{head}.token=first reads a class token, and the first token of CLIP has seen no word; "
            "use last"
        )


def _tokens(wanted: int, limit: int) -> int:
    if 0 < limit < wanted:
        log.info("tokens: %d instead of the %d requested, which is the limit of the text encoder", limit, wanted)
        return limit
    return wanted


def _trained_towers(config: ConfigDict, encoders: Encoders, example: dict, modalities: Sequence[str]) -> list[str]:
    """The modalities whose towers have a trained parameter."""
    with_tower = [name for name in modalities if getattr(encoders.towers, name)]
    try:
        towers = jax.eval_shape(
            lambda: init_towers(encoders.towers, jax.random.PRNGKey(0), example, encoders.params, with_tower)
        )
        jax.eval_shape(lambda params: encoders.towers.apply({"params": params}, example, True, with_tower), towers)
    except ValueError as error:
        raise UserError(f"config.model: {error}") from error
    paths = traverse_util.flatten_dict({"towers": towers}, sep="/")
    freezing = Freezing.of(config, towers)
    trained = [path for path in paths if freezing.trains(path)]
    if encoders.towers.lora:
        _check_targets(encoders.towers.lora, paths)
    return [name for name in modalities if any(path.startswith(f"towers/{name}/") for path in trained)]


def _check_targets(lora: Lora, paths: Collection[str]) -> None:
    kernels = [path.removesuffix(LORA_A) + "kernel" for path in paths if path.endswith(f"/{LORA_A}")]
    for target in lora.targets:
        if not any(re.search(target, path) for path in kernels):
            linear = next((path for path in paths if path.endswith("query/kernel")), "towers/...")
            raise UserError(
                f"config.model.lora.targets: pattern {target!r} matches no linear layer of a tower; a path is {linear}"
            )
