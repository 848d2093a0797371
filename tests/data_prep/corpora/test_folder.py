"""A folder of clips with a table, in the variants found in practice."""

import collections
import math

import pytest

from data_prep.corpora.folder import read_folder
from data_prep.errors import CorpusError
from data_prep.media.remarks import OTHER_ENDING, WORDS_ENCODING
from tests.data_prep.conftest import write_table


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def notes_of(corpus):
    return "\n".join(corpus.notes)


def test_table_with_named_splits_and_other_units(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.wav").touch()
    write_table(
        tmp_path / "labels.csv",
        ["Filename", "Anger", "Split", "Subject", "Transcript"],
        ["a.mp4", 50, "train", "s1", "hi"],
        ["b", "", "validation", "s2", ""],
    )
    corpus = read_folder(tmp_path, None, (0.0, 100.0), None)
    a, b = corpus.clips
    assert (corpus.label_names, corpus.label_range) == (("Anger",), (0.0, 100.0))
    assert (a.id, a.video, a.labels, a.split, a.subject, a.transcript) == (
        "a",
        tmp_path / "a.mp4",
        (0.5,),
        "train",
        "s1",
        "hi",
    )
    assert (b.video, b.split) == (tmp_path / "b.wav", "valid")
    assert math.isnan(b.labels[0])


@pytest.mark.parametrize(
    ("header", "meant"), [("Splitt", "Split"), ("subjct", "Subject"), ("Transcripts", "Transcript")]
)
def test_a_misspelt_reserved_column_is_no_label(tmp_path, header, meant):
    files(tmp_path, "a.mp4", "b.mp4")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy", header], ["a", 0.5, 0], ["b", 0.25, 1])
    with pytest.raises(CorpusError, match=f"line 1: found the column '{header}', expected '{meant}' or the name of a"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, label_columns=["Joy", header]).label_names == ("Joy", header)


def test_a_label_that_resembles_a_column_that_is_there_stays_a_label(tmp_path):
    files(tmp_path, "a.mp4")
    write_table(tmp_path / "labels.csv", ["Filename", "Subject", "Subjects", "Subjective"], ["a", "s1", 1, 0])
    assert read_folder(tmp_path).label_names == ("Subjects", "Subjective")


def test_splits_keep_subjects_together_in_any_row_order(tmp_path):
    rows = [[f"clip{k}", 0.5, f"s{k % 20}"] for k in range(200)]
    splits = []
    for ordered in (rows, rows[::-1]):
        write_table(tmp_path / "labels.csv", ["Filename", "Joy", "Subject"], *ordered)
        clips = read_folder(tmp_path, None, (0.0, 1.0), None).clips
        splits.append({clip.id: clip.split for clip in clips})
        by_subject = collections.defaultdict(set)
        for clip in clips:
            by_subject[clip.subject].add(clip.split)
        assert all(len(found) == 1 for found in by_subject.values())
    assert splits[0] == splits[1]
    assert collections.Counter(splits[0].values()) == {"train": 140, "valid": 30, "test": 30}


@pytest.mark.parametrize("clips", [3, 4])
def test_splits_of_few_clips_are_not_empty(tmp_path, clips):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], *[[f"c{k}", 0.1] for k in range(clips)])
    found = {clip.split for clip in read_folder(tmp_path, None, (0.0, 1.0), None).clips}
    assert found == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            ["Filename", "Joy", "Split"],
            ["a", 0.5, "holdout"],
            "line 2, column 'Split': found 'holdout', expected one of",
        ),
        (["Filename", "Subject"], ["a", "s"], "found no label column"),
        (["Filename", "Joy"], ["a", 50], "column 'Joy': found '50', expected .*--label-range"),
        (["Filename", "Joy", "Mood"], ["a", 0.5, "good"], "column 'Mood': found 'good', expected a number"),
    ],
)
def test_invalid_tables_are_refused(tmp_path, header, row, message):
    write_table(tmp_path / "labels.csv", header, row)
    with pytest.raises(CorpusError, match=message):
        read_folder(tmp_path, None, (0.0, 1.0), None)


def test_names_without_a_file_that_differ_only_by_ending_are_an_error(tmp_path):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a.mp4", 0], ["a.mov", 0])
    with pytest.raises(CorpusError, match=r"line 3, column 'Filename': found 'a.mov', expected a name that differs"):
        read_folder(tmp_path, None, (0.0, 1.0), None)


def test_label_range_is_checked(tmp_path):
    with pytest.raises(CorpusError, match="--label-range: found 1,0"):
        read_folder(tmp_path, None, (1.0, 0.0), None)


