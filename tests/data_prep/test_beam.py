"""These tests need the environment of requirements-beam.txt: `make test-extras` installs it and runs them."""

import numpy as np
import pytest

pytest.importorskip("apache_beam")

from data_prep import beam
from data_prep.beam import prepare_with_beam
from data_prep.build.dataset import open_dataset
from tests.data_prep.conftest import COUNTS, write_table, write_video

pytestmark = pytest.mark.filterwarnings("ignore")


def _examples(out):
    builder = open_dataset(out)
    return {(split, e["id"]): e for split in builder.info.splits for e in builder.as_data_source(split)}


def test_beam_gives_the_same_content_as_one_machine(built, raw_corpus, tmp_path, monkeypatch):
    out, report = built
    monkeypatch.setattr(beam, "BATCH", 2)
    sizes = ["--clips", ",".join(map(str, COUNTS.values())), "--seed=3", "--max-frames=4", "--face-size=32"]
    arguments = [
        "--corpus=synthetic",
        f"--source={raw_corpus}",
        f"--out={tmp_path / 'out'}",
        *sizes,
        "--",
        "--runner=DirectRunner",
    ]
    assert prepare_with_beam(arguments).fingerprint == report.fingerprint
    one, other = _examples(out), _examples(tmp_path / "out")
    assert one.keys() == other.keys()
    for key, example in one.items():
        assert list(example["faces"]) == list(other[key]["faces"])
        for name in ("times", "face_found", "landmarks", "audio", "labels"):
            np.testing.assert_array_equal(example[name], other[key][name])
    assert not (tmp_path / "out" / "staging").exists()


def test_unreadable_clips_are_reported_by_name(tmp_path):
    write_video(tmp_path / "a.mp4", np.arange(5) / 10)
    (tmp_path / "broken.mp4").write_bytes(b"nonsense")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a", 0.5], ["broken", 0.5], ["gone", 0.5])
    report = prepare_with_beam(
        ["--corpus=folder", "--detector=haar", f"--source={tmp_path}", f"--out={tmp_path / 'out'}"]
    )
    assert {entry["id"]: entry["why"] for entry in report.left_out}["gone"] == "no such file"
    assert {entry["id"] for entry in report.left_out} == {"broken", "gone"}
    assert sum(report.clips.values()) == 1


def test_options_unsupported_by_beam_are_refused(capsys):
    with pytest.raises(SystemExit):
        prepare_with_beam(["--processes=2"])
    assert "this command has no option --processes" in capsys.readouterr().err
