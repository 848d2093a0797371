"""The options of the command line."""

from absl import flags
from ml_collections import config_flags

from data_prep import workers

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
WINDOW = flags.DEFINE_float(
    "window", None, "with --input: predict clips over time, in windows of so many seconds (default: only long clips)"
)
HOP = flags.DEFINE_float(
    "hop", None, "with --input: seconds from the start of one window to that of the next (default: their length)"
)
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
FOR_NEW_CLIPS = (PAGES, WINDOW, HOP, RECURSIVE, TIME_LIMIT, DETECTOR, DETECTOR_MODEL, ASR, FEATURES)
ALL = (CONFIG, WORKDIR, MODE, SPLIT, INPUT, OUTPUT, *FOR_NEW_CLIPS, DISTRIBUTED)


def overrides() -> set[str]:
    """Returns the config fields that the command line sets."""
    return set() if CONFIG.value is None else set(config_flags.get_override_values(flags.FLAGS["config"]))
