"""Times of words, from every kind of file that holds them; expected values are computed by hand."""

import json

import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.clips.word_times import Span, time_fault, times_of_words
from data_prep.corpora.folder import read_folder
from data_prep.corpora.transcripts import read_transcripts
from data_prep.errors import CorpusError
from data_prep.media.remarks import WORDS_UNTIMED, Remark
from tests.data_prep.conftest import write_table

WHISPER = {
    "text": " So funny. It is 42 now",
    "segments": [
        {
            "start": 0.5, "end": 1.5, "text": " So funny.",
            "words": [
                {"word": " So", "start": 0.5, "end": 0.75, "probability": 0.9},
                {"word": " funny.", "start": 0.75, "end": 1.5, "probability": 0.9},
            ],
        },
        {
            "start": 2.0, "end": 4.0, "text": " It is 42 now",
            "words": [
                {"word": " It", "start": 2.0, "end": 2.25},
                {"word": " is", "start": 2.25, "end": 2.5},
                {"word": " 42", "start": 2.5, "end": 3.0},
                {"word": " now", "start": 3.5, "end": 4.0},
            ],
        },
    ],
    "language": "en",
}  # fmt: skip
BY_WORD = [(0.5, 0.75), (0.75, 1.5), (2.0, 2.25), (2.25, 2.5), (2.5, 3.0), (3.5, 4.0)]
WHISPERX = {
    "segments": [
        {
            "start": 1.0, "end": 4.0, "text": " 10 of 20",
            "words": [{"word": "10"}, {"word": "of", "start": 2.0, "end": 2.5, "score": 0.8}, {"word": "20"}],
        }
    ],
    "word_segments": [],
    "language": "en",
}  # fmt: skip
CPP = {
    "transcription": [
        {
            "timestamps": {"from": "00:00:00,500", "to": "00:00:01,500"}, "offsets": {"from": 500, "to": 1500},
            "text": " So funny",
            "tokens": [
                {"text": "[_BEG_]", "offsets": {"from": 500, "to": 500}},
                {"text": " So", "offsets": {"from": 500, "to": 700}},
                {"text": " fun", "offsets": {"from": 700, "to": 1000}},
                {"text": "ny", "offsets": {"from": 1000, "to": 1500}},
            ],
        },
        {"offsets": {"from": 2000, "to": 3000}, "text": " ab cdef"},
    ]
}  # fmt: skip
SRT = "1\n00:00:01,000 --> 00:00:02,000\n<i>So</i> funny\nhm\n\n2\n00:00:03,500 --> 00:00:04,000\nyes\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\nab cdef\n"
LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 ! the start
xmax = 3
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 3
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 3
            text = "item [2]: ! ""no comment"""
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 1.5
            mark = "click"
    item [3]:
        class = "IntervalTier"
        name = "Anna - words"
        xmin = 0
        xmax = 3
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "so ""nice"""
        intervals [3]:
            xmin = 1.25
            xmax = 2
            text = "sil"
        intervals [4]:
            xmin = 2
            xmax = 3
            text = "day"
