import csv
import dataclasses

import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.detectors import haar
from data_prep.clips.options import ClipOptions
from data_prep.corpora.synthetic import read_synthetic, write_synthetic
from data_prep.errors import CorpusError
from data_prep.synthetic.face import render_frames
from data_prep.synthetic.plan import Defects, plan_corpus
from data_prep.synthetic.video import write_clip
from data_prep.synthetic.voice import _HOP, _WINDOW, RATE, _filter, render_voice
from tests.data_prep.conftest import COUNTS

HEADER = "Filename,Admiration,Amusement,Determination,Empathic Pain,Excitement,Joy"
CLEAN = Defects(missing="", occluder="", occluded=(0.0, 0.0), snr_db=np.inf)


@pytest.fixture(scope="module")
def plans():
    return [dataclasses.replace(plan, defects=CLEAN) for plan in plan_corpus({"train": 30}, seed=5)]


def test_layout_is_vidmimic2(raw_corpus):
    assert len(list((raw_corpus / "raw").iterdir())) == sum(COUNTS.values())
    for split, count in COUNTS.items():
        lines = (raw_corpus / f"{split}_split.csv").read_text().splitlines()
        assert lines[0] == HEADER
        assert len(lines) == 1 + count
    with (raw_corpus / "truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    assert [row["Filename"] for row in truth] == [f"{n:05d}" for n in range(1, 10)]
    assert {path.stem for path in (raw_corpus / "raw").iterdir()} == {row["Filename"] for row in truth}


def test_same_seed_gives_the_same_files(plans, tmp_path):
    (tmp_path / "again").mkdir()
    for plan in plans[:2]:
        write_clip(plan, tmp_path)
        write_clip(plan, tmp_path / "again")
        assert (tmp_path / f"{plan.id}.mp4").read_bytes() == (tmp_path / "again" / f"{plan.id}.mp4").read_bytes()


def test_a_seed_keeps_its_content(plans):
    """The demo's scores hold for this content; other content needs another `data_prep.corpora.synthetic.VERSION`."""
    picture, sound = render_frames(plans[1])[10], render_voice(plans[1])
    brightness = [[148, 143.2, 139.6, 141.2], [150.4, 151.9, 155.9, 138.1]]
    brightness += [[149.2, 176.4, 182, 146.4], [143.9, 137, 138.8, 153.9]]
    np.testing.assert_allclose(picture.reshape(4, 40, 4, 40, 3).mean((1, 3, 4)), brightness, atol=0.1)
    spectrum, hertz = np.abs(np.fft.rfft(sound.astype(float))) ** 2, np.fft.rfftfreq(len(sound), 1 / RATE)
    octaves = np.split(spectrum, np.searchsorted(hertz, [250, 500, 1000, 2000, 4000]))
    levels = [10 * np.log10(octave.sum()) for octave in octaves]
    np.testing.assert_allclose(levels, [74.49, 66.79, 61.21, 48.07, 48.84, 36.52], atol=0.02)


def test_a_gain_for_all_frequencies_scales_the_sound():
    source = np.random.default_rng(0).standard_normal(5000)
    frames = -(-len(source) // _HOP) + 1
    filtered = _filter(source, np.full((frames, _WINDOW // 2 + 1), 0.5, np.float32))
    inner = slice(_WINDOW, -_WINDOW)  # fewer windows overlap at the ends
    np.testing.assert_allclose(filtered[inner], 0.5 * source[inner], atol=1e-5)


def test_writing_resumes_after_a_stop_and_keeps_finished_clips(tmp_path):
    write_synthetic(tmp_path / "c", {"train": 2}, seed=1)
    clips = sorted((tmp_path / "c" / "raw").iterdir())
    kept, content = clips[0].stat().st_mtime_ns, clips[1].read_bytes()
    clips[1].unlink()
    write_synthetic(tmp_path / "c", {"train": 2}, seed=1)
    assert clips[0].stat().st_mtime_ns == kept
    assert clips[1].read_bytes() == content


def test_writing_refuses_to_mix_two_corpora(raw_corpus, tmp_path):
    with pytest.raises(CorpusError, match="delete"):
        write_synthetic(raw_corpus, COUNTS, seed=4)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(CorpusError, match="empty or missing folder"):
        write_synthetic(tmp_path, COUNTS, seed=3)


def test_ceiling_is_computed_from_the_true_intensities(raw_corpus):
    corpus = read_synthetic(raw_corpus)
    with (raw_corpus / "truth.csv").open() as file:
        expected = {row["Filename"]: float(row["Expected Admiration"]) for row in csv.DictReader(file)}
    with (raw_corpus / "train_split.csv").open() as file:
        labels = {row["Filename"]: float(row["Admiration"]) for row in csv.DictReader(file)}
    rho = np.corrcoef([expected[name] for name in labels], list(labels.values()))[0, 1]
    assert corpus.ceiling["train"]["Admiration"] == pytest.approx(rho, abs=1e-4)


def test_faces_are_found_by_the_cascades(plans):
    finder = haar()
    frames = [frame for plan in plans[:15] for frame in render_frames(plan)[::20]]
    assert np.mean([bool(finder(frame)) for frame in frames]) >= 0.97


def test_detector_skips_faces_below_the_requested_size(plans):
    finder, frame = haar(), render_frames(plans[0])[0]
    side = max(box.side for box in finder(frame))
    assert [box.side for box in finder(frame, 0.5 * side)] == [side]
    assert side not in [box.side for box in finder(frame, 1.5 * side)]


def test_empty_scene_has_no_face(plans):
    frames = render_frames(dataclasses.replace(plans[0], defects=dataclasses.replace(CLEAN, missing="face")))
    assert not haar()(frames[0])


def test_joy_bends_the_mouth(plans):
    still = dict.fromkeys(plans[0].face, 0.0)
    pictures = [
        render_frames(dataclasses.replace(plans[0], face=still | {"Joy": joy}))[-20].astype(int) for joy in (0.0, 1.0)
    ]
    change = np.abs(pictures[1] - pictures[0]).sum(axis=(1, 2))
    assert change[95:130].sum() > 5 * change[40:80].sum()


def test_excitement_raises_the_pitch(plans):
    still = dict.fromkeys(plans[0].voice, 0.0)
    calm, excited = (
        _pitch(render_voice(dataclasses.replace(plans[0], voice=still | {"Excitement": value}))) for value in (0.0, 1.0)
    )
    assert excited > 1.2 * calm


def test_noise_has_the_stated_level(plans):
    clean = render_voice(plans[0])
    noisy = render_voice(dataclasses.replace(plans[0], defects=dataclasses.replace(CLEAN, snr_db=3.0)))
    assert 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2)) == pytest.approx(3.0, abs=0.5)


def test_a_written_clip_is_read_back(plans, tmp_path):
    write_clip(plans[0], tmp_path)
    source = ClipSource(id=plans[0].id, video=tmp_path / f"{plans[0].id}.mp4")
    example = read_clip(source, ClipOptions(max_frames=8, face_size=48, detector="haar")).example
    assert len(example["faces"]) == 8
    assert len(example["audio"]) == pytest.approx(16_000 * plans[0].seconds, abs=2048)
    heard, meant = example["audio"] / 32768, render_voice(plans[0])[:: RATE // 8000]
    assert np.std(heard) == pytest.approx(np.std(meant), rel=0.1)


def _pitch(sound: np.ndarray) -> float:
    """The pitch in Hz: the strongest periodicity between 70 and 450 Hz, by autocorrelation of the middle second."""
    middle = len(sound) // 2
    piece = sound[middle - RATE // 4 : middle + RATE // 4]
    spectrum = np.abs(np.fft.rfft(piece, 2 * len(piece))) ** 2
    correlation = np.fft.irfft(spectrum)
    lags = np.arange(RATE // 450, RATE // 70)
    return RATE / lags[np.argmax(correlation[lags])]
