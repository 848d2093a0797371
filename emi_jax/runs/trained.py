"""Opens a trained run of stage 2, or an exported model, from its folder alone."""

from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.runs.experiment import Experiment


def open_trained(
    folder: str | Path, devices: Sequence[jax.Device] | None = None, implementation: str = "auto"
) -> Experiment:
    """Opens a run from its folder alone, which may be read-only; its dataset need not exist.

    Args:
        folder: of a trained run of stage 2, or of an exported model.
        devices: all devices by default.
        implementation: of attention, in place of the run's own, which may not be available here.

    Raises:
        UserError: the folder holds no run, a run of stage 1, or damaged files.
    """
    folder = Path(folder).expanduser()
    try:
        config, facts = (read_json(folder / name) for name in ("config.json", "dataset.json"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"no trained run in {folder}: {error.filename} is not there; train it first") from error
    if config.get("stage") == "alignment":
        raise UserError(f"{folder} is a run of stage 1: intensities are predicted by stage 2")
    try:
        config["model"].update(attention=implementation, lstm="xla")
        return Experiment.open(ConfigDict(config), Dataset.described(**facts), folder, devices)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: config.json or dataset.json does not hold what is expected ({error}): copy both again, or "
            "use the version of emi-jax that trained the run"
        ) from error
