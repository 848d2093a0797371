"""The encoders of a run: where they come from, and where they are saved.

They are saved as Hugging Face folders, one per modality, so that the result of a run can
be loaded like any pretrained folder: `<workdir>/initial/` at the start of the run, `<workdir>/encoders/` after stage 1.
"""

import dataclasses
import json
import logging
import shutil
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from emi_jax.encoders import pretrained
from emi_jax.encoders.attention_choice import (
    attention_dropout,
    choose_attention,
    head_width,
    without_attention_dropout,
)
from emi_jax.encoders.folder import read_json
from emi_jax.encoders.overrides import BEHAVIOUR, OverrideError, check_known
from emi_jax.encoders.positions import fit_positions, for_square_images
from emi_jax.encoders.preprocessing import preprocessor_config
from emi_jax.encoders.registry import BIASED_ATTENTION, build_encoder
from emi_jax.encoders.towers import build_lora, build_tower
from emi_jax.errors import NoEncodersError, UserError
from emi_jax.files import write_json
from emi_jax.inputs.described import DESCRIPTORS, LIBRARIES, Describer, build_describer
from emi_jax.inputs.tokenizer import check_tokenizer, load_tokenizer, special_ids, train_wordpiece
from emi_jax.modalities import MODALITIES, TEXT, VISION
from emi_jax.models.towers import TextTower, Towers

if TYPE_CHECKING:
    import transformers

INITIAL, TRAINED = "initial", "encoders"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Encoders:
    """The encoders of a run.

    Attributes:
        towers: for the models.
        params: of the towers that were loaded, `{modality: {"encoder": ...}}`; the others start from scratch.
        tokenizer: of the text encoder; None without one.
        max_tokens: the largest number of tokens the text encoder accepts, special tokens included; 0 without one.
        describers: compute the features of the modalities whose encoder has no weights.
        own: width of the user's own features, by modality; they take the place of an encoder.
    """

    towers: Towers
    params: dict[str, dict]
    tokenizer: "transformers.PreTrainedTokenizerBase | None"
    max_tokens: int
    describers: Mapping[str, Describer] = dataclasses.field(default_factory=dict)
    own: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def image_size(self) -> int:
        """Side of a frame in pixels; 0 without a vision encoder."""
        if VISION in self.describers:
            return self.describers[VISION].config.image_size
        return self.towers.vision.encoder.config.image_size if self.towers.vision else 0

    @property
    def min_samples(self) -> int:
        """The smallest number of samples the audio encoder accepts; 0 without one."""
        return self.towers.audio.encoder.config.steps.min_samples if self.towers.audio else 0

    @property
    def preprocessing(self) -> dict[str, str]:
        """By modality, everything besides weights that determines its features, as text to be compared."""
        towers = {name: getattr(self.towers, name) for name in MODALITIES if getattr(self.towers, name) is not None}
        facts = {name: repr(self._facts(name, tower)) for name, tower in towers.items()}
        facts |= {name: repr((describer.config, LIBRARIES)) for name, describer in self.describers.items()}
        return facts | {name: f"features of width {width}" for name, width in self.own.items()}

    def _facts(self, modality: str, tower: Any) -> list[Any]:
        encoder = tower.encoder
        shape = {name: value for name, value in dataclasses.asdict(encoder.config).items() if name not in BEHAVIOUR}
        facts = [encoder.config.model_type, shape, str(jnp.dtype(encoder.dtype)), tower.layers, tower.pooling]
        if modality != TEXT:
            return [*facts, json.dumps(preprocessor_config(tower))]
        assert self.tokenizer is not None
        facts.append(sorted(self.tokenizer.get_vocab().items()))
        if backend := getattr(self.tokenizer, "backend_tokenizer", None):
            facts += [backend.normalizer, backend.pre_tokenizer, backend.post_processor]
        return facts

    def save(self, folder: Path, params: Mapping[str, Any]) -> None:
        """Saves all encoders, with `params` as the towers' parameters, in a folder for each modality.

        Updates of low rank are added to the weights, so that these are plain Hugging Face folders. Replaces all
        previous content of the folder.
        """
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        params = self.towers.lora.merged(params) if self.towers.lora else params
        for modality in params:
            tower, target = getattr(self.towers, modality), part / modality
            pretrained.save_encoder(target, tower.encoder, params[modality]["encoder"])
            self._save_preprocessing(target, tower)
        self._save_describers(part)
        shutil.rmtree(folder, ignore_errors=True)
        if part.exists():
            part.replace(folder)

    def save_configs(self, folder: Path) -> None:
        """Saves all encoders without their weights, in a new folder for each modality of an existing folder."""
        for modality in MODALITIES:
            if tower := getattr(self.towers, modality):
                target = folder / modality
                target.mkdir()
                pretrained.save_config(target, tower.encoder)
                self._save_preprocessing(target, tower)
        self._save_describers(folder)

    def _save_preprocessing(self, target: Path, tower: Any) -> None:
        if isinstance(tower, TextTower):
            assert self.tokenizer is not None  # of every text tower
            self.tokenizer.save_pretrained(target)
        else:
            write_json(target / "preprocessor_config.json", preprocessor_config(tower))

    def _save_describers(self, folder: Path) -> None:
        for modality, describer in self.describers.items():
            (folder / modality).mkdir(parents=True)
            content = {"model_type": describer.config.model_type, **dataclasses.asdict(describer.config)}
            write_json(folder / modality / "config.json", content)


