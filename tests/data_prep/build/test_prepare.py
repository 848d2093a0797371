import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.build.check import check_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.errors import CorpusError
from tests.data_prep.conftest import COUNTS, OPTIONS, decode, tone, write_table, write_video

ROOT = Path(__file__).resolve().parents[3]


def _examples(out):
    builder = tfds.builder_from_directory(str(out / "emi" / "1.3.0"))
    return {
        (split, example["id"].decode()): example
        for split in builder.info.splits
        for example in builder.as_data_source(split)
    }


@pytest.fixture
def folder(tmp_path):
    """Four clips without faces: one with sound only, one broken, one missing."""
    source = tmp_path / "clips"
    source.mkdir()
    write_video(source / "a.mp4", np.arange(10) / 10, 10, tone(1.0))
    write_video(source / "b.wav", None, sound=tone(0.5), codecs=("", "pcm_s16le"))
    (source / "broken.mp4").write_bytes(b"nonsense")
    write_table(
        source / "labels.csv",
        ["Filename", "Joy", "Anger", "Split", "Subject"],
        ["a", 20, "", "train", "s1"],
        ["b", 100, 40, "valid", "s2"],
        ["broken", 0, 0, "train", "s1"],
        ["gone", 0, 0, "test", "s3"],
    )
    return source


def test_dataset_holds_examples_as_they_were_read(built, raw_corpus):
    out, _ = built
    examples = _examples(out)
    assert {split: sum(key[0] == split for key in examples) for split in COUNTS} == COUNTS
    split, name = next(iter(examples))
    stored = examples[split, name]
    read = read_clip(ClipSource(name, raw_corpus / "raw" / f"{name}.mp4"), OPTIONS).example
    assert list(stored["faces"]) == read["faces"]
    assert all(isinstance(face, bytes) for face in stored["faces"])
    assert decode(stored["faces"][0]).shape == (32, 32, 3)
    np.testing.assert_array_equal(stored["times"], read["times"])
    np.testing.assert_array_equal(stored["face_found"], read["face_found"])
    np.testing.assert_array_equal(stored["landmarks"], read["landmarks"])
    assert (stored["landmarks"].dtype, stored["landmarks"].shape) == (np.float32, (len(read["faces"]), 5, 2))
    np.testing.assert_array_equal(stored["audio"], read["audio"])
    assert (stored["times"].dtype, stored["face_found"].dtype) == (np.float32, bool)
    assert (stored["audio"].dtype, stored["labels"].dtype) == (np.int16, np.float32)
    line = next(line for line in (raw_corpus / f"{split}_split.csv").read_text().splitlines() if line.startswith(name))
    np.testing.assert_allclose(stored["labels"], [float(cell) for cell in line.split(",")[1:]], rtol=1e-6)


def test_metadata_and_report(built):
    out, report = built
    metadata = tfds.builder_from_directory(str(out / "emi" / "1.3.0")).info.metadata
    assert metadata["corpus"] == "synthetic"
    assert metadata["label_names"][3] == "Empathic Pain"
    assert (metadata["label_range"], metadata["clip_options"]) == ([0.0, 1.0], OPTIONS.stored())
    assert metadata["fingerprint"] == report.fingerprint
    has = {
        "vision": lambda example: example["face_found"].any(),
        "audio": lambda example: len(example["audio"]) > 0,
        "text": lambda example: len(example["transcript"]) > 0,
        "labels": lambda example: np.isfinite(example["labels"]).any(),
    }
    assert metadata["available"] == {
        split: {
            what: sum(bool(found(example)) for (part, _), example in _examples(out).items() if part == split)
            for what, found in has.items()
        }
        for split in COUNTS
    }
    assert set(metadata["ceiling"]) == {"train", "test"}  # two clips are too few for a correlation
    assert report.clips == COUNTS
    assert 0.5 < report.faces_found <= 1
    assert "clips left out: 0" in report.summary()
    page = (out / "report.html").read_text()
    assert "Empathic Pain" in page
    assert page.count("data:image/jpeg;base64,") >= 4 * 9
    assert "src=" not in page.replace('src="data:', "")
    assert check_dataset(out) == []


def test_same_corpus_gives_same_fingerprint_and_repeated_call_does_nothing(built, raw_corpus, tmp_path):
    out, report = built
    changed = (out / "emi/1.3.0/metadata.json").stat().st_mtime_ns
    again = {"source": raw_corpus, "counts": COUNTS, "seed": 3, "options": OPTIONS, "processes": 1, "progress": False}
    assert prepare("synthetic", out, **again) == report
    assert (out / "emi/1.3.0/metadata.json").stat().st_mtime_ns == changed
    assert prepare("synthetic", tmp_path, **again).fingerprint == report.fingerprint


