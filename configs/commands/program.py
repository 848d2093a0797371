"""What each mode runs, and how the command line is read."""

import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from configs import command_line, effects
from configs.commands import options, study
from configs.commands.clips import model_folder, predict_clips
from configs.commands.launch import own_command, starts_others
from configs.commands.options import (
    COMPARE,
    CONFIG,
    DISTRIBUTED,
    FOR_FILES,
    FOR_NEW_CLIPS,
    INPUT,
    MODE,
    MODEL,
    OUTPUT,
    PORT,
    PUSH,
    SPLIT,
    WORKDIR,
    overrides,
    refuse,
)
from configs.commands.page import serve_page
from configs.paths import expand_paths, local_path
from configs.sections import DATA
from data_prep.build.prepare import prepare
from data_prep.clips.stored import options_to_name
from emi_jax.errors import NoEncodersError, UserError
from emi_jax.exports.folder import export_model
from emi_jax.exports.hub import push
from emi_jax.files import read_json
from emi_jax.inputs.dataset import Dataset, open_dataset
from emi_jax.report.exits import STOPPED, fail, is_explained, report
from emi_jax.report.terminal import printable
from emi_jax.runs import evaluation, results
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract
from emi_jax.runs.training import train
from emi_jax.train.failures import ending_together
from emi_jax.train.processes import is_first, join
from emi_jax.train.signals import StoppedError, StopSignal
from emi_jax.train.startup import start

HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort"}
SCORED = {
    "crossval": "held-out clips are scored; see config.crossval.splits",
    "sweep": "the clips of valid choose, and those of test are scored",
}
"""What the studies score that are not about one split."""

log = logging.getLogger("emi_jax")


def execute(intro: str) -> None:
    """Reads the command line of this process and runs it; `intro` begins what --help prints."""
    app.run(main, flags_parser=functools.partial(parse, intro=intro))


def main(arguments: Sequence[str]) -> None:
    """Runs one command; an error that a user can fix is reported in one line."""
    try:
        if len(arguments) > 1:
            raise UserError(f"unexpected argument {arguments[1]!r}: options are written --NAME=VALUE")
        if CONFIG.value is None and not ((WORKDIR.value or MODEL.value) and (INPUT.value or MODE.value == "serve")):
            raise UserError("no config given: choose one, as in --config=configs/stage1.py; --help lists all")
        if not isinstance(CONFIG.value, ConfigDict | None):  # a missing file fails when the config is used
            raise UserError(command_line.unreadable(config_flags.get_config_filename(flags.FLAGS["config"])))
        if CONFIG.value and starts_others(CONFIG.value):
            jax.config.update("jax_platforms", "cpu")
        join(DISTRIBUTED.value)
        with ending_together(report):
            start()
            run(CONFIG.value)
    except (UserError, OSError) as error:
        if not is_explained(error):
            raise
        sys.exit(fail(error))
    except StoppedError as stopped:
        log.info("%s; the same command resumes from there", stopped)
        sys.exit(STOPPED)


def run(config: ConfigDict | None) -> None:
    """Trains and then evaluates, or only evaluates or predicts, as --mode says.

    Args:
        config: the config; None to predict or serve with the run in --workdir or --model, which has its own.
    """
    if config is not None:
        expand_paths(config, WORKDIR.value)
        effects.refuse_without_effect(config, overrides())
    if MODE.value != "evaluate":
        refuse("is for --mode=evaluate", COMPARE)
    if MODE.value != "export":
        refuse("is for --mode=export", PUSH)
    if MODE.value == "serve":
        serve_page(model_folder(config))
        return
    refuse("is for --mode=serve", PORT)
    if config is None or INPUT.value:
        predict_clips(model_folder(config), Path(local_path(str(INPUT.value), "--input")))
        return
    refuse("is for new clips: name them with --mode=predict --input=CLIPS", *FOR_FILES, *FOR_NEW_CLIPS)
    if MODE.value == "export":
        export(config)
        return
    if OUTPUT.value and MODE.value not in ("evaluate", "predict"):
        raise UserError(f"--output={OUTPUT.value} does nothing with --mode={MODE.value}: name the --workdir instead")
    dataset = open_data(config)
    try:
        with StopSignal():
            run_on(config, dataset, chosen_split(config, dataset))
    except NoEncodersError as error:
        raise UserError(f"{error}, with: {command_line.stage_1_command(config)}") from error


def export(config: ConfigDict) -> None:
    """Writes the run in the workdir as a model that needs none of this code; uploads it if --push names a repository.

    Raises:
        UserError: an option has no effect, or the run cannot be exported.
    """
    if SPLIT.value:
        raise UserError(f"--split={SPLIT.value} does nothing with --mode=export")
    if jax.process_count() > 1:
        raise UserError("a model is exported by one process; start it without --distributed")
    effects.refuse_for_trained(overrides(), "with --mode=export")
    output = Path(local_path(OUTPUT.value or f"{config.workdir}/exported", "--output"))
    log.info("written: %s", export_model(Path(config.workdir), output))
    if PUSH.value:
        log.info("uploaded, for: --mode=predict --model=%s", push(output, PUSH.value))


