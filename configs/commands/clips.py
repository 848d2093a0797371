"""Predicts new clips: a table, and for each clip a JSON file and optionally a page."""

import logging
import time
from pathlib import Path

from ml_collections import ConfigDict

from configs.commands.options import (
    FEATURES,
    HOP,
    MODE,
    MODEL,
    OUTPUT,
    OVERLAY,
    PAGES,
    RECURSIVE,
    SPLIT,
    TIME_LIMIT,
    WINDOW,
    WORKDIR,
    check_for_new_clips,
    named_by_user,
)
from configs.commands.overlays import overlays
from configs.paths import local_path
from data_prep.clips.clip import ClipSource
from data_prep.clips.stored import stored_options
from data_prep.corpora.new_clips import add_features, find_clips, fingerprint, read_clips
from data_prep.errors import ClipError
from data_prep.options.features import parse_features
from emi_jax.errors import UserError
from emi_jax.exports.hub import find_model
from emi_jax.inputs.windows import Windows
from emi_jax.progress import progress_bar
from emi_jax.report.terminal import counted, printable
from emi_jax.runs.predicted import PredictionFolder, stopped_by_signals
from emi_jax.runs.predictor import Predictor

log = logging.getLogger("emi_jax")


def model_folder(config: ConfigDict | None) -> Path:
    """The folder of the run in the workdir, or of the run or exported model that --model names.

    Args:
        config: the config; None if there is --model or --workdir in its place.

    Raises:
        UserError: there is no such model, or options contradict each other.
    """
    if not MODEL.value:
        return Path(config.workdir if config else local_path(str(WORKDIR.value), "--workdir"))
    if WORKDIR.value:
        raise UserError(f"--workdir={WORKDIR.value} and --model={MODEL.value}: name one of them")
    if MODE.value == "predict" and not OUTPUT.value and not Path(MODEL.value).expanduser().is_dir():
        raise UserError(f"--model={MODEL.value}: name a folder for the results with --output=DIR")
    return find_model(MODEL.value)


@stopped_by_signals()
def predict_clips(workdir: Path, path: Path) -> None:
    """Writes the predictions of new clips to a folder: a table, and for each clip a JSON file and optionally a page."""
    if MODE.value != "predict":
        raise UserError(f"--input={path} is for --mode=predict")
    if SPLIT.value:
        raise UserError(f"--split={SPLIT.value} and --input={path}: predict either a split or new clips")
    check_for_new_clips()
    requests, found = parse_features(FEATURES.value), find_clips(path, RECURSIVE.value)
    began = time.perf_counter()
    predictor = Predictor.load(workdir)
    options = stored_options(predictor.clip_options, *named_by_user())
    windows = chosen_windows(predictor)
    clips, notes = add_features(found, requests, predictor.features)
    for note in notes:
        log.info("note: %s", note)
    output = Path(local_path(OUTPUT.value or str(workdir / "predicted"), "--output"))
    draw = overlays(clips, predictor.label_range) if OVERLAY.value else None
    with PredictionFolder.open(output, predictor.label_names, predictor.label_range, PAGES.value, draw) as folder:
        done = folder.resume(
            {clip.id: f"{predictor.fingerprint} {fingerprint(clip, options)} {windows}" for clip in clips}
        )
        loaded = time.perf_counter() - began
        found_clips = counted(len(clips), "clip")
        log.info("model loaded in %.1f s; %s, %d of them predicted before", loaded, found_clips, len(done))
        bookmarks = folder.unfinished.bookmarks
        for clip_id, bookmark in bookmarks.items():
            log.info("resumed: %s from second %g on", printable(clip_id), bookmark["start"])
        began, seconds = time.perf_counter(), 0.0
        waiting = [clip for clip in clips if clip.id not in done]
        with progress_bar(total=len(clips), initial=len(done), unit="clip") as bar:

            def leave_out(clip: ClipSource, error: ClipError) -> None:
                folder.leave_out(clip.id, str(error))
                bar.update()

            examples = read_clips(waiting, options, leave_out, TIME_LIMIT.value or None, bookmarks)
            for prediction in predictor.predict(examples, windows, folder.unfinished):
                folder.add(prediction)
                seconds += prediction.seconds - bookmarks.get(prediction.id, {"start": 0.0})["start"]
                bar.update()
        took = time.perf_counter() - began - predictor.compile_seconds
        log.info("\n%s\n\nwritten: %s", folder.finish(), folder.path)
    if not folder.done:
        raise UserError(f"none of the {len(clips)} clips in {path} can be read")
    if seconds:
        speed = f"{seconds:.1f} s of clips in {took:.1f} s: {seconds / took:.1f} times real time"
        log.info("%s, plus %.1f s of compilation", speed, predictor.compile_seconds)


def chosen_windows(predictor: Predictor) -> Windows | None:
    """The windows that --window and --hop choose, or None; logs how clips are predicted.

    Raises:
        UserError: the model cannot read such windows.
    """
    if WINDOW.value is None and HOP.value is None:
        log.info("clips longer than %g s are predicted in windows, whose mean is given", predictor.seconds)
        return None
    windows = predictor.windows(WINDOW.value, HOP.value)
    log.info("clips are predicted in windows of %g s, each %g s", windows.seconds, windows.hop)
    return windows
