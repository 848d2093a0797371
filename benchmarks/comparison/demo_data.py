"""The demo's clips through the shipped input pipeline, and through a `DataLoader` with the same transform.

Requires the dependencies of the input pipeline (grain, tensorflow_datasets, opencv) and `data/demo`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.cases import Case
from benchmarks.comparison.work import UnavailableError
from emi_jax.modalities import SAMPLE_RATE

DIRECTORY = Path("data/demo")
THREADS = 2
HOW_TO_MAKE = "python run.py --config=configs/stage1.py"


def loader(case: Case, encoders: dict[str, Any]) -> tuple[Iterator[Any], dict[str, Any]]:
    """Endless batches of `emi_jax.inputs`, and the encoder configs with the tokenizer's vocabulary size."""
    from emi_jax.inputs.loader import batches
    from emi_jax.inputs.sampling import Epochs

    split, transform, encoders = _open(case, encoders)
    return batches(split, transform, Epochs(len(split), case.sizes.batch, 0)), encoders


def torch_loader(case: Case, encoders: dict[str, Any]) -> tuple[Iterator[Any], dict[str, Any]]:
    """The same batches from `torch.utils.data.DataLoader` with worker processes, batches shuffled."""
    import torch
    from torch.utils.data import DataLoader

    split, transform, encoders = _open(case, encoders)

    def endless() -> Iterator[Any]:
        clips: Any = DataLoader(
            _Clips(split, transform),
            case.sizes.batch,
            shuffle=True,
            drop_last=True,
            num_workers=THREADS,
            persistent_workers=True,
            prefetch_factor=2,
            generator=torch.Generator().manual_seed(0),
            multiprocessing_context="spawn",  # the record reader has threads, which do not survive a fork
        )
        while True:
            yield from clips

    return endless(), encoders


class _Clips:
    """A map-style dataset for `DataLoader`."""

    def __init__(self, split: Any, transform: Any):
        self._split, self._transform = split, transform

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._transform(self._split[index], np.random.default_rng(index), index)


def _open(case: Case, encoders: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    try:
        from emi_jax.inputs.dataset import open_dataset, transcripts
        from emi_jax.inputs.texts import Subwords
        from emi_jax.inputs.tokenizer import train_wordpiece
        from emi_jax.inputs.transforms import ClipTransform, InputShape
    except ImportError as error:
        raise UnavailableError(f"the input pipeline needs {error.name}: pip install -r requirements.txt") from error
    if not (DIRECTORY / "emi").is_dir():
        raise UnavailableError(f"no {DIRECTORY}; make it with: {HOW_TO_MAKE}")
    split = open_dataset(DIRECTORY, HOW_TO_MAKE).split("train")
    tokenizer = train_wordpiece(transcripts(split), encoders["text"].get("vocab_size", 30522))
    shape = InputShape(
        num_labels=6,
        modalities=("vision", "audio", "text"),
        num_frames=case.sizes.num_frames,
        image_size=encoders["vision"].get("image_size", 224),
        num_samples=round(case.sizes.seconds * SAMPLE_RATE),
        num_tokens=case.sizes.num_tokens,
    )
    encoders = encoders | {"text": encoders["text"] | {"vocab_size": len(tokenizer)}}
    return (
        split,
        ClipTransform(shape, Subwords(tokenizer, shape.num_tokens), augment=True, find_silence=False),
        encoders,
    )  # as in stage 1
