"""The command line: options are checked before any work, errors are one line, each exit code has one meaning."""

import errno
import re
import sys
import types
from pathlib import Path

import pytest

from data_prep import __main__ as program
from data_prep.build import prepare
from data_prep.build.room import check_room
from data_prep.clips.clip import ClipSource
from data_prep.clips.options import ClipOptions
from data_prep.command import INTERNAL_ERROR, clip_options, parse, run_command
from data_prep.corpora.feature_files import FeatureRequest
from data_prep.corpora.reading import CORPORA
from data_prep.errors import CorpusError
from tests.data_prep.conftest import tone, write_table, write_video


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["data_prep", *map(str, arguments)])
    return program.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes=0"], "argument --processes: found '0', expected a whole number of at least 1"),
        (["--processes=-1"], "at least 1"),
        (["--max-frames=0"], "argument --max-frames: found '0'"),
        (["--max-frames=1_0"], "found '1_0'"),
        (["--max-seconds=nan"], "found 'nan', expected a number"),
        (["--max-seconds=-1"], "argument --max-seconds"),
        (["--face-size=-3"], "argument --face-size"),
        (["--time-limit=-1"], "argument --time-limit"),
        (["--time-limit=inf"], "argument --time-limit"),
        (["--seed=x"], "argument --seed"),
        (["--clips=1,2"], "found '1,2', expected 3 whole numbers"),
        (["--clips=1,2,-3"], "expected 3 whole numbers"),
        (["--corpus=folder", "--label-range=0;100"], "found '0;100', expected a lower and a higher number"),
        (["--corpus=folder", "--label-range=0,inf"], "argument --label-range"),
        (["--corpus=folder", "--label-range=1,0"], "argument --label-range"),
        (["--corpus=folder", "--label-columns=Joy,"], "argument --label-columns"),
        (["--out="], "found nothing, expected a path"),
        (["--out=~nobody-of-that-name/x"], "argument --out"),
        (["--corpus=fodler"], "invalid choice: 'fodler'"),
        (["--proc=2"], "unrecognized arguments"),
        (["--source=x"], "--source needs --corpus"),
        (["--labels=x"], "--labels needs --corpus"),
        (["--corpus=vidmimic2", "--labels=x"], "--labels does nothing with --corpus=vidmimic2, only with folder"),
        (["--corpus=vidmimic2", "--label-range=0,100"], "--label-range does nothing"),
        (["--corpus=synthetic", "--recursive"], "--recursive does nothing"),
        (["--transcripts=x"], "--transcripts does nothing with --corpus=synthetic, only with folder and vidmimic2"),
        (["--corpus=folder", "--clips=1,1,1"], "--clips does nothing with --corpus=folder"),
        (["--corpus=folder", "--seed=1"], "--seed does nothing"),
        (["--corpus=cremad", "--ratings=both"], "argument --ratings: invalid choice: 'both'"),
        (["--corpus=ravdess", "--ratings=face"], "--ratings does nothing with --corpus=ravdess, only with cremad"),
        (["--corpus=cremad", "--vocal=song"], "--vocal does nothing with --corpus=cremad, only with ravdess"),
        (["--corpus=cremad", "--ratings=voice", "--face-size=64"], "--face-size does nothing with --ratings=voice"),
        (["--corpus=cremad", "--ratings=voice", "--detector=haar"], "--detector does nothing with --ratings=voice"),
        (["--detector-model=x"], "--detector-model does nothing without --detector=yunet"),
        (["--corpus=folder", "--detector=haar", "--detector-model=x"], "--detector-model does nothing without"),
        (["--corpus=folder", "--margin=-0.1"], "argument --margin: found '-0.1', expected a number of at least 0"),
        (["--corpus=folder", "--align=eyes"], "argument --align: invalid choice: 'eyes'"),
        (["--corpus=folder", "--face=first"], "argument --face: invalid choice: 'first'"),
        (["--corpus=meld", "--transcripts=x"], "--transcripts does nothing with --corpus=meld"),
        (
            ["--corpus=ravdess", "--asr=tiny"],
            "--asr does nothing with --corpus=ravdess, only with folder and vidmimic2",
        ),
        (["--check=x", "--corpus=folder", "--source=y", "--asr=tiny"], "--asr does nothing with --check"),
        (["--features=x"], "found 'x', expected vision=..., audio=..., text=..."),
        (["--features=taste=x"], "argument --features: found 'taste=x', expected vision=..., audio=..., text=..."),
        (["--features=vision="], "argument --features: found nothing, expected a path"),
        (["--features=vision=x", "--features=vision=y"], "--features vision=y: vision features are given already"),
        (["--feature-rate=25"], "--feature-rate: expected once for each of --features, found no features"),
        (["--features=vision=x", "--feature-rate=audio=25"], "expected once for each of --features, found audio"),
        (["--features=vision=x", "--feature-rate=0"], "argument --feature-rate: found '0', expected a number"),
        (
            ["--features=vision=x", "--features=text=y", "--feature-columns=AU*"],
            "--feature-columns must name one of vision, text, as in --feature-columns=vision=...",
        ),
        (["--features=vision=x", "--face-size=64"], "--face-size does nothing with --features=vision=..., which"),
        (["--corpus=folder", "--features=text=x", "--asr=tiny"], "--asr does nothing with --features=text=..."),
        (["--check=x", "--features=vision=y"], "--features does nothing with --check"),
        (["--asr-language=en"], "--asr-language does nothing without --asr"),
        (["--check=x", "--out=y"], "--out does nothing with --check"),
        (["--check=x", "--corpus=folder"], "--corpus does nothing with --check unless --source"),
        (["--check=x", "--corpus=folder", "--source=y", "--processes=2"], "--processes does nothing with --check"),
    ],
)
def test_invalid_option_is_a_one_line_error_with_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_detector_of_real_clips_finds_landmarks():
    drawn, real = clip_options(parse([])), clip_options(parse(["--corpus=folder"]))
    assert (drawn.detector, drawn.margin, drawn.face_size, drawn.face) == ("haar", 0.0, 64, "only")
    assert (real.detector, real.margin, real.align, real.face) == ("yunet", 0.1, "landmarks", "largest")
    given = ["--detector-model=m.onnx", "--align=none", "--margin=0", "--face=speaking"]
    chosen = clip_options(parse(["--corpus=folder", *given]))
    assert (chosen.detector_path, chosen.align, chosen.margin, chosen.face) == ("m.onnx", "none", 0.0, "speaking")


