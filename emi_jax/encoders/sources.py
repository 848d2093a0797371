"""The encoders of a run: whence they come, and where they are kept.

Kept encoders are folders in Hugging Face's own form, one a modality, so that whatever takes a pretrained folder takes
the result of a run as well: `<workdir>/initial/` as the run began, `<workdir>/encoders/` as stage 1 left them.
"""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from emi_jax.encoders import pretrained
from emi_jax.encoders.attention_choice import choose_attention
from emi_jax.encoders.registry import build_encoder
from emi_jax.errors import UserError
from emi_jax.inputs.tokenizer import load_tokenizer, train_wordpiece
from emi_jax.modalities import AUDIO, MODALITIES, SAMPLE_RATE, TEXT, VISION
from emi_jax.models.speech_features import receptive_field
from emi_jax.models.towers import AudioTower, TextTower, Towers, VisionTower

if TYPE_CHECKING:
    import transformers

INITIAL, TRAINED = "initial", "encoders"
HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation of pixels for a vision encoder from scratch."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Encoders:
    """The encoders of a run.

    Attributes:
        towers: for the models.
        params: for the towers that were loaded, `{modality: {"encoder": ...}}`; the others start from scratch.
        tokenizer: of the text encoder; None without one.
        max_tokens: what the text encoder takes at most, special ones included; 0 without one.
    """

    towers: Towers
    params: dict[str, dict]
    tokenizer: "transformers.PreTrainedTokenizerBase | None"
    max_tokens: int

    @property
    def image_size(self) -> int:
        """Side of a frame in pixels; 0 without a vision encoder."""
        return self.towers.vision.encoder.config.image_size if self.towers.vision else 0

    @property
    def min_samples(self) -> int:
        """The fewest samples that the audio encoder takes; 0 without one."""
        return receptive_field(self.towers.audio.encoder.config)[0] if self.towers.audio else 0

    @property
    def preprocessing(self) -> str:
        """All that the features of a clip depend on beside weights, as text that is the same for the same."""
        towers = {name: getattr(self.towers, name) for name in MODALITIES if getattr(self.towers, name) is not None}
        facts: list[Any] = [
            (name, tower.encoder.config.model_type, tower.encoder.config, str(jnp.dtype(tower.encoder.dtype)))
            for name, tower in towers.items()
        ]
        facts += [json.dumps(_preprocessor(tower)) for name, tower in towers.items() if name != TEXT]
        if self.tokenizer:
            facts.append(sorted(self.tokenizer.get_vocab().items()))
            if backend := getattr(self.tokenizer, "backend_tokenizer", None):
                facts += [backend.normalizer, backend.pre_tokenizer, backend.post_processor]
        return repr(facts)

    def save(self, folder: Path, params: Mapping[str, Any]) -> None:
        """Keeps all encoders, with `params` as the towers' parameters, in a folder for each modality.

        What was in the folder is replaced, in one piece.
        """
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        for modality in params:
            tower, target = getattr(self.towers, modality), part / modality
            pretrained.save_encoder(target, tower.encoder, params[modality]["encoder"])
            if self.tokenizer and modality == TEXT:
                self.tokenizer.save_pretrained(target)
            else:
                facts = _preprocessor(tower)
                (target / "preprocessor_config.json").write_text(json.dumps(facts, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)


def open_encoders(
    model: Mapping[str, Any],
    modalities: Sequence[str],
    *,
    workdir: Path,
    init_from: str,
    how_to_make: str,
    image_size: int,
    devices: Sequence[jax.Device],
    transcripts: Callable[[], Sequence[str]],
) -> Encoders:
    """Takes each encoder from the first of: this run's own, a stage-1 result, a pretrained folder, scratch.

    Args:
        model: the config's section: for each modality `pretrained` and `config`; `dtype`, `remat` and `attention`.
        modalities: those in use.
        workdir: of this run.
        init_from: workdir of a stage-1 run; empty for none.
        how_to_make: the command that makes that run, for messages.
        image_size: side of the frames; 0 for the one that the vision encoder was trained with.
        devices: those that the encoders will run on.
        transcripts: gives those on which a tokenizer is trained for a text encoder from scratch.

    Raises:
        UserError: a folder that is named is not there, or what it holds does not fit.
    """
    if init_from and not (workdir / INITIAL).is_dir() and not (Path(init_from) / TRAINED).is_dir():
        raise UserError(
            f"no stage-1 result in {init_from} (expected {Path(init_from) / TRAINED}); make it with: {how_to_make}"
        )
    towers: dict[str, Any] = {}
    params, tokenizer, max_tokens = {}, None, 0
    dtype = jnp.dtype(model["dtype"])
    attention = choose_attention(model["attention"], dtype, devices)
    log.info("attention: %s", {"xla": "XLA's", "cudnn": "cuDNN's"}[attention])
    options: dict[str, Any] = {"dtype": dtype, "remat": model["remat"], "attention_implementation": attention}
    for modality in modalities:
        section = model[modality]
        source, why = _source(modality, section, workdir, init_from)
        log.info("%-7s encoder: %s", modality, why)
        if source:
            size = image_size or None if modality == VISION else None
            encoder, loaded = pretrained.load_encoder(source, modality, image_size=size, **options)
            params[modality] = {"encoder": loaded}
            facts = pretrained.load_preprocessing(source, modality)
            if modality == TEXT:
                tokenizer, max_tokens = load_tokenizer(source), facts["max_tokens"]
        else:
            facts, config = {}, dict(section["config"])
            if modality == VISION and image_size:
                config["image_size"] = image_size
            if modality == TEXT:
                tokenizer = train_wordpiece(transcripts(), section["vocab_size"])
                config["vocab_size"] = len(tokenizer)
            encoder = _build(modality, config, options)
            if modality == TEXT:
                max_tokens = encoder.config.max_position_embeddings
        towers[modality] = _tower(modality, encoder, facts)
    return Encoders(Towers(**towers), params, tokenizer, max_tokens)


def _build(modality: str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    try:
        return build_encoder(config, modality, **options)
    except ValueError as error:
        raise UserError(f"config.model.{modality}.config: {error}") from error


def _source(modality: str, section: Mapping[str, Any], workdir: Path, init_from: str) -> tuple[str, str]:
    own = workdir / INITIAL / modality
    if (own / "config.json").exists():
        return str(own), f"this run's own, {own}"
    if init_from:
        source = str(Path(init_from) / TRAINED / modality)
        return source, f"stage-1 result {source}"
    if section["pretrained"]:
        return section["pretrained"], f"pretrained {section['pretrained']}"
    return "", f"{section['config']['model_type']} from scratch"


def _tower(modality: str, encoder: Any, facts: Mapping[str, Any]) -> VisionTower | AudioTower | TextTower:
    if modality == VISION:
        return VisionTower(encoder, tuple(facts.get("image_mean", HALF)), tuple(facts.get("image_std", HALF)))
    if modality == AUDIO:
        return AudioTower(encoder, facts.get("normalize", True))
    return TextTower(encoder)


def _preprocessor(tower: VisionTower | AudioTower) -> dict[str, Any]:
    """The preprocessor_config.json of a tower."""
    if isinstance(tower, AudioTower):
        return {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": tower.normalize,
            "feature_size": 1,
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": SAMPLE_RATE,
        }
    size = tower.encoder.config.image_size
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": list(tower.image_mean),
        "image_std": list(tower.image_std),
        "rescale_factor": 1 / 255,
        "size": {"height": size, "width": size},
    }
