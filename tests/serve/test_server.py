"""The server listens on this computer alone, and leaves nothing behind when it is stopped."""

import contextlib
import os
import re
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from absl.testing import flagsaver

from configs import stage2
from configs.commands import options, page, program
from configs.commands.page import serve_page
from emi_jax.errors import UserError
from emi_jax.runs.predictor import Predictor
from emi_jax.serve.server import listening
from tests.serve.fakes import make_model, read_here


@contextlib.contextmanager
def read_in_this_process(*_):
    yield read_here


@pytest.fixture
def model(monkeypatch):
    options.flags.FLAGS(["run.py"])
    model = make_model()
    monkeypatch.setattr(Predictor, "load", lambda workdir, **options: model)
    monkeypatch.setattr(page, "clip_reader", read_in_this_process)
    return model


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_and_its_folder_is_removed(model, tmp_path, monkeypatch, number):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logged, found = [], []
    monkeypatch.setattr(page.log, "info", lambda message, *values: logged.append(message % values))

    def stop_it():
        deadline = time.monotonic() + 60
        while not any("http://" in line for line in logged):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", logged[-1]).group()
        with urllib.request.urlopen(address, timeout=10) as answer:
            found.append(answer.read().decode())
        (folder,) = tmp_path.iterdir()
        found.append(folder.stat().st_mode & 0o777)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop_it)
    thread.start()
    serve_page(Path("none"))
    thread.join()
    text, mode = found
    assert '<h2 id="add">Add clips</h2>' in text
    assert mode == 0o700
    assert logged[-1] == f"stopped by {signal.Signals(number).name}; no clip and no result is kept"
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_one_line():
    with listening(0) as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(UserError, match=rf"--port={port} cannot be used: Address already in use"), listening(port):
            pass
    with pytest.raises(UserError, match="--port=70000 cannot be used: it is no port"), listening(70000):
        pass


def test_other_computers_cannot_connect():
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with listening(0) as listener:
        for address in others - {"127.0.0.1"}:
            with socket.socket() as client, pytest.raises(OSError):
                client.connect((address, listener.getsockname()[1]))


def test_a_model_of_features_is_not_served(model):
    model.features = {"audio": {}}
    with pytest.raises(UserError, match=r"reads features of the user's own \(audio\)"):
        serve_page(Path("none"))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"mode": "serve", "input": "a.mp4"}, "--input does nothing with --mode=serve"),
        ({"mode": "serve", "pages": True}, "--pages does nothing with --mode=serve"),
        ({"mode": "predict", "port": 80}, "--port is for --mode=serve"),
        ({"mode": "serve", "time_limit": -1.0}, "--time-limit=-1"),
    ],
)
def test_options_that_would_do_nothing_are_refused(given, error):
    options.flags.FLAGS(["run.py"])
    with (
        flagsaver.flagsaver(**{name.replace("_", "-"): value for name, value in given.items()}),
        pytest.raises(UserError, match=error),
    ):
        program.run(stage2.get_config())