def test_label_range_must_be_finite(tmp_path):
    with pytest.raises(CorpusError, match="--label-range: found 0,inf"):
        read_folder(tmp_path, None, (0.0, math.inf), None)


@pytest.mark.parametrize("ended", [False, True])
def test_dots_are_part_of_names(tmp_path, ended):
    names = ["anna.happy", "anna.sad", "P01.5"]
    files(tmp_path, *(f"{name}.mp4" for name in names))
    rows = [[name + ".mp4" * ended, k / 10] for k, name in enumerate(names)]
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], *rows)
    (tmp_path / "t.json").write_text('{"anna.happy": "yes", "anna.sad": "no", "P01.5": "well"}')
    clips = read_folder(tmp_path, transcripts=tmp_path / "t.json").clips
    assert [(clip.id, clip.video.name, clip.labels[0], clip.transcript) for clip in clips] == [
        ("anna.happy", "anna.happy.mp4", 0.0, "yes"),
        ("anna.sad", "anna.sad.mp4", 0.1, "no"),
        ("P01.5", "P01.5.mp4", 0.2, "well"),
    ]


def test_two_files_of_one_stem_keep_their_endings(tmp_path):
    files(tmp_path, "a.mp4", "a.wav")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a.wav", 0.1], ["a.mp4", 0.2])
    clips = read_folder(tmp_path).clips
    assert [(clip.id, clip.video.name, clip.labels) for clip in clips] == [
        ("a.wav", "a.wav", (0.1,)),
        ("a.mp4", "a.mp4", (0.2,)),
    ]


def test_name_that_matches_two_files_is_an_error_with_both(tmp_path):
    files(tmp_path, "take.mov", "take.mkv")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["take", 0.1])
    with pytest.raises(CorpusError, match=r"line 2, .*found 'take', expected .* not take.mkv and take.mov"):
        read_folder(tmp_path)


def test_two_names_of_one_file_are_an_error_with_both_lines(tmp_path):
    files(tmp_path, "00001.mp4")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["00001", 0.1], ["1", 0.2])
    with pytest.raises(CorpusError, match=r"line 3, .*found '1', expected another clip: '00001' \(line 2\)"):
        read_folder(tmp_path)


def test_ending_that_differs_from_the_file_is_a_remark(tmp_path):
    files(tmp_path, "clip1.mp4", "clip2.MP4")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["clip1.avi", 0.1], ["clip2.mp4", 0.2])
    one, two = read_folder(tmp_path).clips
    assert (one.video.name, one.remarks) == ("clip1.mp4", ((OTHER_ENDING, "clip1.avi is clip1.mp4"),))
    assert (two.video.name, two.remarks) == ("clip2.MP4", ())


def test_names_without_a_file_and_files_without_a_name_are_noted(tmp_path):
    files(tmp_path, "anna_1.mp4", "b.mp4", "notes.pdf", "sub/c.mp4")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["ana_1", 0.1], ["b", 0.2])
    corpus = read_folder(tmp_path)
    assert corpus.clips[0].video == tmp_path / "ana_1"  # reading the clip will report the missing file
    notes = notes_of(corpus)
    assert "'ana_1' names no file; most like it: anna_1.mp4" in notes
    assert "1 media file in" in notes
    assert "without a row in labels.csv: anna_1.mp4" in notes
    assert "1 file in" in notes
    assert "without an ending of media: notes.pdf" in notes
    assert "not searched (--recursive does): sub" in notes


def test_subfolders_are_searched_on_request(tmp_path):
    files(tmp_path, "s1/a.mp4", "s2/a.mp4", "s2/b.wav")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["s1/a.mp4", 0.1], ["s2/a", 0.2], ["s2/b.wav", 0.3])
    with pytest.raises(CorpusError, match=r"found .s1/a.mp4., expected the plain name of a clip"):
        read_folder(tmp_path)
    clips = read_folder(tmp_path, recursive=True).clips
    assert [(clip.id, clip.video.relative_to(tmp_path).as_posix()) for clip in clips] == [
        ("s1_a", "s1/a.mp4"),
        ("s2_a", "s2/a.mp4"),
        ("b", "s2/b.wav"),
    ]


