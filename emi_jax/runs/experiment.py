"""A run: config, dataset and folder made into a stage that is trained, evaluated or used for prediction."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Facts
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from emi_jax.encoders.sources import INITIAL, TRAINED, Encoders, open_encoders
from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.inputs.dataset import Dataset, clip_id, transcripts
from emi_jax.inputs.features import CLEAN, CachedTransform, FeatureCache, corrupted, rows
from emi_jax.inputs.loader import RandomAccess, batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import ClipTransform, Transform
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.runs.from_config import build_stage, build_transform, check_clips, check_shares, interval, used_modalities
from emi_jax.runs.workdir import Workdir
from emi_jax.stages.intensity import Intensity
from emi_jax.train import parameters
from emi_jax.train.checkpoints import Checkpoints, Progress, restore_best
from emi_jax.train.clock import Clock
from emi_jax.train.evaluation import Evaluator, Forward
from emi_jax.train.hooks import Evaluate, Hook, Log, Save, StopSignal
from emi_jax.train.loop import fit
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import adamw, schedule
from emi_jax.train.processes import decide_in_first, is_first
from emi_jax.train.profile import Profile
from emi_jax.train.step import Batch, Stage, create_state, make_step

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
        log.info(
            "devices: %d x %s, mapped by %s", mapping.num_devices, jax.devices()[0].device_kind, config.train.mapping
        )
        log.info("precision: trained parameters float32, products %s", config.model.dtype)
        modalities = used_modalities(config)
        encoders = open_encoders(
            config.model,
            modalities,
            workdir=folder.path,
            init_from=config.init_from,
            how_to_make=_stage_1(config),
            image_size=config.data.image_size,
            devices=mapping.devices,
            transcripts=lambda: transcripts(dataset.texts("train")),
        )
        transform = build_transform(config, encoders, modalities, len(dataset.label_names))
        stage = build_stage(config, encoders, transform, dataset.label_names)
        return cls(config, dataset, folder, mapping, encoders, transform, stage)

    def train(self) -> None:
        """Trains from the last checkpoint, or from the start, to the end."""
        self.check_training()
        with self.workdir.training():
            self._train()

    def _train(self) -> None:
        config = self.config.train
        plan = Epochs(len(self.dataset.split("train")), config.batch_size, config.seed)
        steps = config.epochs * plan.steps
        log_every = interval(config, "log_every", 1)
        evaluate_every, save_every = (interval(config, name, plan.steps) for name in ("evaluate_every", "save_every"))
        rate = schedule(config.learning_rate, config.final_rate, round(config.warmup_epochs * plan.steps), steps)
        # A config that cannot be trained does not take the folder.
        self.workdir.write_config(self.config.to_dict())
        self.workdir.write_dataset(self.dataset)
        examples, transform = self.inputs("train", augment=True)
        step, progress = self._begin(rate)
        counts = [parameters.count(tree) for tree in (progress.state.params, progress.state.frozen)]
        log.info("parameters: %s trained, %s frozen", *(f"{count:,}" for count in counts))
        if is_first() and not (initial := self.workdir.path / INITIAL).exists():
            drawn = progress.state.evaluated["towers"]
            # As loaded, not as held: kernels of frozen towers are rounded.
            self.encoders.save(initial, jax.device_get(drawn | self.encoders.params))
        checkpoints = self._checkpoints()
        state, rng, first_step = checkpoints.restore_last(progress) or progress
        del progress  # or a run that goes on would hold its first state to the end
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
            every=log_every,
            steps=steps,
            first_step=first_step,
            batch_size=config.batch_size,
            clips=lambda number: self.clip_ids("train", plan.batch(number)),
            schedule=lambda number: float(rates[number]),
            clock=clock,
            record=self.workdir.record,
            shows=is_first(),
        )
        valid, goal = self.evaluator("valid"), self.stage.goal
        evaluate = Evaluate(evaluate_every, steps, valid, goal, hook_log, checkpoints, self.workdir.record)
        profile = Profile(config.profile, first_step + 1, steps, self.workdir.path / "trace")
        try:
            with StopSignal() as stop:
                save = Save(save_every, steps, hook_log, checkpoints, rng, stop)
                hooks: list[Hook] = [profile, hook_log, evaluate, save]
                state = fit(step, state, source, rng, hooks, clock, first_step=first_step, steps=steps)
        finally:
            checkpoints.close()
        log.info("parameters sha256:%s", parameters.fingerprint(jax.device_get(state.params)))

    def check_training(self) -> None:
        """Holds batch and dataset against what training needs.

        Raises:
            UserError: the devices cannot share a batch evenly, or no clip has what the stage is trained on.
        """
        train = self.config.train
        check_shares(train.batch_size, self.mapping.num_devices, train.accumulation)
        check_clips(self.dataset, self.config.stage, self.transform.shape.modalities)

    def best(self) -> dict:
        """All parameters of the best checkpoint, on the devices."""
        config = self.config.train
        params = self.stage.init(jax.random.PRNGKey(config.seed), self.encoders.params)
        trained, frozen = self.mapping.replicate(parameters.split(params, config.frozen, "config.train.frozen"))
        return parameters.merge(restore_best(self.workdir.path / "checkpoints", trained), frozen)

    def export(self, params: dict) -> Path:
        """Keeps the towers of `params` as the result of the run."""
        folder = self.workdir.path / TRAINED
        if is_first():
            self.encoders.save(folder, jax.device_get(params["towers"]))
        return folder

    def evaluator(self, split: str, function: Forward | None = None) -> Evaluator:
        """An evaluator of the stage, or of another function of (params, batch), on a split of the dataset."""
        examples, transform = self.inputs(split, augment=False)
        return self._evaluator(split, examples, transform, function)

    def _evaluator(
        self, split: str, examples: RandomAccess, transform: Transform, function: Forward | None
    ) -> Evaluator:
        batch_size = self.config.train.batch_size
        check_shares(batch_size, self.mapping.num_devices, 1)
        return Evaluator(self.stage, self.mapping, examples, transform, batch_size, split, function)

    def clip_ids(self, split: str, indices: Iterable[int]) -> list[str]:
        """The names of clips by their rows in a split, padding left out."""
        examples = self.dataset.texts(split)
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
        cache = FeatureCache(folder, {name: self._feature_fingerprint(name, towers[name]) for name in towers})
        transforms = hurt_on_purpose or {
            name: self.transform if name == CLEAN else dataclasses.replace(self.transform, corrupt=1.0)
            for name in self._renditions(split)
        }

        def missing() -> dict[int, str]:
            found = [decide_in_first(functools.partial(cache.has, split, name)) for name in transforms]
            return {seed: name for seed, name in enumerate(transforms) if not found[seed]}

        if missing():
            on_devices, encoder = self.mapping.replicate(towers), self._encoder(split)
            with cache.sole_writer() if is_first() else contextlib.nullcontext():
                for seed, name in missing().items():  # what another run has written meanwhile is there
                    log.info("features of %s, %s: written to %s", split, name, cache.folder)
                    encoded = encoder.over(self.dataset.split(split), transforms[name])
                    clips = rows(encoded.outputs(on_devices, is_first(), seed))
                    if is_first():
                        cache.write(split, name, clips)
                    else:  # it takes its part in encoding
                        collections.deque(clips, maxlen=0)
            multihost_utils.sync_global_devices(f"features of {split} are written")
        return cache

    def _feature_fingerprint(self, modality: str, tower: dict) -> str:
        """A hash of all that decides a modality's features."""
        shape = self.transform.shape
        sizes = {VISION: (shape.num_frames, shape.image_size), AUDIO: shape.num_samples, TEXT: shape.num_tokens}
        facts = (
            parameters.fingerprint(tower),
            self.encoders.preprocessing[modality],
            self.dataset.fingerprint,
            repr(sizes[modality]),
            corruption.settings(),
        )
        return hashlib.sha256(" ".join(facts).encode()).hexdigest()

    def _encoder(self, split: str) -> Evaluator:
        """Gives features in place of predictions."""

        def features(towers: dict, batch: Batch) -> dict[str, jax.Array]:
            steps = cast(Intensity, self.stage).encode(towers, batch)
            return {k: v.astype(jnp.float16) if k.endswith("/features") else v for k, v in steps.items()}

        return self._evaluator(split, self.dataset.split(split), self.transform, features)

    def _renditions(self, split: str) -> list[str]:
        return [CLEAN, *map(corrupted, range(self.config.features.renditions if split == "train" else 0))]

    def inputs(self, split: str, augment: bool) -> tuple[RandomAccess, Transform]:
        """What is read of a split, and how: clips, or cached features where the config names a folder for them."""
        corrupt = self.config.train.corrupt if augment else 0.0
        if not self.config.get("features", {}).get("dir"):
            log.info("%s: clips, encoded in every step", split)
            return self.dataset.split(split), dataclasses.replace(self.transform, augment=augment, corrupt=corrupt)
        if corrupt and not self.config.features.renditions:
            raise UserError(
                f"config.train.corrupt={corrupt} takes hurt steps from the feature cache, and there are none with "
                "config.features.renditions=0; take 1 or more, or config.train.corrupt=0"
            )
        cached = self.extract(split).read(split, self._renditions(split))
        log.info("%s: features from %s", split, self.config.features.dir)
        return cached, CachedTransform(self.transform.shape.modalities, cached[0].rendition(0), corrupt)

    def _begin(self, rate: Callable[[Any], Any]) -> tuple[Callable, Progress]:
        """The mapped step, and what a run starts from."""
        config = self.config.train
        params = self.stage.init(jax.random.PRNGKey(config.seed), self.encoders.params)
        trained, frozen = parameters.split(params, config.frozen, "config.train.frozen")
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


def _stage_1(config: ConfigDict) -> str:
    """The command that makes what a run of stage 2 starts from."""
    scale, data = config.preset.split(",")[0], config.data
    return (
        f"python run.py --config=configs/stage1.py:{scale} --workdir={config.init_from} "
        f"--config.data.dir={data.dir} --config.data.corpus={data.corpus}"
    )