def test_broken_and_missing_clips_are_reported_and_others_are_kept(folder, tmp_path):
    out = tmp_path / "out"
    report = prepare("folder", out, source=folder, label_range=(0.0, 100.0), options=OPTIONS, progress=False)
    assert report.clips == {"train": 1, "valid": 1}
    assert [(entry["id"], entry["split"]) for entry in report.left_out] == [("broken", "train"), ("gone", "test")]
    assert "not a readable media file" in report.left_out[0]["why"]
    assert report.left_out[1]["why"] == "no such file"
    assert report.missing == {"vision": 2, "audio": 0, "text": 2}
    examples = _examples(out)
    np.testing.assert_allclose(examples["train", "a"]["labels"], [0.2, np.nan], rtol=1e-6)
    assert len(examples["valid", "b"]["faces"]) == 0
    assert len(examples["valid", "b"]["audio"]) == 8_000
    assert check_dataset(out) == []


def test_changed_files_are_prepared_again(folder, tmp_path):
    out = tmp_path / "out"
    options = {"source": folder, "label_range": (0.0, 100.0), "options": OPTIONS, "progress": False}
    first = prepare("folder", out, **options)
    write_video(folder / "gone.mp4", np.arange(5) / 10, 10, tone(0.6))
    second = prepare("folder", out, **options)
    assert second.clips == {"train": 1, "valid": 1, "test": 1}
    assert second.fingerprint != first.fingerprint
    assert ("test", "gone") in _examples(out)


def test_corpus_without_readable_clips_is_an_error(folder, tmp_path):
    (folder / "a.mp4").unlink()
    (folder / "b.wav").unlink()
    with pytest.raises(
        CorpusError, match=r"no clip that can be read, expected at least one; the first: .*no such file"
    ):
        prepare("folder", tmp_path / "out", source=folder, label_range=(0.0, 100.0), options=OPTIONS, progress=False)
    assert not (tmp_path / "out" / "emi").exists()


def test_check_finds_leaks(tmp_path):
    source = tmp_path / "clips"
    source.mkdir()
    write_video(source / "a.mp4", np.arange(5) / 10, 10, tone(0.6))
    shutil.copy(source / "a.mp4", source / "b.mp4")
    rows = [["a", 0, "train", "s1"], ["b", 0, "test", "s1"]]
    write_table(source / "labels.csv", ["Filename", "Joy", "Split", "Subject"], *rows)
    prepare("folder", tmp_path / "out", source=source, options=OPTIONS, progress=False)
    faults = "\n".join(check_dataset(tmp_path / "out"))
    assert "subject s1: found in test and train, expected in one split" in faults
    assert "same content: found in test b and train a" in faults
    with pytest.raises(CorpusError, match="found no dataset"):
        check_dataset(tmp_path)


def _command(out, raw_corpus, *more):
    counts = ",".join(map(str, COUNTS.values()))
    sizes = ["--clips", counts, "--seed", "3", "--max-frames", "4", "--face-size", "32", "--processes", "1"]
    places = ["--out", str(out), "--source", str(raw_corpus), "--corpus", "synthetic"]
    return [sys.executable, "-m", "data_prep", *places, *sizes, *more]


def test_killed_run_resumes_and_gives_the_same_dataset(built, raw_corpus, tmp_path):
    _, report = built
    process = subprocess.Popen(_command(tmp_path, raw_corpus), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(done := list((tmp_path / "staging").glob("*.safetensors"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()  # not its workers
    process.wait(60)
    assert not (tmp_path / "emi").exists()
    times = {path: path.stat().st_mtime_ns for path in done}
    kept = {path: times[path] for path in (tmp_path / "staging").glob("*.safetensors") if path in times}
    assert len(kept) >= 3

    seen: dict[Path, int] = {}
    finished = subprocess.Popen(
        _command(tmp_path, raw_corpus), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while finished.poll() is None:
        assert time.monotonic() < deadline
        seen |= {path: path.stat().st_mtime_ns for path in kept if path.exists()}
        time.sleep(0.01)
    output = finished.communicate(timeout=60)[0].decode()
    assert finished.returncode == 0
    assert seen == kept
    assert f"fingerprint {report.fingerprint[:12]}" in output
    assert not (tmp_path / "staging").exists()


def test_tensorflow_is_never_imported(raw_corpus, tmp_path):
    code = (
        "import sys, pathlib, tensorflow_datasets as tfds\n"
        "from data_prep.__main__ import main\n"
        "if __name__ == '__main__':\n"
        "    assert main() == 0\n"
        "    builder = tfds.builder_from_directory(sys.argv[2] + '/emi/1.3.0')\n"
        "    assert len([e['audio'] for e in builder.as_data_source('train')]) == 4\n"
        "    print('tensorflow' in sys.modules, 'jax' in sys.modules)\n"
    )
    script = tmp_path / "build.py"
    script.write_text(code)
    arguments = _command(tmp_path, raw_corpus)[3:]
    result = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus=folder"], "error: corpus folder: found no source, expected --source=DIR"),
        (["--corpus=folder", "--source={tmp}"], "error: {tmp}/labels.csv: no such file"),
    ],
)
def test_errors_are_one_line_without_a_traceback(tmp_path, arguments, message):
    command = [sys.executable, "-m", "data_prep", "--out", str(tmp_path / "out")]
    result = subprocess.run(
        command + [argument.format(tmp=tmp_path) for argument in arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(message.format(tmp=tmp_path))
    assert len(result.stderr.splitlines()) == 1
