"""Serves the page to this computer alone, until the program is stopped."""

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from emi_jax.errors import UserError
from emi_jax.inputs.windows import Windows
from emi_jax.modalities import TEXT
from emi_jax.runs.predictor import Predictor
from emi_jax.serve.app import HOSTS, Limits, build_app
from emi_jax.serve.clips import Clips, Reader

GRACE = 2
"""Seconds that requests in progress have when the program is stopped."""


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that accepts connections from this computer alone.

    Args:
        port: its number; 0 for any that is free.

    Raises:
        UserError: the port cannot be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the same port again right after a stop
        try:
            listener.bind((HOSTS[0], port))
            listener.listen()
        except (OSError, OverflowError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is no port"
            raise UserError(f"--port={port} cannot be used: {why}; name another, or leave it out") from error
        yield listener


@contextlib.contextmanager
def page_server(
    predictor: Predictor, windows: Windows | None, read: Reader, listener: socket.socket, workers: int
) -> Iterator[tuple[uvicorn.Server, str]]:
    """Prepares a server; its temporary folder is removed at the end.

    The whole way from a file to a page has been gone once before the block begins, so that nothing is compiled later.

    Args:
        predictor: predicts the clips.
        windows: as for `Predictor.predict`.
        read: reads a clip; is called by `workers` threads.
        listener: from `listening`.
        workers: number of clips to read at the same time.

    Yields:
        The server, to be started by its `run(sockets=[listener])`, and the address of the page.

    Raises:
        UserError: clips cannot be processed.
    """
    port, token, limits = listener.getsockname()[1], secrets.token_urlsafe(24), Limits()
    facts = {
        "label_names": predictor.label_names,
        "label_range": predictor.label_range,
        "seconds": predictor.seconds,
        "windows": windows,
        "words": TEXT in predictor.modalities,
        "recognised": bool(predictor.clip_options["asr"]),
    }
    with tempfile.TemporaryDirectory(prefix="emi_jax_") as folder:
        clips = Clips(read, predictor, windows, Path(folder), workers)
        try:
            clips.warm_up()
            config = uvicorn.Config(
                build_app(clips, facts, token, port, limits),
                access_log=False,  # it would hold the token
                log_config=None,
                log_level="warning",
                lifespan="off",
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
            yield uvicorn.Server(config), f"http://{HOSTS[0]}:{port}/{token}/"
        finally:
            clips.close()
