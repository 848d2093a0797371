"""CREMA-D in its repository's layout: labels by condition, files by condition, known faults, splits."""

import csv

import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import open_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.cremad import LABELS, TABLE, clip_name, read_cremad
from data_prep.corpora.reading import Request
from data_prep.errors import CorpusError
from data_prep.media.remarks import SAME_SOUND
from tests.data_prep.conftest import tone, write_table, write_video

OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")
HEADER = ["", *"ADFHNS", "fileName", "numResponses", *(f"mean{label}Resp" for label in LABELS)]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1\n"


def votes(code, name, counts, means):
    return [code, *counts, name, sum(counts), *means]


def write_votes(folder, *names):
    """Writes a table in which every clip got 4 votes for anger and 1 for happy, whose means depend on the condition."""
    means = {1: (10, 90), 2: (20, 80), 3: (30, 70)}
    (folder / TABLE).parent.mkdir(exist_ok=True)
    write_table(
        folder / TABLE,
        HEADER,
        *(
            votes(100_000 * condition + number, name, (4, 0, 0, 1, 0, 0), (anger, -1, -1, happy, -1, -1))
            for condition, (anger, happy) in means.items()
            for number, name in enumerate(names, 1)
        ),
    )


def write_files(folder, **contents):
    for place, names in contents.items():
        (folder / place).mkdir(exist_ok=True)
        for name in names:
            (folder / place / name).write_text(f"content of {name}")


@pytest.fixture
def corpus(tmp_path):
    """Four clips, one with each set of files."""
    names = ("1001_DFA_ANG_XX", "1002_IEO_HAP_LO", "1003_WSI_SAD_XX", "1004_TSI_NEU_XX")
    write_votes(tmp_path, *names)
    write_files(
        tmp_path,
        VideoFlash=["1001_DFA_ANG_XX.flv", "1002_IEO_HAP_LO.flv"],
        AudioWAV=["1001_DFA_ANG_XX.wav", "1003_WSI_SAD_XX.wav"],
    )
    return tmp_path


def test_labels_are_mean_intensities_over_all_raters_of_the_condition(corpus):
    expected = {"voice": (8, 18), "face": (16, 16), "audiovisual": (24, 14)}  # 4/5 and 1/5 of the means above
    for ratings, (anger, happy) in expected.items():
        found = read_cremad(corpus, ratings)
        assert (found.label_names, found.label_range) == (LABELS, (0.0, 100.0))
        assert found.clips[0].labels == pytest.approx((anger / 100, 0, 0, happy / 100, 0, 0), abs=1e-12)
        assert f"--ratings={ratings})" in " ".join(found.notes)


def test_only_the_files_of_the_rated_condition_are_read(corpus):
    video, sound = corpus / "VideoFlash", corpus / "AudioWAV"
    both, voice, face = (read_cremad(corpus, ratings).clips for ratings in ("audiovisual", "voice", "face"))
    assert [(clip.video, clip.audio, clip.muted) for clip in both] == [
        (video / "1001_DFA_ANG_XX.flv", sound / "1001_DFA_ANG_XX.wav", False),
        (video / "1002_IEO_HAP_LO.flv", None, False),
    ]
    assert [(clip.video, clip.audio) for clip in voice] == [
        (None, sound / "1001_DFA_ANG_XX.wav"),
        (None, video / "1002_IEO_HAP_LO.flv"),
        (None, sound / "1003_WSI_SAD_XX.wav"),
    ]
    assert [(clip.video, clip.audio, clip.muted) for clip in face] == [
        (video / "1001_DFA_ANG_XX.flv", None, True),
        (video / "1002_IEO_HAP_LO.flv", None, True),
    ]
    assert [clip.transcript for clip in both] == ["Don't forget a jacket.", "It's eleven o'clock."]
    assert [clip.transcript for clip in voice] == [
        "Don't forget a jacket.",
        "It's eleven o'clock.",
        "We'll stop in a couple of minutes.",
    ]
    assert [clip.transcript for clip in face] == ["", ""]


def test_clips_without_files_and_files_without_ratings_are_named(corpus):
    write_files(corpus, VideoFlash=["1090_DFA_ANG_XX.flv", "trailer.flv", "notes.txt"])
    notes = "\n".join(read_cremad(corpus).notes)
    assert "2 of 4 clips in tabulatedVotes.csv without a file in VideoFlash, left out: 1003_WSI_SAD_XX, 1004" in (notes)
    assert "1 clip without a row in tabulatedVotes.csv, not read: 1090_DFA_ANG_XX" in notes
    assert "without a name of the corpus, not read: trailer.flv" in notes
    assert "notes.txt" in notes