def open_encoders(
    model: Mapping[str, Any],
    modalities: Sequence[str],
    *,
    workdir: Path,
    init_from: str,
    image_size: int,
    devices: Sequence[jax.Device],
    transcripts: Callable[[], Sequence[str]],
    own: Mapping[str, int] = types.MappingProxyType({}),
    with_weights: bool = True,
) -> Encoders:
    """Opens each encoder from the first of: this run's own, a stage-1 result, a pretrained folder, scratch.

    A modality for which the dataset holds the user's own features has no encoder.

    Args:
        model: the config's section: for each modality `pretrained`, `config`, `scratch`, `layers` and possibly
            `pooling`; `dtype`, `remat`, `attention`, `attention_dropout` and `lora`.
        modalities: those in use.
        workdir: of this run.
        init_from: workdir of a stage-1 run; empty for none.
        image_size: side of the frames; 0 for the one that the vision encoder's folder states: its preprocessor's, or
            else its config's (DINOv2 has positions for 518 pixels and is meant to read 224).
        devices: those that the encoders will run on.
        transcripts: returns the transcripts on which the tokenizer of a text encoder from scratch is trained.
        own: width of the user's own features in the dataset, by modality.
        with_weights: False for an exported model, whose encoders' parameters are with all others; `params` is empty.

    Raises:
        UserError: a folder that is named is missing, or its content does not fit the config.
    """
    if with_weights and init_from and not any(map(Path.is_dir, (workdir / INITIAL, Path(init_from) / TRAINED))):
        raise NoEncodersError(
            f"no stage-1 result in {init_from} (expected {Path(init_from) / TRAINED}): train stage 1 first"
        )
    options: dict[str, Any] = {"dtype": jnp.dtype(model["dtype"]), "remat": model["remat"]}
    towers: dict[str, Any] = {}
    params: dict[str, dict] = {}
    describers: dict[str, Describer] = {}
    tokenizer, max_tokens = None, 0
    own = {modality: own[modality] for modality in modalities if modality in own}
    for modality in modalities:
        section = model[modality]
        if modality in own:
            log.info("%-7s encoder: none, the dataset holds its features, %d wide", modality, own[modality])
            continue
        fields = {name: value for name, value in dict(section["config"]).items() if value is not None}
        if modality == VISION and image_size:
            fields.pop("image_size", None)
        if with_weights:
            source, why = _source(modality, section, workdir, init_from)
        else:
            source, why = str(workdir / TRAINED / modality), f"this model's own, {workdir / TRAINED / modality}"
        log.info("%-7s encoder: %s", modality, why)
        if describer := _describer(modality, section, source, fields):
            describers[modality] = describer
            continue
        if source:
            folder = pretrained.find_folder(source)
            if with_weights:
                encoder, params[modality], facts = _load(modality, folder, image_size, fields, options)
            else:
                encoder = pretrained.build_saved(folder, modality, overrides=fields, **options)
                facts = pretrained.load_preprocessing(folder, modality)
            if modality == TEXT:
                tokenizer, max_tokens = load_tokenizer(folder), facts["max_tokens"]
                check_tokenizer(tokenizer, encoder.config, folder)
        else:
            facts, config = {}, {**section["scratch"], **fields}
            if modality == VISION and image_size:
                config["image_size"] = image_size
            if modality == TEXT:
                tokenizer = train_wordpiece(transcripts(), config["vocab_size"])
                config |= {"vocab_size": len(tokenizer), **special_ids(tokenizer)}
            encoder = _build(modality, config, fields, options)
            if modality == TEXT:
                max_tokens = encoder.config.max_tokens
        if modality == VISION:
            encoder = for_square_images(encoder, source)
        if not model["attention_dropout"]:
            encoder = encoder.clone(config=without_attention_dropout(encoder.config))
        biased = encoder.config.model_type in BIASED_ATTENTION
        attention = choose_attention(model["attention"], options["dtype"], devices, head_width(encoder.config), biased)
        log.info("%-7s attention: %s", modality, {"xla": "XLA's", "cudnn": "cuDNN's"}[attention])
        if attention == "cudnn" and (rate := attention_dropout(encoder.config)):
            log.warning(
                "%-7s attention: XLA's when this tower is trained, since cuDNN's cannot drop out weights and the "
                "encoder's rate is %g; --config.model.attention_dropout=False leaves this dropout out",
                modality,
                rate,
            )
        encoder = encoder.clone(attention_implementation=attention)
        towers[modality] = build_tower(modality, encoder, facts, section)
    lora = build_lora(model["lora"])
    return Encoders(Towers(**towers, lora=lora), params, tokenizer, max_tokens, describers, own)


