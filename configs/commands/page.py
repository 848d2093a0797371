"""Serves a local page on which a person drops or records clips and sees their predictions."""

import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from configs.commands.clips import chosen_windows
from configs.commands.options import (
    FOR_FILES,
    INPUT,
    OUTPUT,
    PORT,
    SPLIT,
    TIME_LIMIT,
    check_for_new_clips,
    named_by_user,
    refuse,
)
from data_prep.clips.clip import ClipSource
from data_prep.clips.stored import stored_options
from data_prep.corpora.new_clips import clip_reader
from data_prep.errors import ClipError
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Example
from emi_jax.runs.predicted import stopped_by_signals
from emi_jax.runs.predictor import Predictor
from emi_jax.serve.clips import Reader, Upload
from emi_jax.serve.server import listening, page_server
from emi_jax.train.signals import StoppedError

WORKERS = 2
"""Clips that are read at the same time: the next one is read while one is predicted."""

log = logging.getLogger("emi_jax")


def serve_page(workdir: Path) -> None:
    """Serves the page of the trained run of stage 2 in a folder until SIGINT or SIGTERM."""
    refuse("does nothing with --mode=serve: the page takes the clips", SPLIT, INPUT, OUTPUT, *FOR_FILES)
    check_for_new_clips()
    try:
        with stopped_by_signals(), listening(PORT.value) as listener:
            serve(workdir, listener)
    except StoppedError as stopped:
        log.info("%s; no clip and no result is kept", stopped)


def serve(workdir: Path, listener: socket.socket) -> None:
    """Serves the page.

    Args:
        workdir: the folder of a trained run of stage 2.
        listener: from `listening`.

    Raises:
        UserError: the run, or the options for reading and predicting clips with it, cannot be used.
    """
    log.info("loading the model")
    predictor = Predictor.load(workdir, batch_size=1, one_length=True)
    if predictor.features:
        raise UserError(
            f"{workdir} reads features of the user's own ({', '.join(predictor.features)}) in place of clips; use "
            "--mode=predict --input=NAMES.csv --features MODALITY=PATH"
        )
    windows, options = chosen_windows(predictor), stored_options(predictor.clip_options, *named_by_user()).checked()
    with (
        clip_reader(options, WORKERS, TIME_LIMIT.value or None) as read_clip,
        page_server(predictor, windows, reader(read_clip), listener, WORKERS) as (server, address),
    ):
        log.info("open %s in a browser; Ctrl-C stops the program and forgets all clips", address)
        server.run(sockets=[listener])


def reader(read_clip: Callable[[ClipSource], Iterable[Example]]) -> Reader:
    """Reads the clips that are sent to the page.

    Args:
        read_clip: from `clip_reader`.
    """

    def read(upload: Upload) -> Iterator[Example]:
        try:
            yield from read_clip(ClipSource(upload.name, upload.file, transcript=upload.words))
        except ClipError as error:
            raise UserError(error.why) from error

    return read
