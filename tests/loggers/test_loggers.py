"""Config, metrics, final scores and pictures of a run reach the loggers that its config names."""

import json
import logging
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from emi_jax.errors import UserError
from emi_jax.loggers import registry
from emi_jax.loggers.registry import Loggers, check_loggers
from emi_jax.runs.workdir import Workdir
from emi_jax.train.signals import StoppedError

CONFIG = {"stage": "intensity", "train": {"learning_rate": 0.5, "frozen": ("^towers/",), "members": None}}
PICTURE = Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3))


def events(folder):
    """The summary values of TensorBoard's event files: (step, value)."""
    for path in sorted((folder / "events").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            yield from ((event.step, value) for value in event.summary.value)
            data = data[16 + length :]


def test_tensorboard_has_config_metrics_final_scores_and_pictures(evaluated):
    _, folder = evaluated
    found = {(value.tag, step): value for step, value in events(folder)}
    recorded = [record for record in Workdir(folder).metrics() if "loss" in record]
    for record in recorded:
        assert found["loss", record["step"]].simple_value == pytest.approx(record["loss"])
    last = recorded[-1]["step"]
    scores = json.loads((folder / "metrics_test.json").read_text())
    assert found["final/test/mean/pearson", last].simple_value == pytest.approx(scores["mean"]["pearson"])
    (config,) = [value for (tag, _), value in found.items() if tag.startswith("config")]
    assert b'"learning_rate": 0.001' in config.tensor.string_val[0]
    assert found["figures/pearson_test", last].image.width == 900


def test_wrong_names_and_missing_packages_are_reported_beforehand(monkeypatch):
    with pytest.raises(UserError, match=r"there is no logger 'comet'; choose some of tensorboard, wandb, mlflow"):
        check_loggers(("tensorboard", "comet"))
    with pytest.raises(UserError, match="names wandb twice"):
        check_loggers(("wandb", "wandb"))
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'mlflow', whose package is not installed: pip install -r requirements-lo"):
        check_loggers(("tensorboard", "mlflow"))
    check_loggers(("tensorboard",))
    check_loggers(())


class Service:
    """Stands for a logger, and keeps what it is given."""

    failures = (ConnectionError,)

    def __init__(self, run_id=""):
        self.run_id, self.kept, self.reachable = run_id or "new", [], True

    def log_config(self, config):
        self.kept.append(config)

    def log_metrics(self, step, metrics):
        if not self.reachable:
            raise ConnectionError("no route")
        self.kept.append((step, metrics))

    def log_results(self, step, scores, pictures):
        self.kept.append((step, scores, pictures))

    def close(self, failed):
        self.kept.append(f"failed={failed}")


@pytest.fixture
def services(monkeypatch):
    """The loggers that were opened, and the id of the run that each resumes."""
    opened = []

    def open_logger(loggers, name, run_id):
        opened.append((run_id, Service(run_id)))
        return opened[-1][1]

    monkeypatch.setattr(Loggers, "_open", open_logger)
    return opened


def test_a_service_that_fails_does_not_stop_the_run(services, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    loggers = Loggers(("tensorboard",), tmp_path, tmp_path)
    loggers.log_metrics(1, {"loss": 1.0})
    ((_, service),) = services
    service.reachable = False
    loggers.log_metrics(2, {"loss": 0.5})
    service.reachable = True
    loggers.log_metrics(3, {"loss": 0.25})
    assert service.kept == [(1, {"loss": 1.0}), (3, {"loss": 0.25})]
    assert "tensorboard: something was not recorded (no route); the run continues" in caplog.text


def test_a_run_that_is_resumed_or_evaluated_later_keeps_its_id(services, tmp_path):
    workdir = Workdir(tmp_path)
    with workdir.logging():
        workdir.log_config(CONFIG)
    workdir = Workdir(tmp_path)
    with workdir.logging():
        workdir.log_results({"final/test/mean/pearson": 0.5}, {"figures/weights": PICTURE})
    assert [run_id for run_id, _ in services] == ["", "new"]
    assert services[1][1].kept == [
        (0, {"final/test/mean/pearson": 0.5}, {"figures/weights": PICTURE}),
        "failed=False",
    ]


@pytest.mark.parametrize(("error", "failed"), [(ValueError("a bug"), True), (StoppedError("by SIGTERM"), False)])
def test_a_run_that_was_stopped_has_not_failed(error, failed, services, tmp_path):
    workdir = Workdir(tmp_path)
    workdir.record(1, {"loss": 1.0})
    with pytest.raises(type(error)), workdir.logging():
        raise error
    assert services[0][1].kept[-1] == f"failed={failed}"


def test_mlflow_records_a_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    from emi_jax.loggers.mlflow_logger import MlflowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    first = MlflowLogger("", "a run")
    first.log_config(CONFIG)
    first.log_metrics(1, {"loss": 1.0, "valid/label/Joy?/pearson": 0.25})
    first.close(failed=False)
    second = MlflowLogger(first.run_id, "a run")
    second.log_config(CONFIG | {"stage": "another"})
    second.log_metrics(2, {"loss": 0.5})
    second.log_results(2, {"final/test/mean/pearson": 0.75}, {"figures/weights": PICTURE})
    client = mlflow.MlflowClient()
    assert client.get_run(first.run_id).info.status == "RUNNING"
    second.close(failed=True)
    run = client.get_run(first.run_id)
    assert run.info.status == "FAILED"
    assert run.info.run_name == "a run"
    assert run.data.params == {
        "stage": "intensity",
        "train.learning_rate": "0.5",
        "train.frozen": "('^towers/',)",
        "train.members": "None",
    }
    assert run.data.metrics == {"loss": 0.5, "valid/label/Joy_/pearson": 0.25, "final/test/mean/pearson": 0.75}
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 1.0),
        (2, 0.5),
    ]
    picture = client.download_artifacts(run.info.run_id, "figures/weights.png", str(tmp_path))
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.asarray(PICTURE))


def leveldb_records(data, header=7, block=2**15):
    """The records of a file of Weights & Biases: a header, then LevelDB's log format."""
    place, record = header, b""
    while place < len(data):
        if block - place % block < 7:  # too little for a record's header: the rest of a block is empty
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def test_wandb_records_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    from emi_jax.loggers.wandb_logger import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WandbLogger(tmp_path, "", "a run")
    logger.log_config(CONFIG)
    logger.log_metrics(3, {"loss": 0.5})
    logger.log_results(3, {"final/test/mean/pearson": 0.75}, {"figures/weights": PICTURE})
    logger.close(failed=False)
    (path,) = tmp_path.rglob("run-*.wandb")
    records = [Record.FromString(record) for record in leveldb_records(path.read_bytes())]
    (run,) = [record.run for record in records if record.run.run_id]
    assert (run.run_id, run.display_name, run.project) == (logger.run_id, "a run", "emi-jax")
    config = {update.key: json.loads(update.value_json) for record in records for update in record.config.update}
    assert config["train"]["learning_rate"] == 0.5
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item} for record in records
    ]
    assert any(row.get("step") == "3" and row.get("loss") == "0.5" for row in history)
    summary = {
        item.key or "/".join(item.nested_key): item.value_json for record in records for item in record.summary.update
    }
    assert summary["final/test/mean/pearson"] == "0.75"
    assert list(tmp_path.rglob("*.png"))