'''
SHORT = """File type = "ooTextFile"
"TextGrid"

0
2
<exists>
1
"IntervalTier"
"said"
0
2
2
0
1
"hi"
1
2
"you"
"""
ELAN = (
    "Anna\t\t00:00:01.000\t1.0\t00:00:02.000\t2.0\t00:00:01.000\t1.0\tso funny\n"
    "Anna\t\t00:00:02.500\t2.5\t00:00:03.000\t3.0\t00:00:00.500\t0.5\tyes\n"
)
ELAN_HEADER = (
    "Begin Time - msec\tEnd Time - msec\tDuration - msec\tAnna words\tgestures\n1000\t2000\t1000\thi\twave\n"
    "2000\t2250\t250\t\tpoint\n2500\t3000\t500\tyou\t\n"
)


@pytest.mark.parametrize(
    ("file", "content", "text", "times"),
    [
        ("a.json", json.dumps(WHISPER), "So funny. It is 42 now", BY_WORD),
        ("a.json", json.dumps({"text": "So funny.", "words": WHISPER["segments"][0]["words"]}), "So funny.",
         BY_WORD[:2]),
        ("a.json", json.dumps(WHISPERX), "10 of 20", [(1.0, 2.0), (2.0, 2.5), (2.5, 4.0)]),
        ("a.json", json.dumps(CPP), "So funny ab cdef", [(0.5, 0.7), (0.7, 1.5), (2.0, 2 + 1 / 3), (2 + 1 / 3, 3.0)]),
        ("a.json", json.dumps([{"start": 1, "end": 2, "text": "ab cdef"}]), "ab cdef",
         [(1.0, 1 + 1 / 3), (1 + 1 / 3, 2.0)]),
        ("a.json", json.dumps({"text": "ab cdef"}), "ab cdef", []),
        ("a.srt", SRT, "So funny hm yes", [(1.0, 1 + 2 / 9), (1 + 2 / 9, 1 + 7 / 9), (1 + 7 / 9, 2.0), (3.5, 4.0)]),
        ("a.vtt", VTT, "ab cdef", [(1.0, 1 + 1 / 3), (1 + 1 / 3, 2.0)]),
        ("a.TextGrid", LONG, 'so "nice" day', [(0.5, 0.6875), (0.6875, 1.25), (2.0, 3.0)]),
        ("a.TextGrid", LONG.replace("Anna - words", "ORT-MAU"), 'so "nice" day',
         [(0.5, 0.6875), (0.6875, 1.25), (2.0, 3.0)]),
        ("a.TextGrid", SHORT.encode("utf-16"), "hi you", [(0.0, 1.0), (1.0, 2.0)]),
        ("a.TextGrid", SHORT.replace("\n", "\r\n"), "hi you", [(0.0, 1.0), (1.0, 2.0)]),
        ("a.tsv", "start\tend\ttext\n500\t1500\tab cdef\n", "ab cdef", [(0.5, 0.5 + 1 / 3), (0.5 + 1 / 3, 1.5)]),
        ("a.tsv", "start\tend\ttext\n", "", []),
        ("a.txt", ELAN, "so funny yes", [(1.0, 1 + 2 / 7), (1 + 2 / 7, 2.0), (2.5, 3.0)]),
        ("a.txt", ELAN_HEADER, "hi you", [(1.0, 2.0), (2.5, 3.0)]),
        ("a.txt", "just\ttwo words", "just\ttwo words", []),
    ],
)  # fmt: skip
def test_times_of_words_are_read(tmp_path, file, content, text, times):
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_transcripts(tmp_path).find("a.mp4")
    assert (found.text, found.untimed) == (text, "")
    assert len(found.times) in (0, len(text.split()))
    np.testing.assert_allclose(np.reshape(found.times, (-1, 2)), np.reshape(times, (-1, 2)))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.TextGrid", SHORT[:-8], "found no complete TextGrid, expected one that Praat saved"),
        ("a.TextGrid", "hello", "found no complete TextGrid"),
        ("a.TextGrid", LONG.replace("Anna - words", "Anna"), "found the tiers phones, Anna, expected a single one, or"),
        ("a.txt", ELAN.replace("Anna", "Ben", 1), "found the tiers Ben, Anna, expected a single one"),
        ("a.tsv", "time\tx\ty\tz\n0.1\t0.5\t-0.2\t1e-05\n", "found no rows with start, end and words"),
        ("a.tsv", "name\tjoy\tanger\nx\t0.1\tno\n", "found no rows with start, end and words"),
    ],
)
def test_files_without_clear_words_are_named(tmp_path, file, content, message):
    (tmp_path / file).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_transcripts(tmp_path).find("a.mp4")


def test_tables_next_to_clips_are_words_only_if_they_hold_times(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.tsv").write_text("start\tend\ttext\n0\t1000\thi\n")
    (tmp_path / "other.tsv").write_text("Filename\tJoy\nx\t0.1\n")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a", 0.5])
    corpus = read_folder(tmp_path)
    assert (corpus.clips[0].transcript, corpus.clips[0].word_times) == ("hi", ((0.0, 1.0),))
    assert not [note for note in corpus.notes if "without a clip" in note]


def test_times_that_do_not_fit_the_words_are_dropped_with_a_remark(tmp_path):
    (tmp_path / "a.mp4").touch()
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a", 0.5])
    (tmp_path / "a.json").write_text(json.dumps(WHISPER | {"text": "so funny"}))
    (clip,) = read_folder(tmp_path).clips
    assert (clip.transcript, clip.word_times) == ("so funny", ())
    assert clip.remarks == (Remark(WORDS_UNTIMED, "the timed pieces do not spell the transcript"),)


def test_an_example_holds_times_only_for_known_words():
    options = ClipOptions(max_frames=2, face_size=32, detector="haar")
    example = read_clip(ClipSource("a", transcript=" hi you ", word_times=((0.0, 0.5), (0.5, 1.0))), options).example
    np.testing.assert_array_equal(example["word_times"], np.array([[0, 0.5], [0.5, 1]], np.float32), strict=True)
    unknown = read_clip(ClipSource("a", transcript="hi"), options).example["word_times"]
    assert (unknown.shape, unknown.dtype) == ((0, 2), np.float32)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span("hi", 0.0, float("inf"))], "word times that are not finite"),
        ([Span("hi", 1.0, 0.5)], "a word that starts before 0 s or ends before it starts"),
        ([Span("hi", -1.0, 0.5)], "a word that starts before 0 s"),
        ([Span("h", 1.0, 2.0), Span("i", 0.5, 3.0)], "do not spell"),
    ],
)
def test_impossible_times_are_refused(spans, message):
    text = "hi" if len(spans) == 1 else "h j"
    with pytest.raises(ValueError, match=message):
        times_of_words(text, spans)


def test_times_of_overlapping_speakers_are_allowed_and_descending_ones_are_not():
    assert time_fault([(0.0, 2.0), (1.0, 1.5)]) == ""
    assert time_fault([(1.0, 2.0), (0.5, 3.0)]) == "words that are not in order of time"
