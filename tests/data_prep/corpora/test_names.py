import os
import unicodedata

import av
import pytest

from data_prep.corpora.endings import MEDIA_ENDINGS, media_ending, without_media_ending
from data_prep.corpora.media_files import list_media
from data_prep.corpora.names import AmbiguousNameError, NameIndex, clip_ids
from data_prep.errors import CorpusError


def find(name, *names):
    found = NameIndex({own: own.upper() for own in names}).find(name)
    assert found is None or found[1] == found[0].upper()
    return found and found[0]


@pytest.mark.parametrize(
    ("name", "disk", "right"),
    [
        ("a.wav", ["a.mp4", "a.wav"], "a.wav"),  # the ending decides
        ("a", ["a.mp4", "a.wav"], "a.mp4"),  # without an ending, the video wins
        ("a.flac", ["a.mp4", "a.wav"], "a.wav"),  # another sound file
        ("clip1.mp4", ["clip1.MP4"], "clip1.MP4"),
        ("CLIP1", ["clip1.MP4"], "clip1.MP4"),
        ("clip1.avi", ["clip1.mp4"], "clip1.mp4"),
        ("A.mp4", ["a.mp4", "A.mp4"], "A.mp4"),  # an exact match wins
        ("1", ["00001.mp4", "00010.mp4"], "00001.mp4"),
        ("1.0", ["00001.mp4"], "00001.mp4"),
        ("00001", ["1.mp4"], "1.mp4"),
        ("0", ["00000.mp4"], "00000.mp4"),
        ("anna.happy", ["anna.happy.mp4", "anna.sad.mp4"], "anna.happy.mp4"),
        ("v1.5", ["v1.5.mp4", "v1.mp4"], "v1.5.mp4"),
        ("take.2.mov", ["take.2.mov"], "take.2.mov"),
        ("x.ts", ["x.ts.mp4"], "x.ts.mp4"),
        ("Andr\u00e9", [unicodedata.normalize("NFD", "Andr\u00e9.mp4")], "Andre\u0301.mp4"),
        (unicodedata.normalize("NFD", "\u30ac\u30fc\u30eb"), ["\u30ac\u30fc\u30eb.mp4"], "\u30ac\u30fc\u30eb.mp4"),
        ("Andr\u00e9", [os.fsdecode(b"Andr\xe9.mp4")], "Andr\udce9.mp4"),  # bytes that are not UTF-8
        ("at 10.15.22 PM", ["at 10.15.22\u202fPM.mov"], "at 10.15.22\u202fPM.mov"),
        ("a\u3000b", ["a b.mp4"], "a b.mp4"),
        ("-x", ["-x.mp4"], "-x.mp4"),
        ("12:30", ["12:30.mp4"], "12:30.mp4"),
        ("b", ["a.mp4"], None),
        ("P1", ["P001.mp4"], None),  # only plain numbers may lack leading zeros
    ],
)
def test_inexact_name_finds_the_intended_file(name, disk, right):
    assert find(name, *disk) == right


@pytest.mark.parametrize(
    ("name", "disk", "candidates"),
    [
        ("take", ["take.mov", "take.mkv", "other.mkv"], ("take.mkv", "take.mov")),
        ("a.MP4", ["a.mp4", "A.mp4"], ("A.mp4", "a.mp4")),
        ("1", ["001.mp4", "00001.mp4"], ("00001.mp4", "001.mp4")),
    ],
)
def test_ambiguous_name_lists_its_candidates(name, disk, candidates):
    with pytest.raises(AmbiguousNameError) as caught:
        find(name, *disk)
    assert caught.value.candidates == candidates


def test_unmatched_names_have_similar_candidates():
    assert NameIndex({"anna_01.mp4": 1, "bob.mp4": 2}).nearest("ana_01.mp4") == ["anna_01.mp4"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("00001.mp4", "00001"), ("a", "a"), ("take.2", "take.2"), ("a.b.MOV", "a.b"), ("P01.happy", "P01.happy")],
)
def test_only_media_endings_are_cut_off(name, stem):
    assert without_media_ending(name) == stem


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.mp4", "b.wav"], ["a", "b"]),
        (["a.mp4", "a.wav", "b.wav"], ["a.mp4", "a.wav", "b"]),
        (["x/a.mp4", "y/a.mp4", "y/b.mp4"], ["x_a", "y_a", "b"]),
        (["Andre\u0301.mp4"], ["Andr\u00e9"]),
        (["bad\udce9.mp4"], ["bad\u00e9"]),
        (["tab\there.mp4"], ["tab\\there"]),
    ],
)
def test_ids_are_unique_and_printable(names, ids):
    assert clip_ids(names) == dict(zip(names, ids, strict=True))


def test_ids_that_cannot_be_distinguished_are_an_error():
    with pytest.raises(CorpusError, match="another file has the same name in another form"):
        clip_ids(["Andr\u00e9.mp4", "Andre\u0301.mp4"])


def test_a_folder_is_listed_by_kind(tmp_path):
    for name in ("b.mp4", "a.OPUS", "n.pdf", ".hidden.mp4", ".DS_Store", "sub/c.mts"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "broken.mp4").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    folder = list_media(tmp_path)
    assert folder.media.names() == {"b.mp4", "a.OPUS", "x.mp4", "pipe.mp4", "broken.mp4"}
    assert [path.name for path in folder.others] == [".hidden.mp4", "n.pdf"]
    assert [path.name for path in folder.folders] == ["loop", "sub"]
    deep = list_media(tmp_path, recursive=True)
    assert deep.media.names() == {"b.mp4", "a.OPUS", "pipe.mp4", "broken.mp4", "sub/c.mts"}
    assert [path.name for path in deep.folders] == ["loop"]


def test_endings_of_common_ffmpeg_formats_are_media_endings():
    formats = (
        "mp4 mov 3gp matroska webm avi flv asf mpegts mpeg vob ogg opus mp3 adts flac wav aiff caf au amr ac3 wv tta"
    )
    for name in formats.split():
        for ending in av.ContainerFormat(name).extensions:
            if ending not in ("avif", "heic", "heif", "ism", "mks"):  # pictures, lists and subtitles
                assert media_ending(f"x.{ending}") in MEDIA_ENDINGS, (name, ending)


@pytest.mark.parametrize(
    ("name", "disk", "right"),
    [
        ("a", ["s1/a.mp4", "s2/b.mp4"], "s1/a.mp4"),  # the last part of a path
        ("A.MP4", ["s1/a.mp4"], "s1/a.mp4"),
        ("a.mp4", ["s1/a.mp4", "a.mp4"], "a.mp4"),
        ("s2/a", ["s1/a.mp4"], None),
        ("a.mp4", ["a", "a.wav"], "a"),  # files with words, indexed without their ending
        ("\u202aa\u202c.mp4", ["a.mp4"], "a.mp4"),  # as Windows copies paths
        ("\ufeffa\u200b", ["a.mp4"], "a.mp4"),
    ],
)
def test_paths_and_invisible_characters_are_matched(name, disk, right):
    assert find(name, *disk) == right


def test_ambiguous_name_in_two_folders_lists_both():
    with pytest.raises(AmbiguousNameError) as caught:
        find("a", "s1/a.mp4", "s2/a.mp4")
    assert caught.value.candidates == ("s1/a.mp4", "s2/a.mp4")
