"""Predicts the intensities of new clips with a trained run: the Python interface to the model.

predictor = Predictor.load("runs/demo/stage2")
for prediction in predictor.predict(examples):
    print(prediction.id, prediction.intensities)
"""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.dataset import Dataset, Example, clip_id
from emi_jax.inputs.transforms import Arrays, ClipTransform, without_common_padding
from emi_jax.modalities import AUDIO, MODALITIES, SAMPLE_RATE
from emi_jax.prediction import Prediction
from emi_jax.runs.evaluation import chosen_params, of_members
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.standardisation import SUBJECT, choice, standardised
from emi_jax.runs.submission import in_units
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping


class Predictor:
    """A trained run of stage 2, ready for clips.

    Attributes:
        label_names: the K label names.
        label_range: lowest and highest label in the users' units.
        clip_options: how clips must be read for this model, for `data_prep.clips.stored.stored_options`.
        features: by modality, the metadata of the user's own features that the model reads in place of media, for
            `data_prep.corpora.new_clips.add_features`.
        fingerprint: a hash of the model: its parameters, encoder configs and labels.
        compile_seconds: time spent on compilation so far; each new batch length adds to it.
    """

    def __init__(self, experiment: Experiment, params: dict, batch_size: int | None = None):
        """Prepares the forward pass.

        Args:
            experiment: a run of stage 2.
            params: all parameters, on its devices.
            batch_size: as in `load`.

        Raises:
            UserError: the run standardises within subjects.
        """
        if choice(experiment)[0] == SUBJECT:
            raise UserError(
                f"{experiment.workdir.path} standardises features within subjects, which needs all clips of each: "
                "prepare the new clips as a dataset with a Subject column, and predict its split with --mode=predict "
                "--config.data.dir=DATASET --split=SPLIT"
            )
        self.label_names = experiment.dataset.label_names
        self.label_range = experiment.dataset.label_range
        self.clip_options = experiment.dataset.clip_options
        self.features = {name: experiment.dataset.features[name] for name in experiment.encoders.own}
        self._transform: ClipTransform = experiment.transform
        self._mapping: Mapping = experiment.mapping
        devices = self._mapping.devices
        wanted = batch_size or (1 if devices[0].platform == "cpu" else 8 * len(devices))
        self._batch_size = -(-wanted // len(devices)) * len(devices)
        self._params = params
        self._min_samples = experiment.encoders.min_samples
        explain = of_members(standardised(experiment), "explain")
        self._explain: Any = self._mapping.map(explain, (REPLICATED, SHARDED), output=SHARDED)
        self._compiled: dict[tuple, Callable] = {}
        self.compile_seconds = 0.0
        facts = (self._transform.shape, experiment.encoders.preprocessing, self.label_names, self.label_range)
        digest = hashlib.sha256(parameters.fingerprint(jax.device_get(params)).encode())
        digest.update(repr(facts).encode())
        self.fingerprint = digest.hexdigest()

    @classmethod
    def load(
        cls, workdir: str | Path, batch_size: int | None = None, devices: Sequence[jax.Device] | None = None
    ) -> "Predictor":
        """Opens a run from its folder alone, which may be read-only; its dataset need not exist.

        Args:
            workdir: the folder of a trained run of stage 2.
            batch_size: number of clips per batch, rounded up to a multiple of the devices. A batch costs as much as if
                all its clips were as long as its longest. By default 8 per device, or 1 on the CPU, where larger
                batches are no faster.
            devices: all devices by default.

        Raises:
            UserError: the folder holds no run, a run of stage 1, or damaged files.
        """
        folder = Path(workdir).expanduser()
        try:
            config, facts = (read_json(folder / name) for name in ("config.json", "dataset.json"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"no trained run in {folder}: {error.filename} is not there; train it first") from error
        if config.get("stage") == "alignment":
            raise UserError(f"{folder} is a run of stage 1: intensities are predicted by stage 2")
        try:
            config["model"]["attention"] = "auto"  # the run's own implementation may not be available here
            dataset = Dataset.described(**facts)
            experiment = Experiment.open(ConfigDict(config), dataset, folder, devices)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder}: config.json or dataset.json does not hold what is expected ({error}): copy both again, or "
                "use the version of emi-jax that trained the run"
            ) from error
        return cls(experiment, chosen_params(experiment), batch_size)

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """Predicts clips in the order given, a batch at a time.

        Args:
            examples: from `data_prep.clips.clip.read_clip` or from a dataset; labels may be missing.
        """
        for batch in _batched(examples, self._batch_size):
            yield from self._predict(batch)

    def _predict(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        unknown = np.full(len(self.label_names), np.nan, np.float32)
        clips = []
        for place, example in enumerate(examples):
            labels = np.asarray(example["labels"], np.float32)
            labelled = example if len(labels) else {**example, "labels": unknown}
            clips.append(self._transform.read(labelled, np.random.default_rng(0), place))
        outputs = self._run([self._transform.describe(clip) for clip in clips])
        for place, (example, arrays) in enumerate(zip(examples, clips, strict=True)):
            yield self._prediction(example, arrays, {name: array[place] for name, array in outputs.items()})

    def _run(self, clips: list[Arrays]) -> Arrays:
        """The model's outputs for a batch that is filled up with padding, [batch_size, ...]."""
        padding = self._transform.padding
        padded = clips + [padding] * (self._batch_size - len(clips))
        batch = {name: np.stack([clip[name] for clip in padded]) for name in padding}
        batch = without_common_padding(batch, self._min_samples)
        on_devices = self._mapping.put(batch)
        shapes = tuple(array.shape for array in batch.values())
        if shapes not in self._compiled:
            began = time.perf_counter()
            self._compiled[shapes] = self._explain.lower(self._params, on_devices).compile()
            self.compile_seconds += time.perf_counter() - began
        return self._mapping.fetch(self._compiled[shapes](self._params, on_devices))

    def _prediction(self, example: Example, arrays: Arrays, outputs: Arrays) -> Prediction:
        values = in_units(outputs["predictions"], self.label_range)
        used = [name for name in MODALITIES if f"{name}/mask" in outputs]
        return Prediction(
            id=clip_id(example),
            intensities={name: float(value) for name, value in zip(self.label_names, values, strict=True)},
            weights={name: float(outputs["weights"][MODALITIES.index(name)]) for name in used},
            share={name: float(outputs["share"][MODALITIES.index(name)]) for name in used},
            reliability={name: outputs[f"{name}/reliability"][outputs[f"{name}/mask"]] for name in used},
            times={name: outputs[f"{name}/times"][outputs[f"{name}/mask"]] for name in used},
            tokens=self._tokens(arrays),
            informed=bool(outputs["informed"]),
            arrays=arrays,
            example=example,
            remarks=self._remarks(example),
        )

    def _remarks(self, example: Example) -> tuple[str, ...]:
        """The remarks on the clip's files and on the parts of them that the model does not read."""
        remarks = [tuple(map(str, remark)) for remark in example.get("remarks", ())]
        seconds, limit = len(example["audio"]) / SAMPLE_RATE, self._transform.shape.num_samples / SAMPLE_RATE
        if AUDIO in self._transform.shape.modalities and seconds > limit:
            remarks.append(("the model hears only the beginning", f"{limit:g} of {seconds:.1f} s"))
        return tuple(f"{kind} ({detail})" if detail else kind for kind, detail in remarks)

    def _tokens(self, arrays: Arrays) -> list[str]:
        if "tokens" not in arrays or self._transform.reader is None:
            return []
        return self._transform.reader.names(arrays["tokens"][arrays["token_mask"]])


def _batched(items: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
