"""Local paths, files that appear complete or not at all, and locks that end with the process that holds them."""

import argparse
import contextlib
import datetime
import errno
import json
import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from emi_jax.errors import UserError

log = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks."""


def local_path(path: str) -> str:
    """A path on this machine, with `~` expanded.

    Raises:
        UserError: it is a URL, or there is no such home folder.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        raise UserError("expected a local path; copy or mount it, and give its path")
    if (expanded := os.path.expanduser(path)).startswith("~"):
        raise UserError(f"there is no such home folder; write ./{path} for a file or folder of that name")
    return expanded


def path_option(text: str) -> Path:
    """The path that an option of a command line gives, for argparse."""
    if not text:
        raise argparse.ArgumentTypeError("found nothing, expected a path")
    try:
        return Path(local_path(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}: {error}") from None


@contextlib.contextmanager
def whole_file(path: Path, durable: bool = True, partial: Path | None = None) -> Iterator[Path]:
    """Gives a temporary name next to `path`, and renames what was written there when the block ends without an error.

    The content is on the disk before it gets its name, so that a power cut leaves no empty file behind.

    The name is unique: two processes, on two hosts even, do not write into each other's file. It is short, since the
    file's own name may be as long as names can be.

    Args:
        path: the final name.
        durable: whether to wait until the content is on the disk. Not needed for a file whose readers verify it.
        partial: another temporary name, for a file of which there is one writer: one that is killed can then remove
            what it left when it is started again.
    """
    partial = partial or path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a full disk does not say which file it refuses
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Writes arrays as a safetensors file.

    The library's own files can be read by their owner alone, and a full disk is no OSError there.

    Raises:
        OSError: the file cannot be written.
    """
    # The library writes the elements of arrays that are not contiguous in another order.
    path.write_bytes(save({name: np.asarray(array, order="C") for name, array in tensors.items()}, metadata))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
        UserError: the file is cut off or no safetensors file.
        OSError: it cannot be read.
    """
    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): delete it, and the same command makes it again") from error


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, complete or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: the file is cut off or holds something else.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be parsed: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


@contextlib.contextmanager
def lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps other writers out of a folder until the block or the process ends, however it ends.

    Args:
        folder: must exist; the lock is its file `.lock`, which names the holder.
        wait: when another process holds the lock, log that and wait instead of raising an error.

    Raises:
        UserError: another process writes to the folder.
    """
    path = folder / ".lock"
    # Its own fallback for file systems without locks would outlive a killed process.
    held = filelock.FileLock(path, fallback_to_soft=False)
    try:
        try:
            held.acquire(timeout=0)
        except filelock.Timeout:
            if not wait:
                raise UserError(
                    f"{folder} is in use by another program, {_holder(path)}: "
                    "wait for it or stop it, or use another folder"
                ) from None
            log.info("%s is being written by another program, %s: waiting for it", folder, _holder(path))
            held.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        log.warning("%s is on a file system without locks: make sure that nothing else writes to it", folder)
        yield
        return
    try:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        path.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": since}))
        yield
    finally:
        held.release()


def _holder(path: Path) -> str:
    """Who holds a lock, in words."""
    with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
        holder = json.loads(path.read_text())
        return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
    return "whose identity is unknown"
