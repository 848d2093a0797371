"""Trains, evaluates and uses the two stages.

python run.py --config=configs/stage1.py
python run.py --config=configs/stage2.py
python run.py --config=configs/stage2.py --mode=evaluate --split=valid
python run.py --config=configs/stage2.py --config.train.batch_size=64 --workdir=runs/mine
python run.py --config=configs/stage2.py --mode=predict --input=clip.mp4 --pages
python run.py --config=configs/crossval.py
python run.py --config=configs/ablation.py
python run.py --config=configs/robustness.py
"""

from emi_jax.memory import restart_with_tuned_malloc

if __name__ == "__main__":
    restart_with_tuned_malloc()

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from configs import command_line
from configs.paths import expand_paths, local_path
from configs.sections import DATA
from data_prep import workers
from data_prep.build.prepare import prepare
from data_prep.clips.clip import ClipSource, duration
from data_prep.clips.stored import stored_options
from data_prep.corpora.new_clips import add_features, find_clips, fingerprint, read_clips
from data_prep.errors import ClipError
from data_prep.options.features import parse_features
from emi_jax.errors import NoEncodersError, UserError
from emi_jax.inputs.dataset import Dataset, open_dataset
from emi_jax.progress import progress_bar
from emi_jax.report.exits import STOPPED, fail, is_explained, report
from emi_jax.report.terminal import printable
from emi_jax.runs import evaluation, results
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract
from emi_jax.runs.predicted import PredictionFolder, stopped_by_signals
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.training import train
from emi_jax.studies import ablation, crossval, robustness
from emi_jax.train.failures import ending_together
from emi_jax.train.processes import is_first, join
from emi_jax.train.signals import StoppedError, StopSignal
from emi_jax.train.startup import start

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "config file of the run, with presets after a colon: configs/stage2.py:vidmimic2,finetune"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: config.workdir, ROOT/NAME)")
MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "predict", "extract"],
    "train, then evaluate; evaluate the best checkpoint; predict a split or new clips; extract features to the cache",
)
SPLIT = flags.DEFINE_string(
    "split", None, "split to score or predict (default: test, and valid for scores where test has no labels)"
)
INPUT = flags.DEFINE_string(
    "input", None, "with --mode=predict: a clip, a folder of clips or a CSV of names, instead of a split"
)
OUTPUT = flags.DEFINE_string(
    "output", None, "to evaluate or predict: folder for the results (default: WORKDIR; with --input WORKDIR/predicted)"
)
PAGES = flags.DEFINE_bool("pages", False, "with --input: also write an HTML page for each clip")
RECURSIVE = flags.DEFINE_bool("recursive", False, "with --input=FOLDER: also search its subfolders")
TIME_LIMIT = flags.DEFINE_float("time-limit", workers.TIME_LIMIT, "with --input: seconds per clip; 0 for no limit")
DETECTOR = flags.DEFINE_string("detector", None, "with --input: the run's own MODULE:FUNCTION, to allow its import")
DETECTOR_MODEL = flags.DEFINE_string(
    "detector-model", None, "with --input: the run's own model file of its face detector, where it is not the hub's"
)
ASR = flags.DEFINE_string("asr", None, "with --input: the run's own MODULE:FUNCTION, to allow its import")
FEATURES = flags.DEFINE_multi_string(
    "features", [], "with --input: MODALITY=PATH, own features of the clips, if the run was trained on such; repeatable"
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "join a run of several processes where the environment does not say that there are several"
)
FOR_NEW_CLIPS = (PAGES, RECURSIVE, TIME_LIMIT, DETECTOR, DETECTOR_MODEL, ASR, FEATURES)
OPTIONS = (CONFIG, WORKDIR, MODE, SPLIT, INPUT, OUTPUT, *FOR_NEW_CLIPS, DISTRIBUTED)
HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort"}
STUDIES = {"ablation": ablation.run, "robustness": robustness.run}

log = logging.getLogger("emi_jax")


def main(arguments: Sequence[str]) -> None:
    """Runs one command; an error that a user can fix is reported in one line."""
    try:
        if len(arguments) > 1:
            raise UserError(f"unexpected argument {arguments[1]!r}: options are written --NAME=VALUE")
        if CONFIG.value is None:
            raise UserError("no config given: choose one, as in --config=configs/stage1.py; --help lists all")
        if not isinstance(CONFIG.value, ConfigDict):  # a missing file fails when the config is used
            path = config_flags.get_config_filename(flags.FLAGS["config"])
            raise UserError(f"config {path} cannot be read; they are in configs/")
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


def run(config: ConfigDict) -> None:
    """Trains and then evaluates, or only evaluates or predicts, as --mode says."""
    expand_paths(config, WORKDIR.value)
    command_line.refuse_without_effect(config, overrides())
    if INPUT.value:
        predict_clips(config, Path(local_path(INPUT.value, "--input")))
        return
    for option in FOR_NEW_CLIPS:
        if flags.FLAGS[option.name].value != flags.FLAGS[option.name].default:
            raise UserError(f"--{option.name} is for new clips: name them with --mode=predict --input=CLIPS")
    if OUTPUT.value and MODE.value not in ("evaluate", "predict"):
        raise UserError(f"--output={OUTPUT.value} does nothing with --mode={MODE.value}: name the --workdir instead")
    dataset = open_data(config)
    try:
        with StopSignal():
            run_on(config, dataset, chosen_split(config, dataset))
    except NoEncodersError as error:
        raise UserError(f"{error}, with: {command_line.stage_1_command(config)}") from error