def run_on(config: ConfigDict, dataset: Dataset, split: str) -> None:
    """Runs a stage or a study on a dataset; `split` is scored or predicted."""
    if "study" in config:
        if MODE.value != "train":
            raise UserError(f"--mode={MODE.value} is for stage 1 or 2; a study is run with --mode=train")
        if jax.process_count() > 1:
            raise UserError("a study runs in one process; start it without --distributed")
        match study.run(config, dataset, split, own_command(), overrides()):
            case results.Summary() as summary:
                log_summary(summary)
            case list() as written:
                log_files(written)
        return
    output = OUTPUT.value and local_path(OUTPUT.value, "--output")
    experiment = Experiment.open(config, dataset, config.workdir, output=output)
    if MODE.value == "extract":
        for name in [SPLIT.value] if SPLIT.value else dataset.splits:
            extract(experiment, name)
        return
    if MODE.value == "train":
        train(experiment)
        if config.stage == "alignment":
            log.info("encoders for stage 2: %s", evaluation.export(experiment, evaluation.chosen_params(experiment)))
    else:
        experiment.workdir.check_use(config.to_dict())
        experiment.workdir.check_dataset(dataset)
    if not is_first():  # it computes its share of what the first process writes below
        evaluation.evaluator(experiment, split).gather(evaluation.chosen_params(experiment))
        return
    if MODE.value == "predict":
        log.info("written: %s", results.predict(experiment, split))
        return
    needed = options_to_name(dataset.clip_options)
    command = command_line.next_command(config, experiment.workdir.path, experiment.encoders.own, needed)
    other = Path(local_path(COMPARE.value, "--compare")) if COMPARE.value is not None else None
    log_summary(results.evaluate(experiment, split, other), f"\nnext: {command}\n")


def chosen_split(config: ConfigDict, dataset: Dataset) -> str:
    """Chooses the split that is scored or predicted.

    Raises:
        UserError: --split names one that cannot be scored, or predictions of stage 1 are requested.
    """
    if instead := SCORED.get(config.get("study", "")):
        if SPLIT.value:
            raise UserError(f"--split={SPLIT.value} does nothing: {instead}")
        return ""
    given, what = SPLIT.value, "text" if config.stage == "alignment" else "labels"
    if MODE.value == "predict" and config.stage == "alignment":
        raise UserError("--mode=predict is for stage 2: stage 1 predicts no intensities; use --mode=evaluate")
    if MODE.value in ("predict", "extract"):
        return given or "test"
    if given:
        dataset.split(given)  # an unknown name fails now, not after training
        if dataset.lacks(given, what):
            raise UserError(f"no clip of split {given!r} has {what}: it cannot be scored, only --mode=predict")
        return given
    split = dataset.to_score(what)
    if split != "test" and dataset.splits.get(split):
        log.info("test has no clips with %s: scores are those of %s", what, split)
    return split


def log_summary(summary: results.Summary, more: str = "") -> None:
    """Logs the scores, the written files, and the verdict as the last line."""
    log.info("\n%s\n", summary.table)
    log_files(summary.written)
    log.info("%s%s", more, summary.verdict)


def log_files(written: Sequence[Path]) -> None:
    """Logs which files were written."""
    log.info("written:\n%s", "\n".join(f"  {printable(str(path))}" for path in written))


def use_own_data(config: ConfigDict) -> None:
    """Sets the dataset of a config to the one on which the run in its workdir was trained, if there is a run."""
    stored = read_json(path) if (path := Path(config.workdir, "config.json")).is_file() else {}
    if own := stored.get("data", {}):
        config.data.update(dir=own["dir"], corpus=own["corpus"])


def open_data(config: ConfigDict) -> Dataset:
    """The dataset of a config; where a trained run is used and none is named, that of the run.

    If it is missing, only the demo's own synthetic one is created.
    """
    if MODE.value != "train" and config.data.dir in ("", DATA["dir"].value) and "data.dir" not in overrides():
        use_own_data(config)
    how = command_line.preparation_command(config)
    if not config.data.dir:
        raise UserError(f"no dataset: name its folder with --config.data.dir=DIR; make it with: {how}")
    try:
        dataset = open_dataset(config.data.dir, how, config.data.corpus)
    except UserError:
        of_the_demo = (config.data.dir, config.data.corpus) == (DATA["dir"].value, DATA["corpus"].value)
        if not of_the_demo or Path(config.data.dir).exists() or jax.process_count() > 1:
            raise
        log.info("no dataset in %s: making the synthetic corpus with: %s", config.data.dir, how)
        prepare(corpus="synthetic", out=config.data.dir)
        dataset = open_dataset(config.data.dir, how, config.data.corpus)
    sizes = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    log.info("data: %s (%s clips), content %s", dataset.directory, sizes, dataset.fingerprint[:12])
    return dataset


def parse(arguments: Sequence[str], intro: str = "") -> list[str]:
    """Reads the command line. Answers --help; reports an unknown field or a wrong type in one line."""
    arguments = command_line.with_shipped_config(arguments)
    config = command_line.config_name(arguments)
    try:
        if HELP & set(arguments):
            print(command_line.help_text(intro, [flags.FLAGS[option.name] for option in options.ALL], config))
            sys.exit(0)
        return flags.FLAGS(arguments)
    except (AttributeError, KeyError) as error:
        sys.exit(fail(UserError(command_line.unknown_field(config, arguments, error))))
    except (UserError, flags.Error, TypeError, ValueError) as error:
        sys.exit(fail(error))
