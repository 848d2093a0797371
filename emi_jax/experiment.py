"""A run: config, dataset and folder made into a stage that is trained, evaluated or used for prediction."""

import collections
import dataclasses
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Facts
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from emi_jax.encoders import INITIAL, TRAINED, Encoders, open_encoders
from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.inputs.dataset import Dataset, clip_id, transcripts
from emi_jax.inputs.features import CLEAN, CachedTransform, FeatureCache, hurt, rows
from emi_jax.inputs.loader import RandomAccess, batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import ClipTransform, InputShape, Transform
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.contrastive import ContrastiveModel
from emi_jax.models.heads import build_head
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.intensity import Intensity, Weights
from emi_jax.train import parameters
from emi_jax.train.checkpoints import Checkpoints, Progress
from emi_jax.train.clock import Clock
from emi_jax.train.evaluation import Evaluator, Forward
from emi_jax.train.hooks import Evaluate, Hook, Log, Save, StopSignal
from emi_jax.train.loop import fit
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import adamw, schedule
from emi_jax.train.processes import is_first
from emi_jax.train.profile import Profile
from emi_jax.train.step import Batch, Stage, create_state, make_step
from emi_jax.train.workdir import Workdir

SAMPLE_RATE = 16_000
_LEAVE_OUT = "; leave it out with --config.model.pairs in stage 1, --config.model.modalities in stage 2"
WITHOUT = {
    VISION: _LEAVE_OUT,
    AUDIO: _LEAVE_OUT,
    TEXT: "; python -m data_prep takes words with --transcripts, or has them recognised with --asr",
}
"""What to do about a modality that no clip has."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run of one stage.

    Attributes:
        config: of the run.
        dataset: what is read.
        workdir: where the run lives.
        mapping: over which devices.
        encoders: of the run.
        transform: from an example to arrays, without augmentation.
        stage: what is trained.
    """

    config: ConfigDict
    dataset: Dataset
    workdir: Workdir
    mapping: Mapping
    encoders: Encoders
    transform: ClipTransform
    stage: Stage

    @classmethod
    def open(
        cls,
        config: ConfigDict,
        dataset: Dataset,
        workdir: str | Path,
        devices: Sequence[jax.Device] | None = None,
    ) -> "Experiment":
        """Builds the run that a config describes.

        Args:
            config: as in `configs/`.
            dataset: what is read.
            workdir: folder of the run, which may hold an earlier part of it.
            devices: all of them by default.

        Raises:
            UserError: the config does not fit the dataset, the devices, or the run that is in the folder.
        """
        mapping = Mapping(config.train.mapping, devices)
        folder = Workdir(workdir, writes=is_first())
        _check_shares(config.train.batch_size, mapping.num_devices, config.train.accumulation)
        log.info(
            "devices: %d x %s, mapped by %s", mapping.num_devices, jax.devices()[0].device_kind, config.train.mapping
        )
        log.info("precision: parameters float32, products %s", config.model.dtype)
        modalities = _modalities(config)
        encoders = open_encoders(
            config.model,
            modalities,
            workdir=folder.path,
            init_from=config.init_from,
            scale=config.preset.split(",")[0],
            image_size=config.data.image_size,
            devices=mapping.devices,
            transcripts=lambda: transcripts(dataset.split("train")),
        )
        shape = InputShape(
            num_labels=len(dataset.label_names),
            modalities=modalities,
            num_frames=config.data.num_frames,
            image_size=encoders.image_size,
            num_samples=round(config.data.seconds * SAMPLE_RATE),
            num_tokens=_tokens(config.data.num_tokens, encoders.max_tokens),
        )
        transform = ClipTransform(shape, encoders.tokenizer, smallest_crop=_smallest_crop(config))
        stage = STAGES[config.stage](config, encoders, _example(transform), dataset)
        return cls(config, dataset, folder, mapping, encoders, transform, stage)

    def train(self) -> None:
        """Trains from the last checkpoint, or from the start, to the end."""
        config = self.config.train
        self._check_clips()
        self.workdir.write_config(self.config.to_dict())
        self.workdir.write_json("dataset.json", self.dataset.description())
        examples, transform = self.inputs("train", augment=True)
        plan = Epochs(len(examples), config.batch_size, config.seed)
        steps = config.epochs * plan.steps
        rate = schedule(config.learning_rate, config.final_rate, round(config.warmup_epochs * plan.steps), steps)
        step, progress = self._begin(rate)
        if is_first() and not (initial := self.workdir.path / INITIAL).exists():
            self.encoders.save(initial, jax.device_get(progress.state.evaluated["towers"]))
        checkpoints = self._checkpoints()
        state, rng, first_step = checkpoints.restore_last(progress) or progress
        log.info("%s: step %d of %d", "resumed" if first_step else "training from the start", first_step, steps)

        host = batches(
            examples,
            transform,
            plan,
            seed=config.seed,
            first_step=first_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        source, clock = to_device(host, self.mapping.put), Clock()
        rates = np.asarray(rate(np.arange(steps + 1)))  # at once: what is logged later costs the devices nothing
        hook_log = Log(
            every=config.log_every,
            steps=steps,
            first_step=first_step,
            batch_size=config.batch_size,
            clips=lambda number: self.clip_ids("train", plan.batch(number)),
            schedule=lambda number: float(rates[number]),
            clock=clock,
            workdir=self.workdir,
            shows=is_first(),
        )
        every = round(config.evaluate_every * plan.steps)
        valid, goal = self.evaluator("valid"), self.stage.goal
        evaluate = Evaluate(every, steps, valid, goal, hook_log, checkpoints, rng, self.workdir)
        profile = Profile(config.profile, first_step + 1, self.workdir.path / "trace")
        try:
            with StopSignal() as stop:
                save = Save(round(config.save_every * plan.steps), steps, hook_log, checkpoints, rng, stop)
                hooks: list[Hook] = [profile, hook_log, evaluate, save]
                state = fit(step, state, source, rng, hooks, clock, first_step=first_step, steps=steps)
        finally:
            checkpoints.close()
        log.info("parameters sha256:%s", parameters.fingerprint(jax.device_get(state.params)))

    def _check_clips(self) -> None:
        needed = [("train", modality) for modality in self.transform.shape.modalities]
        if self.config.stage == "intensity":
            needed += [("train", "labels"), ("valid", "labels")]
        for split, what in needed:
            if self.dataset.lacks(split, what):
                hint = WITHOUT.get(what, "")
                raise UserError(f"dataset {self.dataset.directory}: no clip of {split} has {what}{hint}")

    def best(self) -> dict:
        """All parameters of the best checkpoint, on the devices."""
        _, progress = self._begin(lambda _: 0.0)
        checkpoints = self._checkpoints()
        state = checkpoints.restore_best(progress)
        checkpoints.close()
        return state.evaluated

    def export(self, params: dict) -> Path:
        """Keeps the towers of `params` as the result of the run."""
        folder = self.workdir.path / TRAINED
        if is_first():
            self.encoders.save(folder, jax.device_get(params["towers"]))
        return folder

    def evaluator(self, split: str, function: Forward | None = None) -> Evaluator:
        """An evaluator of the stage, or of another function of (params, batch), on a split of the dataset."""
        examples, transform = self.inputs(split, augment=False)
        return Evaluator(self.stage, self.mapping, examples, transform, self.config.train.batch_size, split, function)

    def clip_ids(self, split: str, indices: Iterable[int]) -> list[str]:
        """The names of clips by their rows in a split, padding left out."""
        examples = self.dataset.split(split)
        return [clip_id(examples[int(index)]) for index in indices if index >= 0]

    def extract(self, split: str, hurt_on_purpose: Facts[str, Transform] | None = None) -> FeatureCache:
        """Keeps the frozen encoders' features of a split where they are missing.

        Args:
            split: its name.
            hurt_on_purpose: names and transforms of the renditions; by default the clean one, and for training those
                that are hurt at random.

        Raises:
            UserError: the stage has no features to keep, or trains the encoders that would give them.
        """
        stage, folder = self.stage, self.config.get("features", {}).get("dir")
        if not isinstance(stage, Intensity) or not folder:
            raise UserError("features are kept in stage 2, in a folder named with --config.features.dir=FOLDER")
        if stage.trained_towers:
            raise UserError(
                f"the {' and '.join(stage.trained_towers)} encoder is trained, so that its features cannot be kept: "
                "freeze it with --config.train.frozen, or switch the cache off with --config.features.dir="
            )
        towers = stage.init(jax.random.PRNGKey(self.config.train.seed), self.encoders.params)["towers"]
        facts = (
            parameters.fingerprint(towers),
            self.encoders.preprocessing,
            self.dataset.fingerprint,
            repr((self.transform.shape, self.transform.smallest_crop)),
            corruption.settings(),
        )
        cache = FeatureCache(folder, hashlib.sha256(" ".join(facts).encode()).hexdigest())
        transforms = hurt_on_purpose or {
            name: self.transform if name == CLEAN else dataclasses.replace(self.transform, augment=True, corrupt=1.0)
            for name in self._renditions(split)
        }
        missing = {seed: name for seed, name in enumerate(transforms) if not cache.has(split, name)}
        if missing:
            on_devices, encoder = self.mapping.replicate(towers), self._encoder(split)
            for seed, name in missing.items():
                log.info("features of %s, %s: written to %s", split, name, cache.folder)
                encoded = encoder.over(self.dataset.split(split), transforms[name])
                clips = rows(encoded.outputs(on_devices, is_first(), seed))
                if is_first():
                    cache.write(split, name, clips)
                else:  # it takes its part in encoding
                    collections.deque(clips, maxlen=0)
            multihost_utils.sync_global_devices(f"features of {split} are written")
        return cache

    def _encoder(self, split: str) -> Evaluator:
        """Gives features in place of predictions."""

        def features(towers: dict, batch: Batch) -> dict[str, jax.Array]:
            steps = cast(Intensity, self.stage).encode(towers, batch)
            return {k: v.astype(jnp.float16) if k.endswith("/features") else v for k, v in steps.items()}

        batch_size, examples = self.config.train.batch_size, self.dataset.split(split)
        return Evaluator(self.stage, self.mapping, examples, self.transform, batch_size, split, features)

    def _renditions(self, split: str) -> list[str]:
        return [CLEAN, *map(hurt, range(self.config.features.renditions if split == "train" else 0))]

    def inputs(self, split: str, augment: bool) -> tuple[RandomAccess, Transform]:
        """What is read of a split, and how: clips, or cached features where the config names a folder for them."""
        corrupt = self.config.train.corrupt if augment else 0.0
        if not self.config.get("features", {}).get("dir"):
            log.info("%s: clips, encoded in every step", split)
            return self.dataset.split(split), dataclasses.replace(self.transform, augment=augment, corrupt=corrupt)
        cached = self.extract(split).read(split, self._renditions(split))
        log.info("%s: features from %s", split, self.config.features.dir)
        return cached, CachedTransform(self.transform.shape.modalities, cached[0].rendition(0), corrupt)

    def _begin(self, rate: Callable[[Any], Any]) -> tuple[Callable, Progress]:
        """The mapped step, and what a run starts from."""
        config = self.config.train
        params = self.stage.init(jax.random.PRNGKey(config.seed), self.encoders.params)
        trained, frozen = parameters.split(params, config.frozen, "config.train.frozen")
        log.info("parameters: %s trained, %s frozen", *(f"{parameters.count(tree):,}" for tree in (trained, frozen)))
        optimizer = adamw(
            trained,
            rate,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
            rate_factors=config.rate_factors,
        )
        state = create_state(trained, frozen, optimizer, config.ema)
        state, rng = self.mapping.replicate((state, jax.random.PRNGKey(config.seed)))
        step = make_step(self.stage, optimizer, config.ema, config.accumulation)
        mapped = self.mapping.map(step, (REPLICATED, SHARDED, REPLICATED), donate=(0,))
        return mapped, Progress(state, rng, batches=0)

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.workdir.path / "checkpoints", self.config.train.keep)


