"""How an encoder's inputs are prepared, read from the files next to its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emi_jax.encoders.folder import find_folder, read_json
from emi_jax.encoders.registry import build_encoder
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.models.towers import AudioTower, VisionTower

SPECTROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "whisper": (
        "WhisperFeatureExtractor",
        {"hop_length": 160, "n_fft": 400, "padding_value": 0.0, "dither": 0.0, "return_attention_mask": False},
    ),
    "wav2vec2-bert": (
        "SeamlessM4TFeatureExtractor",
        {"feature_size": 80, "num_mel_bins": 80, "stride": 2, "padding_value": 1.0, "return_attention_mask": True},
    ),
}
"""Families that read spectrograms of waveforms as recorded: Hugging Face's feature extractor and its fields."""


NOT_READ = ("padding_value", "return_attention_mask")
"""Fields of those about padding, which is masked here whatever they are."""


def load_preprocessing(folder: str | Path, role: str) -> dict[str, Any]:
    """Reads how a tower has to prepare the inputs of an encoder.

    Args:
        folder: a Hugging Face folder, or an id of the hub.
        role: the modality.

    Returns:
        For vision `image_mean` and `image_std`, of each channel of pixels in [0, 1], and `image_size`, the side of the
        square images that the encoder is meant to read, or None where the file does not say; for audio `normalize`,
        whether clips are normalised to zero mean and unit variance; for text `max_tokens`, special ones included.

    Raises:
        UserError: a file or a field is missing, or the audio is not at 16 kHz.
    """
    root = find_folder(folder)
    return {VISION: _vision, AUDIO: _audio, TEXT: _text}[role](root)


def _vision(root: Path) -> dict[str, Any]:
    path, found = _preprocessor(root, "image_processor")
    # Theirs is (pixel * factor - mean) / std with pixels of 0 to 255; ours takes pixels of 0 to 1.
    scale = 255 * _number(found.get("rescale_factor", 1 / 255), path) if found.get("do_rescale", True) else 255.0
    if not scale > 0:
        raise UserError(f"{path}: rescale_factor is {found['rescale_factor']}, expected a positive number")
    normalises = found.get("do_normalize", True)
    result: dict[str, Any] = {"image_size": _side(found, path)}
    for name, without in (("image_mean", 0.0), ("image_std", 1.0)):
        value = found.get(name) if normalises else without
        channels = value if isinstance(value, list) else [value] * 3
        if value is None or len(channels) != 3:
            raise UserError(f"{path}: lacks {name}, one number or three; add it")
        result[name] = tuple(_number(channel, path) / scale for channel in channels)
    if not all(result["image_std"]):
        raise UserError(f"{path}: image_std is 0, expected a positive number")
    return result


def _side(found: Mapping[str, Any], path: Path) -> int | None:
    """The side of the images after all resizing and cropping; None where they are not square or not described."""
    size = None
    if found.get("do_center_crop", "crop_size" in found):
        size = found.get("crop_size")
    elif found.get("do_resize", True):
        size = found.get("size")
    if isinstance(size, dict):
        height, width = size.get("height"), size.get("width")
    else:
        height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    return int(_number(height, path)) if height is not None and height == width else None


def _number(value: object, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: found {value!r}, expected a number")
    return float(value)


def _audio(root: Path) -> dict[str, Any]:
    path, found = _preprocessor(root, "feature_extractor")
    if (rate := found.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise UserError(
            f"{path}: the encoder needs audio at {rate} Hz, clips are read at {SAMPLE_RATE} Hz; use another encoder"
        )
    for extractor, fields in SPECTROGRAMS.values():
        if found.get("feature_extractor_type") == extractor:
            for name, value in fields.items():
                if name not in NOT_READ and found.get(name, value) != value:
                    raise UserError(f"{path}: {name} is {found[name]!r}; the front end of this encoder has {value!r}")
            return {"normalize": False}
    return {"normalize": bool(found.get("do_normalize", True))}


def _text(root: Path) -> dict[str, Any]:
    path = root / "config.json"
    try:
        encoder: Any = build_encoder(read_json(path), TEXT)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    path = root / "tokenizer_config.json"
    # Tokenizers without a limit of their own write a huge number, or none.
    own = read_json(path).get("model_max_length") if path.is_file() else None
    return {"max_tokens": min(int(_number(own, path)) if own else encoder.config.max_tokens, encoder.config.max_tokens)}


def preprocessor_config(tower: VisionTower | AudioTower) -> dict[str, Any]:
    """The preprocessor_config.json of a tower."""
    config: Any = tower.encoder.config
    if isinstance(tower, VisionTower):
        return {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "image_mean": list(tower.image_mean),
            "image_std": list(tower.image_std),
            "rescale_factor": 1 / 255,
            "size": {"height": config.image_size, "width": config.image_size},
        }
    if config.model_type in SPECTROGRAMS:
        extractor, fields = SPECTROGRAMS[config.model_type]
        content = {"feature_extractor_type": extractor, **fields, "sampling_rate": SAMPLE_RATE}
        if config.model_type == "whisper":
            seconds = config.window * config.steps.stride / SAMPLE_RATE
            content |= {"feature_size": config.num_mel_bins, "chunk_length": int(seconds) or seconds}
        return content
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": tower.normalize,
        "feature_size": 1,
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": SAMPLE_RATE,
    }


def _preprocessor(root: Path, part: str) -> tuple[Path, dict[str, Any]]:
    """The file and its content; newer folders of models with two inputs keep it as a part of another file."""
    path, combined = root / "preprocessor_config.json", root / "processor_config.json"
    if not path.is_file() and combined.is_file() and isinstance(found := read_json(combined).get(part), dict):
        return combined, found
    return path, read_json(path)
