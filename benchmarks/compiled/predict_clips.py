"""Measures how much faster than real time base-size encoders predict clips, including decoding and face detection.

python -m benchmarks.compiled.predict_clips CLIP_OR_FOLDER
python -m benchmarks.compiled.predict_clips CLIP_OR_FOLDER --dtype=bfloat16

The preset `vidmimic2` of stage 2 (ViT-B/16, wav2vec2-base, BERT-base and the fusion of the paper) with random weights,
and clips read with its options. The measured work is that of `run.py --mode=predict`; compilation is listed separately.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from configs import stage2
from data_prep.clips.clip import ClipSource
from data_prep.clips.options import ClipOptions
from data_prep.corpora.new_clips import find_clips, read_clips
from emi_jax.inputs.dataset import Dataset
from emi_jax.memory import restart_with_tuned_malloc
from emi_jax.modalities import MODALITIES
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.predictor import Predictor

LABELS = ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy")


class Sentence:
    """A split without clips, with a sentence on which to train a tokenizer."""

    def as_data_source(self, split: str) -> Sequence[dict[str, Any]]:  # noqa: D102
        return [{"transcript": "that was wonderful and it makes me happy"}]

    index = as_data_source


def open_predictor(folder: str, dtype: str, batch_size: int | None, preset: str = "vidmimic2") -> Predictor:
    """A model with random weights, by default of base size."""
    config = stage2.get_config(preset)
    config.init_from = ""
    config.features.update(dir="", renditions=0)
    config.model.dtype = dtype
    for modality in MODALITIES:
        config.model[modality].pretrained = ""
    options = ClipOptions(detector="haar").stored()
    described = Dataset.described(LABELS, (0.0, 1.0), "folder", options, "", {})
    words = dataclasses.replace(described, splits={"train": 1}, builder=Sentence())
    experiment = Experiment.open(config, words, folder)
    params = experiment.stage.init(jax.random.PRNGKey(0), {})
    return Predictor(experiment, experiment.mapping.replicate(params), batch_size)


def main() -> None:
    """Prints the seconds of each part and the factor."""
    restart_with_tuned_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, help="in place of the one that prediction takes")
    options = parser.parse_args()
    sources = find_clips(options.clips).clips
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        predictor = open_predictor(folder, options.dtype, options.batch_size)
    print(f"{jax.devices()[0].device_kind}, {options.dtype}; built in {time.perf_counter() - begun:.0f} s")
    print("| clips | seconds of clips | compiled, s | read, s | predicted, s | times real time |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for _ in range(options.repeats):
        print(measure(predictor, sources), flush=True)


def measure(predictor: Predictor, sources: Sequence[ClipSource]) -> str:
    """Reads and predicts the clips; a row of the table."""
    begun, before = time.perf_counter(), predictor.compile_seconds
    examples = list(read_clips(sources, ClipOptions(detector="haar"), lambda clip, error: print("left out:", error)))
    read = time.perf_counter()
    predictions = list(predictor.predict(examples))
    compiled = predictor.compile_seconds - before
    done = time.perf_counter() - compiled
    seconds = sum(prediction.seconds for prediction in predictions)
    times = f"{compiled:.1f} | {read - begun:.2f} | {done - read:.2f} | {seconds / (done - begun):.1f}"
    return f"| {len(predictions)} | {seconds:.1f} | {times} |"


if __name__ == "__main__":
    main()
