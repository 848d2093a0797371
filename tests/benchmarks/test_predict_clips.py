"""The speed measurement of prediction, here with the demo's encoders."""

from benchmarks.compiled import predict_clips
from data_prep.corpora.new_clips import find_clips
from tests.data_prep.conftest import tone, write_video


def test_a_folder_of_clips_is_measured(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    write_video(clips / "a.mp4", [0.04 * n for n in range(25)], sound=tone(1.0))
    predictor = predict_clips.open_predictor(str(tmp_path / "run"), "float32", None, preset="demo")
    sources = find_clips(clips).clips
    first, again = (predict_clips.measure(predictor, sources).split("|")[1:-1] for _ in range(2))
    count, seconds, compiled = map(float, first[:3])
    assert (count, seconds) == (1, 1.0)
    assert compiled > 0
    assert float(again[2]) == 0  # the same shapes are not compiled again
