"""Trains, evaluates and uses the two stages.

python run.py --config=configs/stage1.py
python run.py --config=configs/stage2.py
python run.py --config=configs/stage2.py --mode=evaluate --split=valid
python run.py --config=configs/stage2.py --config.train.batch_size=64 --workdir=runs/mine
python run.py --config=configs/stage2.py --mode=predict --input=clip.mp4 --pages
python run.py --config=configs/ablation.py
python run.py --config=configs/robustness.py
"""

from emi_jax.memory import restart_with_tuned_malloc

if __name__ == "__main__":
    restart_with_tuned_malloc()

import errno
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from data_prep.build.prepare import prepare
from data_prep.clips.clip import duration
from data_prep.clips.options import ClipOptions
from data_prep.corpora.new_clips import find_clips, read_clips
from data_prep.errors import CorpusError
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Dataset, open_dataset
from emi_jax.report.terminal import printable
from emi_jax.runs import evaluation, results
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.training import train
from emi_jax.studies import ablation, robustness
from emi_jax.train.processes import is_first, join
from emi_jax.train.signals import StoppedError, StopSignal
from emi_jax.train.startup import start

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "config of the run, as configs/stage1.py or configs/stage1.py:PRESET"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; the config's own by default")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate", "predict", "extract"], "what to do")
INPUT = flags.DEFINE_string(
    "input", None, "with --mode=predict: a clip, a folder of clips or a CSV of names, in place of a split"
)
PAGES = flags.DEFINE_bool("pages", False, "with --input: also a page for each clip")
SPLIT = flags.DEFINE_string(
    "split", None, "the split that is scored or predicted; by default test, for scores valid where test has no labels"
)
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "one of several processes, where the environment does not say so")

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What a disk says that is full or can only be read."""

CANNOT_GO_ON, ASKED_TO_STOP = 2, 75
"""Exit codes: an error that its message explains; stopped by a signal with the state saved."""

STUDIES = {"ablation": ablation.run, "robustness": robustness.run}

log = logging.getLogger("emi_jax")


def main(arguments: Sequence[str]) -> None:
    """Runs one stage, and says in one line what a user can put right."""
    try:
        if len(arguments) > 1:
            raise UserError(f"unexpected argument {arguments[1]!r}: options are written --NAME=VALUE")
        if CONFIG.value is None:
            raise UserError("no config: say which, with --config=configs/stage1.py or --config=configs/stage2.py")
        if not isinstance(CONFIG.value, ConfigDict):  # a file that is not there is told when the config is used
            path = config_flags.get_config_filename(flags.FLAGS["config"])
            raise UserError(f"config {path} cannot be read; they are in configs/")
        join(DISTRIBUTED.value)
        start()
        with StopSignal():
            run(CONFIG.value)
    except (UserError, CorpusError) as error:
        sys.exit(fail(error))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(fail(error))
    except StoppedError as stopped:
        log.info("%s; the same command resumes from there", stopped)
        sys.exit(ASKED_TO_STOP)


def run(config: ConfigDict) -> None:
    """Trains and then evaluates, or only evaluates or predicts, as --mode says."""
    if INPUT.value:
        predict_clips(config, Path(INPUT.value))
        return
    if PAGES.value:
        raise UserError("--pages is for new clips: say which, with --mode=predict --input=CLIPS")
    dataset = open_data(config)
    split = chosen_split(config, dataset)
    if study := config.get("study"):
        if MODE.value != "train":
            raise UserError(f"--mode={MODE.value} is for stage 1 or 2; a study is run with --mode=train")
        if jax.process_count() > 1:
            raise UserError("a study runs in one process; start it without --distributed")
        tell(STUDIES[study](config, dataset, Path(WORKDIR.value or config.workdir), split))
        return
    experiment = Experiment.open(config, dataset, WORKDIR.value or config.workdir)
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
    if not is_first():  # it takes its part in what the first one computes and writes below
        evaluation.evaluator(experiment, split).gather(evaluation.chosen_params(experiment))
        return
    if MODE.value == "predict":
        log.info("written: %s", results.predict(experiment, split))
        return
    summary = results.evaluate(experiment, split)
    log.info("\n%s\n", summary.table)
    tell(summary.written)
    log.info("\nnext: %s\n%s", next_command(config, experiment.workdir.path), summary.verdict)


def chosen_split(config: ConfigDict, dataset: Dataset) -> str:
    """The split that is scored or predicted.

    Raises:
        UserError: it was asked for, and has nothing that it could be scored by.
    """
    asked, what = SPLIT.value, "text" if config.stage == "alignment" else "labels"
    if MODE.value in ("predict", "extract"):
        return asked or "test"
    if asked:
        dataset.split(asked)  # an error now, not after training, if there is none of the name
        if dataset.lacks(asked, what):
            raise UserError(f"no clip of split {asked!r} has {what}: it cannot be scored, only --mode=predict")
        return asked
    split = dataset.to_score(what)
    if split != "test":
        log.info("test has no clips with %s: scores are those of %s", what, split)
    return split


def predict_clips(config: ConfigDict, path: Path) -> None:
    """Predicts new clips: a table, a CSV, a JSON file for each clip, and a page for each on request."""
    if MODE.value != "predict":
        raise UserError(f"--input={path} is for --mode=predict")
    if SPLIT.value:
        raise UserError(f"--split={SPLIT.value} and --input={path}: predict either a split or new clips")
    overridden = config_flags.get_override_values(flags.FLAGS["config"])
    if ignored := sorted(set(overridden) - {"root", "workdir"}):
        raise UserError(
            f"--config.{ignored[0]} does nothing with --input: new clips are predicted as the run in the workdir was "
            "trained; leave it out, or train another run with it"
        )
    sources, notes = find_clips(path)
    for note in notes:
        log.info("note: %s", note)
    began = time.perf_counter()
    workdir = Path(WORKDIR.value or config.workdir)
    predictor = Predictor.load(workdir)
    log.info("%d clips; model loaded in %.1f s", len(sources), time.perf_counter() - began)

    began, left_out = time.perf_counter(), list[Exception]()
    examples = read_clips(sources, ClipOptions(**predictor.clip_options), left_out)
    predictions = sorted(predictor.predict(examples), key=lambda prediction: prediction.id)
    took = time.perf_counter() - began - predictor.compile_seconds
    for error in left_out:
        log.info("left out: %s", printable(str(error)))
    if not predictions:
        raise UserError(f"none of the {len(sources)} clips in {path} can be read")
    table, written = results.keep_predictions(predictor, predictions, workdir / "predicted", PAGES.value)
    log.info("\n%s\n", table)
    tell(written)
    seconds = sum(duration(prediction.example) for prediction in predictions)
    log.info(
        "%.1f s of clips in %.1f s: %.1f times real time; compiled in %.1f s beside",
        seconds,
        took,
        seconds / took,
        predictor.compile_seconds,
    )


def tell(written: Sequence[Path]) -> None:
    """Names the files that were made."""
    log.info("written:")
    for path in written:
        log.info("  %s", printable(str(path)))


SOURCES = {"vidmimic2": " --source=CORPUS", "folder": " --source=CORPUS --labels=CSV"}
"""What `data_prep` must be told beside the name of a corpus that it does not make itself."""


def open_data(config: ConfigDict) -> Dataset:
    """The dataset of a config. The synthetic one is made when it is not there, any other is an error then."""
    source = SOURCES.get(config.data.corpus, "")
    how = f"python -m data_prep --corpus={config.data.corpus}{source} --out={config.data.dir or 'DIR'}"
    if not config.data.dir:
        raise UserError(f"no dataset: say where it is with --config.data.dir=DIR; it is made with: {how}")
    try:
        dataset = open_dataset(config.data.dir, how, config.data.corpus)
    except UserError:
        if config.data.corpus != "synthetic" or jax.process_count() > 1:
            raise
        log.info("no dataset in %s: making the synthetic corpus, as does: %s", config.data.dir, how)
        prepare(corpus="synthetic", out=config.data.dir)
        dataset = open_dataset(config.data.dir, how, config.data.corpus)
    sizes = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    log.info("data: %s (%s clips), content %s", dataset.directory, sizes, dataset.fingerprint[:12])
    return dataset


def next_command(config: ConfigDict, workdir: Path) -> str:
    """What a user would do after this run."""
    command = ["python", "run.py", f"--config=configs/stage2.py:{config.preset}"]
    if config.stage != "alignment":
        return shlex.join([*command, f"--workdir={workdir}", "--mode=predict", "--input=FOLDER_OF_CLIPS", "--pages"])
    told = {"root": config.root, "data.dir": config.data.dir, "data.corpus": config.data.corpus}
    if workdir != Path(config.root, "stage1").absolute():
        told["init_from"] = workdir
    if len(config.model.pairs) == 1:
        told["model.modalities"] = (*config.model.pairs, "text")
    return shlex.join([*command, *(f"--config.{field}={value}" for field, value in told.items())])


def parse(arguments: Sequence[str]) -> list[str]:
    """Reads the command line; an unknown field or a wrong type is one line."""
    try:
        return flags.FLAGS(arguments)
    except (AttributeError, KeyError) as error:
        told: object = error
        while isinstance(told, Exception):  # ml_collections wraps one in the other; inside is the name
            told = told.args[0]
        sys.exit(fail(UserError(f"the config has no such field: {told}; its file in configs/ names them all")))
    except (UserError, flags.Error, TypeError, ValueError) as error:
        sys.exit(fail(error))


def fail(error: Exception) -> int:
    """Tells an error in one line; gives the exit code."""
    print("error:", printable(" ".join(str(error).split())), file=sys.stderr)
    return CANNOT_GO_ON


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
