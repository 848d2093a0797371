"""Writes a trained run as a folder that needs none of this code, and that `Predictor.load` opens like a run."""

import logging
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jax

from emi_jax.encoders.sources import TRAINED
from emi_jax.errors import UserError
from emi_jax.exports.card import model_card
from emi_jax.exports.facts import preprocessing
from emi_jax.exports.program import PLATFORMS, export_program
from emi_jax.files import write_json
from emi_jax.modalities import MODALITIES, TEXT
from emi_jax.runs import standardisation, weights
from emi_jax.runs.evaluation import chosen_params
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.trained import open_trained

PROGRAM = "predictor.jax_export"
PLACES = ("root", "workdir", "init_from", "data.dir", "features.dir")
"""Fields of the config that name folders of the machine on which the run was trained."""

log = logging.getLogger(__name__)


def export_model(workdir: Path, output: Path) -> Path:
    """Exports a trained run of stage 2.

    Args:
        workdir: folder of the run.
        output: new folder, or that of an earlier export, which is replaced as a whole.

    Returns:
        `output`. It holds README.md, predict.py, preprocessing.json, the program, the parameters, the encoders' configs
        with the tokenizer, config.json and dataset.json.

    Raises:
        UserError: there is no trained run that predicts clips one by one, or `output` holds something else or cannot be
            written.
    """
    if weights.is_exported(workdir):
        raise UserError(f"{workdir} is an exported model already: name the --workdir of a run")
    if output.exists() and not (output.is_dir() and (weights.is_exported(output) or not any(output.iterdir()))):
        raise UserError(f"--output={output} exists and is no exported model: name a new folder")
    experiment = open_trained(workdir, jax.devices()[:1], implementation="xla")  # which all platforms have
    params = chosen_params(experiment)
    fingerprint = Predictor(experiment, params).fingerprint
    part = output.with_name(f".{output.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / TRAINED).mkdir(parents=True)
        experiment.encoders.save_configs(part / TRAINED)
        weights.save(part, params)
        if (moments := workdir / standardisation.FILE).exists():
            shutil.copyfile(moments, part / standardisation.FILE)
        write_json(part / "config.json", without_places(experiment.config.to_dict()))
        write_json(part / "dataset.json", experiment.dataset.description())
        write_json(part / "preprocessing.json", preprocessing(experiment, _tokenizer_files(part)))
        log.info("exporting the program for %s", ", ".join(PLATFORMS))
        (part / PROGRAM).write_bytes(export_program(experiment, params).serialize())
        (part / "predict.py").write_text(resources.files("emi_jax.exports").joinpath("predict.py").read_text("utf-8"))
        card = model_card(workdir, experiment.config.to_dict(), experiment.dataset, ", ".join(PLATFORMS), fingerprint)
        (part / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        part.replace(output)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}; choose another --output") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return output


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config in which folders of the machine that trained it are replaced by their last names."""
    content: dict[str, Any] = dict(config)
    for field in PLACES:
        *sections, name = field.split(".")
        section = content
        for each in sections:
            section[each] = dict(section[each])
            section = section[each]
        section[name] = Path(section[name]).name
    encoders = {name: dict(content["model"][name]) for name in MODALITIES}
    for encoder in encoders.values():
        if Path(encoder["pretrained"]).expanduser().is_absolute():
            encoder["pretrained"] = Path(encoder["pretrained"]).name
    return {**content, "model": {**content["model"], **encoders}}


def _tokenizer_files(folder: Path) -> list[str]:
    """The files of the text encoder's folder but for its config, as paths in the exported folder."""
    found = sorted((folder / TRAINED / TEXT).glob("*.*"))
    return [str(path.relative_to(folder)) for path in found if path.name != "config.json"]
