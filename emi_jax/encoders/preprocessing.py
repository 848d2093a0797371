"""What an encoder expects of its inputs, from the files beside its weights."""

from pathlib import Path
from typing import Any

from emi_jax.encoders.folder import find_folder, read_json
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION


def load_preprocessing(folder: str | Path, role: str) -> dict[str, Any]:
    """The facts that a tower needs of an encoder's inputs.

    Args:
        folder: a Hugging Face folder, or an id of the hub.
        role: the modality.

    Returns:
        vision: `image_mean` and `image_std`, of each channel of pixels in [0, 1]; audio: `normalize`, whether clips
        are brought to zero mean and unit variance; text: `max_tokens`, special ones included.

    Raises:
        UserError: a file or a fact is missing, or the audio is not at 16 kHz.
    """
    root = find_folder(folder)
    return {VISION: _vision, AUDIO: _audio, TEXT: _text}[role](root)


def _vision(root: Path) -> dict[str, Any]:
    path, found = _preprocessor(root, "image_processor")
    if not found.get("do_normalize", True):
        return {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
    if missing := [name for name in ("image_mean", "image_std") if len(found.get(name) or ()) != 3]:
        raise UserError(f"{path}: lacks {' and '.join(missing)}, three numbers each; add them")
    return {name: tuple(found[name]) for name in ("image_mean", "image_std")}


def _audio(root: Path) -> dict[str, Any]:
    path, found = _preprocessor(root, "feature_extractor")
    if (rate := found.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise UserError(f"{path}: the encoder wants audio at {rate} Hz, it gets {SAMPLE_RATE} Hz; take another encoder")
    return {"normalize": bool(found.get("do_normalize", True))}


def _text(root: Path) -> dict[str, Any]:
    config = read_json(root / "config.json")
    positions = (config.get("text_config") or config).get("max_position_embeddings")
    path = root / "tokenizer_config.json"
    # Tokenizers without a limit of their own write a huge number, or none.
    own = read_json(path).get("model_max_length") if path.is_file() else None
    limits = [int(limit) for limit in (own, positions) if limit]
    if not limits:
        raise UserError(f"{root}: neither model_max_length in {path.name} nor max_position_embeddings in config.json")
    return {"max_tokens": min(limits)}


def _preprocessor(root: Path, part: str) -> tuple[Path, dict[str, Any]]:
    """The file and its content; newer folders of models with two inputs keep it as a part of another file."""
    path, combined = root / "preprocessor_config.json", root / "processor_config.json"
    if not path.is_file() and combined.is_file() and part in (content := read_json(combined)):
        return combined, content[part]
    return path, read_json(path)
