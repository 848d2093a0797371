"""The options of the command line."""

import jax
from absl import flags
from ml_collections import config_flags

from configs import effects
from data_prep import workers
from emi_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "config file of the run, with presets after a colon: configs/stage2.py:vidmimic2,finetune"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: config.workdir, ROOT/NAME)")
MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "predict", "serve", "extract", "export"],
    "train, then evaluate; evaluate the best checkpoint; predict a split or new clips; serve a local page for new "
    "clips; extract features to the cache; export a model that needs none of this code",
)
SPLIT = flags.DEFINE_string(
    "split", None, "split to score or predict (default: test, and valid for scores where test has no labels)"
)
COMPARE = flags.DEFINE_string(
    "compare", None, "to evaluate: another run's folder, or a CSV of its predictions, to compare the run with"
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    "with --mode=predict: a clip, a folder of clips or a CSV of names, instead of a split; the same command resumes "
    "after a stop, also within a long recording",
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "to evaluate, predict or export: folder for the results (default: WORKDIR; with --input WORKDIR/predicted; to "
    "export WORKDIR/exported)",
)
PUSH = flags.DEFINE_string("push", None, "with --mode=export: OWNER/NAME on the Hugging Face hub, to upload it as well")
MODEL = flags.DEFINE_string(
    "model",
    None,
    "for new clips: an exported model, FOLDER or ID[@REVISION] on the hub, in place of the run in WORKDIR",
)
PAGES = flags.DEFINE_bool("pages", False, "with --input: also write an HTML page for each clip")
OVERLAY = flags.DEFINE_bool(
    "overlay", False, "with --input: also write an mp4 of each clip with face, intensities and weights drawn in"
)
WINDOW = flags.DEFINE_float(
    "window", None, "for new clips: predict them over time, in windows of so many seconds (default: only long clips)"
)
HOP = flags.DEFINE_float(
    "hop", None, "for new clips: seconds from the start of one window to that of the next (default: their length)"
)
RECURSIVE = flags.DEFINE_bool("recursive", False, "with --input=FOLDER: also search its subfolders")
TIME_LIMIT = flags.DEFINE_float("time-limit", workers.TIME_LIMIT, "for new clips: seconds per clip; 0 for no limit")
DETECTOR = flags.DEFINE_string("detector", None, "for new clips: the run's own MODULE:FUNCTION, to allow its import")
DETECTOR_MODEL = flags.DEFINE_string(
    "detector-model", None, "for new clips: the run's own model file of its face detector, where it is not the hub's"
)
ASR = flags.DEFINE_string("asr", None, "for new clips: the run's own MODULE:FUNCTION, to allow its import")
FEATURES = flags.DEFINE_multi_string(
    "features", [], "with --input: MODALITY=PATH, own features of the clips, if the run was trained on such; repeatable"
)
PORT = flags.DEFINE_integer("port", 0, "with --mode=serve: port of the page; 0 for any that is free")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "join a run of several processes where the environment does not say that there are several"
)
FOR_FILES = (PAGES, OVERLAY, RECURSIVE, FEATURES)
FOR_NEW_CLIPS = (MODEL, WINDOW, HOP, TIME_LIMIT, DETECTOR, DETECTOR_MODEL, ASR)
ALL = (CONFIG, WORKDIR, MODE, SPLIT, COMPARE, INPUT, OUTPUT, PUSH, *FOR_FILES, *FOR_NEW_CLIPS, PORT, DISTRIBUTED)


def overrides() -> set[str]:
    """Returns the config fields that the command line sets."""
    return set() if CONFIG.value is None else set(config_flags.get_override_values(flags.FLAGS["config"]))


def refuse(why: str, *options: flags.FlagHolder) -> None:
    """Refuses options that have no effect.

    Raises:
        UserError: one of them is set; `why` completes the sentence.
    """
    for option in options:
        if flags.FLAGS[option.name].value != flags.FLAGS[option.name].default:
            raise UserError(f"--{option.name} {why}")


def named_by_user() -> tuple[str, str, str]:
    """The detector, recogniser and model file that the user names, for `data_prep.clips.stored.stored_options`."""
    return DETECTOR.value or "", ASR.value or "", DETECTOR_MODEL.value or ""


def check_for_new_clips() -> None:
    """Checks the options of all modes that read new clips.

    Raises:
        UserError: the time limit is negative, there are several processes, or a config field is set.
    """
    if TIME_LIMIT.value < 0:
        raise UserError(f"--time-limit={TIME_LIMIT.value:g}: expected seconds, or 0 for no limit")
    if jax.process_count() > 1:
        raise UserError("new clips are predicted by one process; start it without --distributed")
    effects.refuse_for_trained(overrides(), "for new clips")
