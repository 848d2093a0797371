"""Predicts the intensities of new clips with a trained run: the Python interface to the model.

```python
predictor = Predictor.load("runs/demo/stage2")
for prediction in predictor.predict(examples):
    print(prediction.id, prediction.intensities)
```
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Example, clip_id
from emi_jax.inputs.lengths import without_common_padding
from emi_jax.inputs.pieces import TOLERANCE
from emi_jax.inputs.transforms import Arrays, ClipTransform
from emi_jax.inputs.windows import Window, Windows, length
from emi_jax.modalities import AUDIO, MODALITIES, SAMPLE_RATE
from emi_jax.prediction import Prediction
from emi_jax.runs.evaluation import chosen_params, of_members
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.recording import Recording
from emi_jax.runs.standardisation import SUBJECT, choice, standardised
from emi_jax.runs.submission import in_units
from emi_jax.runs.trained import open_trained
from emi_jax.runs.unfinished import Unfinished
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.programs import Programs


class Predictor:
    """A trained run of stage 2, ready for clips.

    Attributes:
        label_names: the K label names.
        label_range: lowest and highest label in the users' units.
        modalities: the modalities that the model reads.
        clip_options: how clips must be read for this model, for `data_prep.clips.stored.stored_options`.
        features: by modality, the metadata of the user's own features that the model reads in place of media, for
            `data_prep.corpora.new_clips.add_features`.
        fingerprint: a hash of the model: its parameters, encoder configs and labels.
        seconds: the longest clip or window that the model reads at once.
        batch_size: number of clips or windows in a batch.
    """

    def __init__(self, experiment: Experiment, params: dict, batch_size: int | None = None, one_length: bool = False):
        """Prepares the forward pass.

        Args:
            experiment: a run of stage 2.
            params: all parameters, on its devices.
            batch_size: as in `load`.
            one_length: as in `load`.

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
        self.modalities = experiment.transform.shape.modalities
        self._transform: ClipTransform = experiment.transform
        hears = AUDIO in self._transform.shape.modalities and AUDIO not in self._transform.own
        heard = self._transform.shape.num_samples / SAMPLE_RATE if hears else float("inf")
        self.seconds = min(heard, float(self.clip_options["max_seconds"]))
        self._mapping: Mapping = experiment.mapping
        devices = self._mapping.devices
        wanted = batch_size or (1 if devices[0].platform == "cpu" else 8 * len(devices))
        self._one_length = one_length
        self.batch_size = -(-wanted // len(devices)) * len(devices)
        self._params = params
        self._min_samples = experiment.encoders.min_samples
        explain = of_members(standardised(experiment), "explain")
        self._explain = Programs(self._mapping.map(explain, (REPLICATED, SHARDED), output=SHARDED))
        self._transforms: dict[float, ClipTransform] = {}
        facts = (self._transform.shape, experiment.encoders.preprocessing, self.label_names, self.label_range)
        digest = hashlib.sha256(parameters.fingerprint(jax.device_get(params)).encode())
        digest.update(repr(facts).encode())
        self.fingerprint = digest.hexdigest()

    @classmethod
    def load(
        cls,
        workdir: str | Path,
        batch_size: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        one_length: bool = False,
    ) -> "Predictor":
        """Opens a run from its folder alone, which may be read-only; its dataset need not exist.

        Args:
            workdir: the folder of a trained run of stage 2, or of an exported model.
            batch_size: number of clips per batch, rounded up to a multiple of the devices. A batch costs as much as if
                all its clips were as long as its longest. By default 8 per device, or 1 on the CPU, where larger
                batches are no faster.
            devices: all devices by default.
            one_length: whether every batch is padded to the longest clip that the model reads: a single program then
                serves all clips, and a short clip takes as long as a long one.

        Raises:
            UserError: the folder holds no run, a run of stage 1, or damaged files.
        """
        experiment = open_trained(workdir, devices)
        return cls(experiment, chosen_params(experiment), batch_size, one_length)

    @property
    def compile_seconds(self) -> float:
        """Time spent on compilation so far; each new batch length and each length of windows adds to it."""
        return self._explain.compile_seconds

    def windows(self, seconds: float | None = None, hop: float | None = None) -> Windows:
        """Windows of a length and hop in seconds; by default as long as the model reads, without overlap.

        Raises:
            UserError: a window is shorter or longer than the model can read.
        """
        seconds = self.seconds if seconds is None else seconds
        windows = Windows(seconds, seconds if hop is None else hop)
        shortest = self._min_samples / SAMPLE_RATE
        if not shortest <= windows.seconds <= self.seconds:
            raise UserError(
                f"--window={windows.seconds:g}: the model reads {shortest:g} to {self.seconds:g} s at once; use "
                f"--window={self.seconds:g}, or train a model with a larger --config.data.seconds"
            )
        return windows

    def predict(
        self, examples: Iterable[Example], windows: Windows | None = None, unfinished: Unfinished | None = None
    ) -> Iterator[Prediction]:
        """Predicts clips, a batch at a time.

        A clip of at most `seconds` is predicted as a whole. A longer one is predicted in windows as long as that, and
        the mean of their predictions is given. Clips are predicted in the order given, but those in windows after
        their last piece.

        Args:
            examples: clips, or pieces of long ones, from `data_prep.corpora.new_clips.read_clips`,
                `data_prep.clips.clip.read_clip` or a dataset; labels may be missing.
            windows: from `windows`; all clips are then predicted in such windows, short ones in a single one.
            unfinished: keeps the states of clips in windows. Those with a bookmark resume: their examples are the
                pieces that follow it.
        """
        cut, chosen = windows or self.windows(), windows is not None
        recordings: dict[str, Recording] = {}
        whole: list[Example] = []
        waiting: list[tuple[Recording, Window]] = []
        for example in examples:
            if not chosen and "piece" not in example and length(example) <= self.seconds + TOLERANCE:
                whole.append(example)
                if len(whole) == self.batch_size:
                    yield from self._predict(whole, self._transform)
                    whole = []
                continue
            name = clip_id(example)
            if name not in recordings:
                recordings[name] = Recording(cut, chosen)
                if unfinished is not None:
                    unfinished.restore(name, recordings[name])
            recording = recordings[name]
            for window in recording.cut(example):
                waiting.append((recording, window))
                if window.last:
                    del recordings[name]  # another clip may have the same id
                if len(waiting) == self.batch_size:
                    yield from self._record(waiting, cut.seconds)
                    waiting = []
            if unfinished is not None and recordings and unfinished.due:
                yield from self._record(waiting, cut.seconds)
                waiting = []
                unfinished.save(recordings)
        yield from self._predict(whole, self._transform)
        yield from self._record(waiting, cut.seconds)

    def predict_windows(self, waiting: Sequence[Window], seconds: float) -> Iterator[Prediction]:
        """Predicts at most a batch of windows, each as a clip of its own.

        Args:
            waiting: the windows, at most `batch_size` of them.
            seconds: their length.
        """
        return self._predict([window.example for window in waiting], self._of_windows(seconds))

    def _record(self, waiting: Sequence[tuple[Recording, Window]], seconds: float) -> Iterator[Prediction]:
        """Predicts a batch of windows; yields the predictions of the clips of which it has the last."""
        predictions = self.predict_windows([window for _, window in waiting], seconds)
        for (recording, window), prediction in zip(waiting, predictions, strict=True):
            recording.add(window, prediction)
            if window.last:
                yield recording.prediction(prediction)

    def _of_windows(self, seconds: float) -> ClipTransform:
        """The transform of windows of a length, all of which have the same shapes."""
        if seconds not in self._transforms:
            samples = max(self._min_samples, round(seconds * SAMPLE_RATE))
            shape = dataclasses.replace(self._transform.shape, num_samples=samples)
            self._transforms[seconds] = dataclasses.replace(self._transform, shape=shape)
        return self._transforms[seconds]

    def _predict(self, examples: Sequence[Example], transform: ClipTransform) -> Iterator[Prediction]:
        if not examples:
            return
        unknown = np.full(len(self.label_names), np.nan, np.float32)
        clips = []
        for place, example in enumerate(examples):
            labels = np.asarray(example["labels"], np.float32)
            labelled = example if len(labels) else {**example, "labels": unknown}
            clips.append(transform.read(labelled, np.random.default_rng(0), place))
        outputs = self._run([transform.describe(clip) for clip in clips], transform)
        for place, (example, arrays) in enumerate(zip(examples, clips, strict=True)):
            yield self._prediction(example, arrays, {name: array[place] for name, array in outputs.items()})

    def _run(self, clips: list[Arrays], transform: ClipTransform) -> Arrays:
        """The model's outputs for a batch that is filled up with padding, [batch_size, ...]."""
        padding = transform.padding
        padded = clips + [padding] * (self.batch_size - len(clips))
        batch = {name: np.stack([clip[name] for clip in padded]) for name in padding}
        # Windows keep their shape, so that one program serves all of them.
        if transform is self._transform and not self._one_length:
            batch = without_common_padding(batch, self._min_samples)
        return self._mapping.fetch(self._explain(self._params, self._mapping.put(batch)))

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
            remarks=tuple(f"{kind} ({detail})" if detail else str(kind) for kind, detail in example.get("remarks", ())),
        )

    def _tokens(self, arrays: Arrays) -> list[str]:
        if "tokens" not in arrays or self._transform.reader is None:
            return []
        return self._transform.reader.names(arrays["tokens"][arrays["token_mask"]])