def test_a_missing_face_model_is_a_one_line_error(clips, tmp_path, monkeypatch, capsys):
    missing = f"--detector-model={tmp_path / 'no.onnx'}"
    assert run(monkeypatch, "--corpus=folder", f"--source={clips}", f"--out={tmp_path / 'out'}", missing) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {missing}: No such file or directory; expected face_detection_yunet")
    assert len(error.splitlines()) == 1


def test_options_unsupported_by_a_command_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--check=x"], without=("check",))
    assert "this command has no option --check" in capsys.readouterr().err


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    arguments = parse(["--corpus=folder", "--out=~/emi", "--source=~/clips", "--labels=~/l.csv", "--transcripts=~/t"])
    paths = (arguments.out, arguments.source, arguments.labels, arguments.transcripts)
    assert paths == tuple(Path("/somewhere", name) for name in ("emi", "clips", "l.csv", "t"))


@pytest.mark.parametrize("option", ["--out=gs://bucket/x", "--features=vision=s3://bucket/x"])
def test_a_url_is_not_made_into_a_folder(option, capsys):
    with pytest.raises(SystemExit):
        parse([option])
    assert "://bucket/x': expected a local path; copy or mount it, and give its path" in capsys.readouterr().err


def test_features_of_several_modalities_have_their_own_columns_and_rates():
    arguments = ["--features=vision=~/f", "--features=text=t=1", "--feature-columns=vision=AU*_r,pose_*"]
    found = parse([*arguments, "--feature-rate=text=2.5"]).features
    assert found == {
        "vision": FeatureRequest(Path("~/f").expanduser(), ("AU*_r", "pose_*")),
        "text": FeatureRequest(Path("t=1"), rate=2.5),
    }
    (vision,) = parse(["--features=vision=f", "--feature-columns=AU*", "--feature-rate=25"]).features.values()
    assert (vision.columns, vision.rate) == (("AU*",), 25)