def test_actors_are_split_by_their_number(tmp_path):
    actors = range(1001, 1092)
    write_votes(tmp_path, *(f"{actor}_DFA_ANG_XX" for actor in actors))
    write_files(tmp_path, VideoFlash=[f"{actor}_DFA_ANG_XX.flv" for actor in actors])
    splits = {split: [] for split in ("train", "valid", "test")}
    for clip in read_cremad(tmp_path).clips:
        assert clip.subject == clip.id[:4]
        splits[clip.split].append(int(clip.subject))
    assert splits["valid"] == [1004, *range(1011, 1092, 7)]
    assert splits["test"] == [1002, *range(1009, 1092, 7)]
    assert len(splits["train"]) == 65


def test_empty_split_names_its_actors(corpus):
    (corpus / "VideoFlash/1002_IEO_HAP_LO.flv").unlink()
    assert "split test is empty: it is for the actors whose number divided by 7 leaves 1" in read_cremad(corpus).notes


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX"),
        ("1040_ITH_SAD_XX.flv", "1040_ITH_SAD_XX"),
        ("1001_ieo_hap_lo.WAV", "1001_IEO_HAP_LO"),
        ("1001_IEO_HAP_ZZ.wav", ""),
        ("1001_XYZ_HAP_XX.wav", ""),
        ("2001_DFA_HAP_XX.wav", ""),
    ],
)
def test_clip_name_follows_the_grammar(file, name):
    assert clip_name(file) == name


def test_pointers_of_git_lfs_are_counted_and_refused_if_there_is_nothing_else(corpus):
    pointers = [*corpus.glob("VideoFlash/*"), *corpus.glob("AudioWAV/*")]
    for path in pointers[1:]:
        path.write_text(POINTER)
    corpus_read = read_cremad(corpus)
    assert len(corpus_read.clips) == 1
    assert "in place of 1 media file (" in " ".join(corpus_read.notes)
    assert "run git lfs pull there" in " ".join(corpus_read.notes)
    pointers[0].write_text(POINTER)
    with pytest.raises(
        CorpusError, match=r"VideoFlash: nothing but pointers of Git LFS, in place of 2 media files; run git"
    ):
        read_cremad(corpus)
    for path in corpus.glob("VideoFlash/*"):
        path.unlink()
    with pytest.raises(CorpusError, match="AudioWAV: nothing but pointers of Git LFS"):
        read_cremad(corpus, "voice")
    with pytest.raises(CorpusError, match=r"VideoFlash: found no clip, expected files such as 1001_DFA_ANG_XX\.flv"):
        read_cremad(corpus, "face")