def run_on(config: ConfigDict, dataset: Dataset, split: str) -> None:
    """Runs a stage or a study on a dataset; `split` is scored or predicted."""
    if study := config.get("study"):
        if MODE.value != "train":
            raise UserError(f"--mode={MODE.value} is for stage 1 or 2; a study is run with --mode=train")
        if jax.process_count() > 1:
            raise UserError("a study runs in one process; start it without --distributed")
        if study == "crossval":
            log_summary(crossval.run(config, dataset, Path(config.workdir)))
        else:
            log_files(STUDIES[study](config, dataset, Path(config.workdir), split))
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
    command = command_line.next_command(config, experiment.workdir.path, experiment.encoders.own)
    log_summary(results.evaluate(experiment, split), f"\nnext: {command}\n")


def chosen_split(config: ConfigDict, dataset: Dataset) -> str:
    """Chooses the split that is scored or predicted.

    Raises:
        UserError: --split names one that cannot be scored, or predictions of stage 1 are requested.
    """
    if config.get("study") == "crossval":
        if SPLIT.value:
            raise UserError(
                f"--split={SPLIT.value} does nothing: held-out clips are scored; see config.crossval.splits"
            )
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
    if split != "test":
        log.info("test has no clips with %s: scores are those of %s", what, split)
    return split


@stopped_by_signals()
def predict_clips(config: ConfigDict, path: Path) -> None:
    """Writes the predictions of new clips to a folder: a table, and for each clip a JSON file and optionally a page."""
    if MODE.value != "predict":
        raise UserError(f"--input={path} is for --mode=predict")
    if SPLIT.value:
        raise UserError(f"--split={SPLIT.value} and --input={path}: predict either a split or new clips")
    if TIME_LIMIT.value < 0:
        raise UserError(f"--time-limit={TIME_LIMIT.value:g}: expected seconds, or 0 for no limit")
    if jax.process_count() > 1:
        raise UserError("new clips are predicted by one process; start it without --distributed")
    command_line.refuse_for_new_clips(overrides())
    requests, found = parse_features(FEATURES.value), find_clips(path, RECURSIVE.value)
    began, workdir = time.perf_counter(), Path(config.workdir)
    predictor = Predictor.load(workdir)
    named = (DETECTOR.value or "", ASR.value or "", DETECTOR_MODEL.value or "")
    options = stored_options(predictor.clip_options, *named)
    clips, notes = add_features(found, requests, predictor.features)
    for note in notes:
        log.info("note: %s", note)
    output = Path(local_path(OUTPUT.value or str(workdir / "predicted"), "--output"))
    with PredictionFolder.open(output, predictor.label_names, predictor.label_range, PAGES.value) as folder:
        done = folder.resume({clip.id: f"{predictor.fingerprint} {fingerprint(clip, options)}" for clip in clips})
        loaded = time.perf_counter() - began
        log.info("model loaded in %.1f s; %d clips, %d of them predicted before", loaded, len(clips), len(done))
        began, seconds = time.perf_counter(), 0.0
        waiting = [clip for clip in clips if clip.id not in done]
        with progress_bar(total=len(clips), initial=len(done), unit="clip") as bar:

            def leave_out(clip: ClipSource, error: ClipError) -> None:
                folder.leave_out(clip.id, str(error))
                bar.update()

            for prediction in predictor.predict(read_clips(waiting, options, leave_out, TIME_LIMIT.value or None)):
                folder.add(prediction)
                seconds += duration(prediction.example)
                bar.update()
        took = time.perf_counter() - began - predictor.compile_seconds
        log.info("\n%s\n\nwritten: %s", folder.finish(), folder.path)
    if not folder.done:
        raise UserError(f"none of the {len(clips)} clips in {path} can be read")
    if seconds:
        speed = f"{seconds:.1f} s of clips in {took:.1f} s: {seconds / took:.1f} times real time"
        log.info("%s, plus %.1f s of compilation", speed, predictor.compile_seconds)


def log_summary(summary: results.Summary, more: str = "") -> None:
    """Logs the scores, the written files, and the verdict as the last line."""
    log.info("\n%s\n", summary.table)
    log_files(summary.written)
    log.info("%s%s", more, summary.verdict)


def log_files(written: Sequence[Path]) -> None:
    """Logs which files were written."""
    log.info("written:\n%s", "\n".join(f"  {printable(str(path))}" for path in written))


def open_data(config: ConfigDict) -> Dataset:
    """The dataset of a config. If it is missing, only the demo's own synthetic one is created."""
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


def overrides() -> set[str]:
    """Returns the config fields that the command line sets."""
    return set() if CONFIG.value is None else set(config_flags.get_override_values(flags.FLAGS["config"]))


def parse(arguments: Sequence[str]) -> list[str]:
    """Reads the command line. Answers --help; reports an unknown field or a wrong type in one line."""
    config = command_line.config_name(arguments)
    try:
        if HELP & set(arguments):
            print(command_line.help_text(str(__doc__), [flags.FLAGS[option.name] for option in OPTIONS], config))
            sys.exit(0)
        return flags.FLAGS(arguments)
    except (AttributeError, KeyError) as error:
        sys.exit(fail(UserError(command_line.unknown_field(config, arguments, error))))
    except (UserError, flags.Error, TypeError, ValueError) as error:
        sys.exit(fail(error))


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
