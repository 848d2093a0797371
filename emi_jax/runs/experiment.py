"""An opened run: config, dataset and folder. Its uses are in `training`, `evaluation` and `features`."""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from emi_jax.encoders.sources import Encoders, open_encoders
from emi_jax.inputs.dataset import Dataset, clip_id, transcripts
from emi_jax.inputs.regrouped import join_for_training
from emi_jax.inputs.transforms import ClipTransform
from emi_jax.kernels.product import multiplies_bfloat16
from emi_jax.runs import weights
from emi_jax.runs.checks import check_fields
from emi_jax.runs.freezing import Freezing
from emi_jax.runs.from_config import build_stage, build_transform, used_modalities
from emi_jax.runs.workdir import Workdir
from emi_jax.train import parameters
from emi_jax.train.mapping import Mapping
from emi_jax.train.processes import is_first
from emi_jax.train.seeds import INIT, key
from emi_jax.train.step import Stage

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run of one stage.

    Attributes:
        config: the config of the run.
        dataset: the dataset, whose training split holds the clips of `config.data.train_on`.
        workdir: the folder of the run.
        mapping: maps functions over the devices.
        encoders: the encoders of the run.
        transform: from an example to arrays, without augmentation.
        stage: the stage that is trained.
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
        output: str | Path | None = None,
    ) -> "Experiment":
        """Builds the run that a config describes.

        Args:
            config: as in `configs/`.
            dataset: the dataset.
            workdir: folder of the run, which may already hold its progress.
            devices: all devices by default.
            output: folder for the results of a trained run; `workdir` by default.

        Raises:
            UserError: the config does not fit the dataset, the devices, or the run that is in the folder.
        """
        check_fields(config)
        dataset = join_for_training(dataset, config.data.train_on)
        mapping = Mapping(config.train.mapping, devices)
        folder = Workdir(workdir, is_first(), output, config.train.loggers)
        log.info(
            "devices: %d x %s, mapped by %s", mapping.num_devices, jax.devices()[0].device_kind, config.train.mapping
        )
        log.info("precision: parameters float32, compute %s, %s", config.model.dtype, _matmul_precision())
        if config.model.dtype == "bfloat16" and jax.default_backend() == "cpu" and not multiplies_bfloat16():
            log.info("this processor does not multiply bfloat16: model.dtype=float32 takes no longer")
        modalities = used_modalities(config)
        encoders = _open_encoders(config, dataset, folder.path, mapping)
        transform = build_transform(config, encoders, modalities, len(dataset.label_names))
        stage = build_stage(config, encoders, transform, dataset.label_names, mapping.devices)
        return cls(config, dataset, folder, mapping, encoders, transform, stage)

    def reopen_encoders(self) -> Encoders:
        """The encoders with which a new run of the same config would start."""
        return _open_encoders(self.config, self.dataset, self.workdir.path / "not started", self.mapping)

    def initial_params(self) -> tuple[dict, dict]:
        """The (trained, frozen) parameters before the first step.

        Raises:
            UserError: a pattern of `config.train.frozen` matches no parameter, or all are frozen.
        """
        return self.split(self.stage.init(key(self.config.train.seed, INIT), self.encoders.params))

    def split(self, params: dict) -> tuple[dict, dict]:
        """Splits all parameters into (trained, frozen)."""
        freezing = Freezing.of(self.config, params.get("towers", {}))
        return parameters.split(params, freezing.frozen, "config.train.frozen", freezing.trained)

    def clip_ids(self, split: str, indices: Iterable[int]) -> list[str]:
        """The ids of clips by their rows in a split, without padding."""
        examples = self.dataset.index(split)
        return [clip_id(examples[int(index)]) for index in indices if index >= 0]


def _open_encoders(config: ConfigDict, dataset: Dataset, workdir: Path, mapping: Mapping) -> Encoders:
    return open_encoders(
        config.model,
        used_modalities(config),
        workdir=workdir,
        init_from=config.init_from,
        image_size=config.data.image_size,
        devices=mapping.devices,
        transcripts=lambda: transcripts(dataset.index("train")),
        own={name: int(facts["width"]) for name, facts in dataset.features.items()},
        with_weights=not weights.is_exported(workdir),
    )


def _matmul_precision() -> str:
    """The precision of float32 products in practice: on accelerators JAX's default is lower than float32."""
    chosen: str | None = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    backend = jax.default_backend()
    usual = {"cpu": "float32", "gpu": "TF32 where the GPU has it", "tpu": "bfloat16 passes"}
    meaning = f" ({usual[backend]})" if chosen in (None, "default") and backend in usual else ""
    return f"float32 products with matmul precision {chosen or 'default'}{meaning} on {backend}"