def _describer(modality: str, section: Mapping[str, Any], source: str, fields: Mapping[str, Any]) -> Describer | None:
    """The describer of a modality whose encoder has no weights; None if it has some."""
    if source:
        if not (Path(source).is_dir() and (Path(source) / "config.json").is_file()):
            return None
        config = read_json(Path(source) / "config.json")
    else:
        config = {**section["scratch"], **fields}
    if config.get("model_type") not in DESCRIPTORS:
        return None
    try:
        describer = build_describer(config, modality)
        check_known(describer.config, fields, source or "descriptors")
    except (ValueError, OverrideError) as error:
        raise UserError(f"config.model.{modality}.config: {error}") from error
    return describer


def _load(
    modality: str, folder: Path, image_size: int, fields: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """An encoder of a Hugging Face folder, its tower's parameters, and how its inputs are prepared."""
    size = image_size or None if modality == VISION else None
    try:
        encoder, params = pretrained.load_encoder(folder, modality, image_size=size, overrides=fields, **options)
    except OverrideError as error:
        raise UserError(f"config.model.{modality}.config, {error}") from error
    facts = pretrained.load_preprocessing(folder, modality)
    if modality == VISION and size is None and facts["image_size"] is not None:
        encoder, params = fit_positions(folder, encoder, params, facts["image_size"])
    return encoder, {"encoder": params}, facts


def _build(modality: str, config: Mapping[str, Any], fields: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """An encoder from scratch; `fields` are those of `config` that the run sets itself."""
    where = f"config.model.{modality}.config"
    try:
        encoder: Any = build_encoder(config, modality, **options)
        check_known(encoder.config, fields, "from scratch")
    except (ValueError, OverrideError) as error:
        raise UserError(f"{where}: {error}") from error
    return encoder


def _source(modality: str, section: Mapping[str, Any], workdir: Path, init_from: str) -> tuple[str, str]:
    """The folder an encoder is loaded from, "" for scratch, and a description for the log."""
    own = workdir / INITIAL / modality
    if (own / "config.json").exists():
        return str(own.absolute()), f"this run's own, {own}"
    if init_from:
        source = Path(init_from, TRAINED, modality).absolute()
        return str(source), f"stage-1 result {source}"
    if section["pretrained"]:
        return section["pretrained"], f"pretrained {section['pretrained']}"
    kind = section["config"]["model_type"] or section["scratch"]["model_type"]
    return "", f"{kind}, which have no weights" if kind in DESCRIPTORS else f"{kind} from scratch"
