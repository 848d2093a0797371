import pytest
from starlette.testclient import TestClient

from configs.commands.page import reader
from emi_jax.serve.app import build_app
from emi_jax.serve.clips import Clips
from tests.serve.fakes import FACTS, HOST, LIMITS, PORT, TOKEN, make_model, read_here


@pytest.fixture
def clips(tmp_path):
    clips = Clips(reader(read_here), make_model(), None, tmp_path, workers=1)
    yield clips
    clips.close()


@pytest.fixture
def app(clips):
    return build_app(clips, FACTS, TOKEN, PORT, LIMITS)


@pytest.fixture
def client(app):
    with TestClient(app, base_url=f"http://{HOST}") as client:
        yield client
