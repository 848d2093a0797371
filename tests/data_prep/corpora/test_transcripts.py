"""The words of clips in every supported form."""

import json

import pytest

from data_prep.corpora.transcripts import read_transcripts
from data_prep.errors import CorpusError

SRT = """1
00:00:01,000 --> 00:00:02,000
{\\an8}<i>So</i> funny
2

2
00:00:03,000 --> 00:00:04,000
3 < 4 &amp; 5
""".replace("\n", "\r\n")
VTT = """WEBVTT - title
Kind: captions

NOTE a comment
over two lines

STYLE
::cue { color: red }

cue 1
00:00.500 --> 00:01.500 align:start
<v Anna>So <i>funny</i> &amp; <00:00:01.000><c>nice</c>

00:01:02.000 --> 00:01:03.000
- bye
"""
WHISPER = {"text": " So funny. ", "segments": [{"id": 0, "text": " So funny."}], "language": "en"}
WHISPERX = {"segments": [{"text": " So"}, {"text": " funny. "}], "word_segments": [], "language": "en"}


def words(transcripts, *names):
    found = transcripts.find(*names)
    return found and found.text


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "records.json"])
def test_words_are_read_by_name_from_tables_and_json(tmp_path, name):
    path = tmp_path / name
    path.write_text(
        {
            "t.csv": 'Filename,Transcript\n00001.mp4,"So, you won!"\nx.y.wav,caf\u00e9\n',
            "t.tsv": "file\ttext\n00001.mp4\tSo, you won!\nx.y.wav\tcaf\u00e9\n",
            "t.json": '{"00001": "So, you won!", "x.y.mp4": "caf\u00e9"}',
            "records.json": '[{"clip": "1", "words": "So, you won!"}, {"clip": "x.y", "words": "caf\u00e9"}]',
        }[name],
        encoding="utf-8",
    )
    transcripts = read_transcripts(path)
    assert words(transcripts, "00001.mp4") == "So, you won!"
    assert words(transcripts, "x.y.mp4") == "caf\u00e9"
    assert words(transcripts, "z.mp4") is None
    assert transcripts.unmatched() == []


def test_json_by_name_may_hold_whisper_output(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"a": WHISPER, "b.wav": WHISPERX}))
    transcripts = read_transcripts(tmp_path / "t.json")
    assert [words(transcripts, name) for name in ("a.mp4", "b.wav")] == ["So funny.", "So funny."]


@pytest.mark.parametrize(
    ("file", "content", "right"),
    [
        ("a.txt", "So funny\n", "So funny"),
        ("a.mp4.txt", "So funny", "So funny"),
        ("A.TXT", "So funny", "So funny"),
        ("a.json", json.dumps(WHISPER), "So funny."),
        ("a.json", json.dumps(WHISPERX), "So funny."),
        ("a.json", json.dumps(WHISPERX["segments"]), "So funny."),
        ("a.srt", SRT, "So funny 2 3 < 4 & 5"),
        ("a.vtt", VTT, "So funny & nice - bye"),
        ("a.vtt", "WEBVTT\n", ""),
        ("a.txt", "\n", ""),
    ],
)
def test_words_are_read_from_one_file_per_clip(tmp_path, file, content, right):
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert words(read_transcripts(tmp_path), "a.mp4") == right


def test_text_file_takes_precedence_over_other_files_of_a_clip(tmp_path):
    for ending in ("vtt", "json", "txt", "srt", "tsv"):
        (tmp_path / f"a.{ending}").write_text("from the text" if ending == "txt" else "{}")
    transcripts = read_transcripts(tmp_path)
    assert words(transcripts, "a.mp4") == "from the text"
    assert transcripts.unmatched() == []


@pytest.mark.parametrize(
    ("text", "stored", "encoding"),
    [
        ("so funny", "utf-8-sig", ""),
        ("", "utf-8-sig", ""),
        ("so funny", "utf-16", ""),
        ("so funny", "utf-16-le", "utf-16-le"),
        ("so funny", "utf-16-be", "utf-16-be"),
        ("caf\u00e9 \u2013 it\u2019s so funny", "cp1252", "cp1252"),
        ("ma\u00f1ana", "latin-1", "cp1252"),
        ("Это очень смешно, правда", "cp1251", "cp1251"),
        ("とても面白いです、本当に", "cp932", "cp932"),
        ("这个很有趣，我非常喜欢它", "gb18030", "gb18030"),
    ],
)
def test_words_in_other_encodings_are_read_and_guesses_reported(tmp_path, text, stored, encoding):
    (tmp_path / "a.txt").write_bytes(text.encode(stored))
    found = read_transcripts(tmp_path).find("a.wav")
    assert (found.text, found.encoding) == (text, encoding)


def test_words_that_match_no_clip_are_reported(tmp_path):
    (tmp_path / "t.csv").write_text("Filename,Transcript\n1,a\n2,b\n3,c\n")
    transcripts = read_transcripts(tmp_path / "t.csv")
    assert words(transcripts, "00002.mp4") == "b"
    assert transcripts.unmatched() == [f"2 transcripts in {tmp_path / 't.csv'} without a clip: 1, 3"]


def test_words_of_two_files_of_one_stem_are_kept_apart(tmp_path):
    (tmp_path / "t.json").write_text('{"a.mp4": "seen", "a.wav": "heard"}')
    transcripts = read_transcripts(tmp_path / "t.json")
    assert [words(transcripts, name) for name in ("a.mp4", "a.wav")] == ["seen", "heard"]