def _check_shares(batch_size: int, devices: int, chunks: int) -> None:
    if batch_size % devices:
        raise UserError(
            f"config.train.batch_size={batch_size} cannot be shared by {devices} devices; take a multiple of {devices}"
        )
    share = batch_size // devices
    if chunks < 1 or share % chunks:
        divisors = ", ".join(str(number) for number in range(1, share + 1) if share % number == 0)
        raise UserError(
            f"config.train.accumulation={chunks} does not divide the {share} clips of a device "
            f"(batch_size={batch_size} on {devices} devices); take one of {divisors}"
        )


def _modalities(config: ConfigDict) -> tuple[str, ...]:
    chosen = (*config.model.pairs, TEXT) if config.stage == "alignment" else config.model.modalities
    known = (VISION, AUDIO, TEXT)
    if not chosen or set(chosen) - set(known):
        raise UserError(f"config.model: modalities {tuple(chosen)} should be some of {known}")
    return tuple(modality for modality in known if modality in chosen)


def _smallest_crop(config: ConfigDict) -> float:
    share = config.data.smallest_crop
    if not 0 < share <= 1:
        raise UserError(f"config.data.smallest_crop={share} is no part of a picture's side; take one in (0, 1]")
    return share


def _tokens(wanted: int, limit: int) -> int:
    if 0 < limit < wanted:
        log.info("tokens: %d of the %d that were asked for, more the text encoder does not take", limit, wanted)
        return limit
    return wanted