def test_every_option_is_explained(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = re.split(r"\n  (?=-)", text.split("options:")[1].rstrip())[1:]
    assert len(options) > 15
    for option in options:
        assert len(option.split()) > 6, option
    assert all(corpus in text for corpus in CORPORA)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CorpusError("bad\ntable\x1b[2J"), 2, "error: bad table\\x1b[2J\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "error: No space left on device: /x\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes\n"),
    ],
)
def test_errors_are_printed_as_one_line(error, code, text, capsys):
    def fail():
        raise error

    assert run_command(fail) == code
    assert capsys.readouterr().err == text


def test_internal_error_is_not_reported_as_a_data_error(capsys):
    assert run_command(lambda: 1 // 0) == INTERNAL_ERROR
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.wav", None, sound=tone(0.3), codecs=("", "pcm_s16le"))
    write_table(folder / "labels.csv", ["Filename", "Joy"], ["a", 0.5])
    return folder


@pytest.mark.parametrize(
    ("out", "reason"), [("/dev/null/x", "Not a directory"), ("/proc/nope", "No such file or directory")]
)
def test_unwritable_out_is_a_one_line_error(clips, out, reason, monkeypatch, capsys):
    assert run(monkeypatch, "--corpus=folder", f"--source={clips}", f"--out={out}") == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1


def test_too_small_a_disk_is_reported_before_any_clip_is_read(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("data_prep.build.room.shutil.disk_usage", lambda folder: types.SimpleNamespace(free=5_000))
    monkeypatch.setattr(prepare, "map_clips", lambda *arguments: pytest.fail("a clip was read"))
    arguments = ["--corpus=folder", "--detector=haar", f"--source={clips}", f"--out={tmp_path / 'out'}"]
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert "out: 1 clips need at least 19.2 kB, 5.0 kB are free on this disk; make room, or choose" in error


@pytest.mark.parametrize("option", ["--labels", "--transcripts"])
def test_folder_in_place_of_a_file_is_a_one_line_error(option, clips, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["--corpus=folder", f"--source={clips}", f"{option}={tmp_path / 'empty'}", f"--out={tmp_path / 'out'}"]
    assert run(monkeypatch, *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_missing_dataset_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, f"--check={tmp_path}") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: found no dataset")


def test_checking_writes_nothing(built, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, f"--check={built[0]}") == 0
    assert run(monkeypatch, f"--check={built[0]}", "--corpus=synthetic", f"--source={tmp_path}") == 2
    assert "found no synthetic corpus" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_repeated_call_says_so_and_rewrites_a_lost_report(clips, tmp_path, monkeypatch, capsys):
    arguments = ["--corpus=folder", "--detector=haar", f"--source={clips}", f"--out={tmp_path / 'out'}"]
    assert run(monkeypatch, *arguments) == 0
    assert "already prepared" not in capsys.readouterr().out
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out.startswith("already prepared from the same files with the same options")
    (tmp_path / "out/report.json").write_text('{"corp')
    assert run(monkeypatch, *arguments) == 0
    assert "already prepared" not in capsys.readouterr().out
    assert run(monkeypatch, f"--check={tmp_path / 'out'}") == 0


def test_disk_that_is_probably_too_small_causes_a_warning(tmp_path, monkeypatch, caplog):
    video = write_video(tmp_path / "a.mp4", [k / 25 for k in range(50)], sound=tone(2.0))
    monkeypatch.setattr("data_prep.build.room.shutil.disk_usage", lambda folder: types.SimpleNamespace(free=200_000))
    check_room(tmp_path, [ClipSource("a", video)], ClipOptions(detector="haar"))
    assert "1 clips with a face take about 1.1 MB, 200.0 kB are free" in caplog.text