def test_words_that_match_a_clip_twice_are_an_error(tmp_path):
    (tmp_path / "t.json").write_text('{"01": "one", "001": "other"}')
    with pytest.raises(CorpusError, match=r"t.json: clip '1' matches 001 and 01; keep the words of one of them"):
        read_transcripts(tmp_path / "t.json").find("1")


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "{",
        '{"a": 1}',
        '{"a": "\\ud800"}',
        '{"a": "1", "a": "2"}',
        '[{"a": 1}]',
        '{"a": {"words": 1}}',
        "[" * 100_000,
    ],
)
def test_invalid_json_transcripts_are_an_error(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=r"t.json.*: found .*expected"):
        read_transcripts(path)


@pytest.mark.parametrize("text", ["{}", '{"text": 1}', '{"segments": [1]}', '{"text": "\\ud800"}'])
def test_invalid_json_of_a_clip_is_an_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CorpusError, match=r"a.json: found .*expected"):
        read_transcripts(tmp_path).find("a.mp4")


def test_a_folder_without_words_is_an_error(tmp_path):
    (tmp_path / "a.pdf").touch()
    with pytest.raises(CorpusError, match=r"found no transcript, expected files named NAME\.txt"):
        read_transcripts(tmp_path)


CUES = "1\n00:00:00,000 --> 00:00:01,000\n{}\n2\n00:00:01,000 --> 00:00:02,000\n{}\n"


@pytest.mark.parametrize(
    ("file", "text", "right"),
    [
        ("a.srt", CUES.format("- 5 < 6 and 7 > 3", "so"), "- 5 < 6 and 7 > 3 so"),
        ("a.srt", CUES.format("one\n\nafter a blank line\n", "two"), "one after a blank line two"),
        ("a.srt", "", ""),
        ("a.srt", CUES.format("no", "no"), "no no"),
        ("a.srt", "1\n0:0:0.0 --> 0:0:1.0\nHi\n2\n00:00:01 --> 00:00:02\nyou\n", "Hi you"),
        (
            "a.vtt",  # roll-up captions
            "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n\n00:01.000 --> 00:01.010\nhello\n\n"
            "00:01.010 --> 00:02.000\nhello\nwor<00:00:01.500><c>ld</c>\n\n00:02.000 --> 00:03.000\nworld\nagain\n",
            "hello world again",
        ),
        ("a.txt", "[00:00.000 --> 00:01.000]  Hello there\n", "Hello there"),
        ("a.txt", "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u0438 \u0442\u044b".encode("utf-16-le"),
         "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u0438 \u0442\u044b"),
        ("a.json", '{"result": {"language": "en"}, "transcription": [{"text": " Hi"}, {"text": " you"}]}', "Hi you"),
    ],
)  # fmt: skip
def test_words_are_read_from_unusual_files(tmp_path, file, text, right):
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words(read_transcripts(tmp_path), "a.mp4") == right


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("a.srt", b"just words\n", "a.srt: found no times, expected subtitles"),
        ("a.txt", bytes(100), "a.txt: found 100 control characters, expected text"),
        ("a.txt", b"he\0llo, this is a damaged file", "a.txt: found a zero character"),
        ("a.json", b'{"text": "he\\u0000llo"}', "a.json: found a zero character"),
        ("a.txt", b"%PDF-1.4\n", "a.txt: found a spreadsheet, document or archive"),
    ],
)
def test_files_without_words_are_named(tmp_path, file, data, message):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        read_transcripts(tmp_path).find("a.mp4")


@pytest.mark.parametrize(
    "file", ["a.en.srt", "a.eng.srt", "a.en-US.srt", "a.mp4.pt_BR.srt", "A.EN.srt", "a.zh-Hans.srt"]
)
def test_words_in_one_language_may_have_its_code_in_their_name(tmp_path, file):
    (tmp_path / file).write_text(SRT)
    transcripts = read_transcripts(tmp_path)
    assert words(transcripts, "a.mp4") == "So funny 2 3 < 4 & 5"
    assert transcripts.unmatched() == []


@pytest.mark.parametrize("file", ["a.sad.srt", "a.en.final.srt", ".en.srt", "b.en.srt", "a.en-.srt"])
def test_other_parts_of_names_are_no_languages(tmp_path, file):
    (tmp_path / file).write_text(SRT)
    (tmp_path / "c.txt").write_text("c")
    assert words(read_transcripts(tmp_path), "a.mp4") is None


def test_words_in_several_languages_are_named_and_not_read(tmp_path):
    for name in ("a.de.srt", "a.en.srt", "b.en.vtt"):
        (tmp_path / name).write_text(SRT if name.endswith("srt") else VTT)
    transcripts = read_transcripts(tmp_path)
    assert words(transcripts, "a.mp4") is None
    assert words(transcripts, "b.mp4") == "So funny & nice - bye"
    (note,) = transcripts.unmatched()
    assert "1 clip in" in note
    assert "with words in several languages, of which none are read: a.de, a.en the first" in note


def test_words_of_the_clips_own_name_come_before_those_with_a_language(tmp_path):
    (tmp_path / "a.txt").write_text("own")
    (tmp_path / "a.en.txt").write_text("English")
    transcripts = read_transcripts(tmp_path)
    assert words(transcripts, "a.mp4") == "own"
    assert words(transcripts, "a.en.mp4") == "English"
    assert transcripts.unmatched() == []