def test_chosen_label_columns_are_read_else_all_are_reported(tmp_path):
    write_table(tmp_path / "labels.csv", ["Filename", "Age", "Joy", "Mood"], ["a", 0.4, 0.5, "good"])
    corpus = read_folder(tmp_path, label_columns=("joy",))
    assert (corpus.label_names, corpus.clips[0].labels) == (("Joy",), (0.5,))
    assert "columns that are no labels are not read: Age, Mood" in notes_of(corpus)
    with pytest.raises(CorpusError, match=r"--label-columns: found 'Fear', .*: Age, Joy, Mood"):
        read_folder(tmp_path, label_columns=("Fear",))
    write_table(tmp_path / "labels.csv", ["Filename", "Age", "Joy"], ["a", 0.4, 0.5])
    assert "labels are all columns besides Filename, Split, Subject, Transcript: Age, Joy" in notes_of(
        read_folder(tmp_path)
    )


@pytest.mark.parametrize(
    ("header", "row", "subject", "nameless"),
    [
        ("Filename,Joy,", "a,0.5,", "", "3"),
        (",Filename,Joy", "0,a,0.5", "", "1"),
        ("Unnamed: 0,Filename,Joy", "0,a,0.5", "", "1"),
        ("Filename,subject,split,Joy", "a,3,train,0.5", "3", ""),
        ("filename , speaker ,JOY", "a,3,0.5", "3", ""),
        ("Filename,Joy,,,", "a,0.5,,,", "", "3, 4, 5"),
    ],
)
def test_nameless_and_reserved_columns_are_not_labels(tmp_path, header, row, subject, nameless):
    (tmp_path / "labels.csv").write_text(f"{header}\n{row}\n")
    corpus = read_folder(tmp_path)
    assert ([name.lower() for name in corpus.label_names], corpus.clips[0].labels) == (["joy"], (0.5,))
    assert corpus.clips[0].subject == subject
    note = f"labels.csv: columns without a name are not read: number {nameless}"
    assert [line for line in corpus.notes if "without a name" in line] == ([note] if nameless else [])


@pytest.mark.parametrize(
    ("spelled", "split"),
    [("devel", "valid"), ("Development", "valid"), ("Val", "valid"), ("TRAINING set", "train"), ("Test_Set", "test")],
)
def test_splits_are_recognised_in_common_spellings(tmp_path, spelled, split):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy", "Partition"], ["a", 0.5, spelled])
    corpus = read_folder(tmp_path)
    assert corpus.clips[0].split == split
    assert f"{spelled!r} as {split}" in notes_of(corpus)


@pytest.mark.parametrize(("clips", "empty"), [(1, "valid or test"), (2, "test")])
def test_too_few_clips_for_three_splits_are_noted(tmp_path, clips, empty):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], *[[f"c{k}", 0.1] for k in range(clips)])
    notes = notes_of(read_folder(tmp_path))
    assert f"found {clips} clip" in notes
    assert "a column Split with train, valid, test says" in notes
    assert f"no clip is in split {empty}" in notes


def test_words_next_to_clips_are_read_if_no_table_has_words(tmp_path):
    files(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "a.txt").write_bytes("caf\u00e9 is so funny".encode("cp1252"))
    (tmp_path / "b.mp4.txt").write_bytes("so funny".encode("utf-16"))
    (tmp_path / "c.txt").write_text("nobody's")
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a", 0.1], ["b", 0.2])
    corpus = read_folder(tmp_path)
    assert [clip.transcript for clip in corpus.clips] == ["caf\u00e9 is so funny", "so funny"]
    assert [clip.remarks for clip in corpus.clips] == [((WORDS_ENCODING, "read as cp1252"),), ()]
    assert "1 transcript in" in notes_of(corpus)
    assert "without a clip: c" in notes_of(corpus)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a", 0.1])

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("data_prep.corpora.media_files.os.listdir", refuse)
    with pytest.raises(CorpusError, match=r"cannot be listed \(Permission denied\)"):
        read_folder(tmp_path)


def test_clips_in_subfolders_match_plain_names_and_words(tmp_path):
    files(tmp_path, "s1/a.mp4", "s2/b.wav", "s1/c.mp4", "s2/c.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    rows = ["a", 0.1], ["b.wav", 0.2], ["s1/c", 0.3], ["s2/c", 0.4]
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], *rows)
    words = write_table(tmp_path / "w.csv", ["Filename", "Transcript"], ["s1/a", "A"], ["s1/c", "one"], ["s2/c", "two"])
    corpus = read_folder(tmp_path, recursive=True, transcripts=words)
    found = [(clip.id, clip.video.relative_to(tmp_path).as_posix(), clip.transcript) for clip in corpus.clips]
    assert found == [
        ("a", "s1/a.mp4", "A"),
        ("b", "s2/b.wav", None),
        ("s1_c", "s1/c.mp4", "one"),
        ("s2_c", "s2/c.mp4", "two"),
    ]
    assert "1 link to folders in" in notes_of(corpus)