def _example(transform: ClipTransform) -> dict[str, np.ndarray]:
    return {name: np.asarray(array)[None] for name, array in transform.padding.items()}


def _alignment(config: ConfigDict, encoders: Encoders, example: dict, dataset: Dataset) -> Alignment:
    model = ContrastiveModel(
        encoders.towers, tuple(config.model.pairs), config.model.width, jnp.dtype(config.model.dtype)
    )
    return Alignment(model, example, config.loss.to_dict())


def _intensity(config: ConfigDict, encoders: Encoders, example: dict, dataset: Dataset) -> Intensity:
    fields = config.model.head.to_dict()
    given = {"modalities": _modalities(config), "dtype": jnp.dtype(config.model.dtype), **fields}
    try:
        head = build_head(given.pop("name"), num_labels=len(dataset.label_names), **given)
    except ValueError as error:
        raise UserError(f"config.model.head: {error}") from error
    return Intensity(
        encoders.towers,
        head,
        example,
        dataset.label_names,
        weights=Weights(**config.loss),
        trained_towers=[name for name in _modalities(config) if not _is_frozen(name, config.train.frozen)],
        modality_dropout=config.model.modality_dropout,
    )


def _is_frozen(modality: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, f"towers/{modality}/encoder/") for pattern in patterns)


STAGES: dict[str, Callable[[ConfigDict, Encoders, dict, Dataset], Stage]] = {
    "alignment": _alignment,
    "intensity": _intensity,
}