def test_files_with_known_faults_are_not_read(tmp_path):
    names = ("1064_IEO_DIS_MD", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX", "1001_DFA_ANG_XX")
    write_votes(tmp_path, *names)
    write_files(tmp_path, VideoFlash=[f"{n}.flv" for n in names], AudioWAV=[f"{n}.wav" for n in names])
    both, voice = read_cremad(tmp_path), read_cremad(tmp_path, "voice")
    assert [clip.id for clip in both.clips] == ["1001_DFA_ANG_XX"]
    assert [clip.id for clip in voice.clips] == ["1064_IEO_DIS_MD", "1076_MTI_NEU_XX", "1001_DFA_ANG_XX"]
    assert all(clip.audio.suffix == ".wav" for clip in voice.clips)
    note = "left out, since their files do not hold what was rated: "
    assert any(
        text.startswith(note + "1064_IEO_DIS_MD (a minute with all emotions), 1076_MTI_NEU") for text in both.notes
    )
    assert note + "1076_MTI_SAD_XX (an error message without sound)" in voice.notes


def test_sound_that_two_labels_share_is_replaced_by_that_of_the_video(tmp_path):
    names = ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX", "1006_TIE_SAD_XX")
    write_votes(tmp_path, *names)
    write_files(tmp_path, VideoFlash=[f"{n}.flv" for n in names[:2]], AudioWAV=[f"{n}.wav" for n in names])
    for name in names[:2]:
        (tmp_path / f"AudioWAV/{name}.wav").write_text("the same content of ...")
    happy, neutral = read_cremad(tmp_path).clips
    assert (happy.audio, neutral.audio) == (None, None)
    assert [(r.kind, r.detail) for r in happy.remarks] == [
        (SAME_SOUND, "1006_TIE_HAP_XX.wav is equal to that of 1006_TIE_NEU_XX; the sound of the video is read")
    ]
    (tmp_path / "VideoFlash/1006_TIE_NEU_XX.flv").unlink()
    happy, neutral, sad = read_cremad(tmp_path, "voice").clips
    assert (happy.audio.suffix, neutral.audio.suffix, sad.audio.suffix) == (".flv", ".wav", ".wav")
    assert neutral.remarks[0].detail.endswith("; it is read")
    assert sad.remarks == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": "3"}, "line 2, column 'numResponses': found '5', expected 4, the sum of the votes"),
        ({"A": "-1"}, "column 'A': found '-1', expected a whole number"),
        ({"numResponses": "0"}, "column 'numResponses': found '0', expected a whole number of at least 1"),
        (
            {"meanAngerResp": "-1"},
            "column 'meanAngerResp': found '-1', expected a number from 0 to 100, since there are",
        ),
        ({"meanAngerResp": "nan"}, "column 'meanAngerResp': found 'nan'"),
        ({"fileName": "1001_DFA_ANGRY"}, "column 'fileName': found '1001_DFA_ANGRY', expected a clip's name"),
        ({"": "x"}, "column 'column 1': found 'x', expected a whole number"),
    ],
)
def test_invalid_cell_is_named(tmp_path, change, message):
    write_votes(tmp_path, "1001_DFA_ANG_XX")
    with (tmp_path / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row | change if row[""].startswith("3") else row for row in rows]
    write_table(tmp_path / TABLE, HEADER, *([row[column] for column in HEADER] for row in reversed(rows)))
    write_files(tmp_path, VideoFlash=["1001_DFA_ANG_XX.flv"])
    with pytest.raises(CorpusError) as caught:
        read_cremad(tmp_path)
    assert message in str(caught.value)


def test_folder_without_the_table_is_refused(tmp_path):
    with pytest.raises(
        CorpusError, match=r"found no processedResults/tabulatedVotes\.csv, expected the folder of CREMA-D"
    ):
        read_cremad(tmp_path)


@pytest.fixture
def media(tmp_path):
    """Three clips with flash video, in a split each; the sound of the wav is an octave above that of the video."""
    folder = tmp_path / "media"
    for place in ("VideoFlash", "AudioWAV"):
        (folder / place).mkdir(parents=True)
    names = ("1001_DFA_ANG_XX", "1004_DFA_ANG_XX", "1002_DFA_ANG_XX")
    write_votes(folder, *names)
    for number, name in enumerate(names, 9):  # no two clips have the same pictures or sound
        seconds, hertz = np.arange(number) / 25, 50 * number
        write_video(folder / f"VideoFlash/{name}.flv", seconds, sound=tone(0.4, hertz), codecs=("flv", "aac"))
        write_video(folder / f"AudioWAV/{name}.wav", None, sound=tone(0.4, 2 * hertz), codecs=("", "pcm_s16le"))
    return folder


@pytest.mark.parametrize(("ratings", "hertz", "frames"), [("audiovisual", 1000, 2), ("voice", 1000, 0), ("face", 0, 2)])
def test_prepared_dataset_holds_what_was_rated(media, tmp_path, ratings, hertz, frames):
    out = tmp_path / "out"
    report = prepare("cremad", out, source=media, ratings=ratings, options=OPTIONS, processes=1, progress=False)
    assert report.clips == {"train": 1, "valid": 1, "test": 1}
    assert check_dataset(out, Request("cremad", media, ratings=ratings), progress=False) == []
    (example,) = open_dataset(out).as_data_source("valid")
    assert example["id"] == b"1004_DFA_ANG_XX"
    assert len(example["faces"]) == frames
    strongest = np.argmax(np.abs(np.fft.rfft(example["audio"]))) / 0.4 if len(example["audio"]) else 0
    assert strongest == pytest.approx(hertz, abs=10)
    anger = {"audiovisual": 0.24, "voice": 0.08, "face": 0.16}[ratings]
    assert example["labels"][0] == pytest.approx(anger)
