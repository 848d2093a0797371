"""Files of features are joined to clips by name; faults are found before any clip is read."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.clips.clip import ClipSource
from data_prep.corpora.feature_files import FeatureRequest, join_features
from data_prep.errors import CorpusError
from data_prep.features.source import Schema, read_features
from tests.data_prep.features.test_tables import FUNCTIONALS, MUSE, OPENFACE, OPENSMILE_PYTHON, PYFEAT


def clips(*names, folder=Path("/nowhere/raw")):
    return [ClipSource(name.rpartition(".")[0], folder / name, split="train") for name in names]


def join(found, path, columns=(), rate=0.0, modality="vision", schemas=None):
    return join_features(found, {modality: FeatureRequest(path, tuple(columns), rate)}, schemas)


def values(clip, modality="vision"):
    return read_features(clip.features[modality], 12.0, [])


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_files_are_found_by_the_clips_names(tmp_path):
    write(tmp_path / "f", **{"00001": OPENFACE, "b.mp4": OPENFACE, "C": OPENFACE, "extra": OPENFACE})
    (tmp_path / "f/readme.md").touch()
    (tmp_path / "f/.hidden.csv").touch()
    joined = join(clips("1.mp4", "b.mp4", "c.wav", "gone.mp4"), tmp_path / "f")
    found = [clip.features["vision"].path for clip in joined.clips]
    assert [path and path.name for path in found] == ["00001.csv", "b.mp4.csv", "C.csv", None]
    assert joined.schemas == {"vision": Schema("openface2", ("gaze_angle_x", "pose_Tx", "AU01_r", "AU28_c"))}
    assert joined.notes == (
        f"1 file in {tmp_path}/f without features: readme.md",
        "vision: 4 columns (openface2) are its features: gaze_angle_x, pose_Tx, AU01_r, AU28_c",
        f"1 clip without vision features in {tmp_path}/f: gone",
        f"vision features in {tmp_path}/f without a clip, 1 in all: extra",
        "3 clips without a media file, with features alone: 1, b, c",
    )
    assert [clip.video for clip in joined.clips] == [None, None, None, Path("/nowhere/raw/gone.mp4")]


def test_files_in_subfolders_are_found_by_their_last_folder(tmp_path):
    for subject, text in (("s1", MUSE), ("s2", MUSE.replace("0.5,1.5", "7,8"))):
        write(tmp_path / "f" / subject, a=text)
    found = [ClipSource(f"{subject}_a", Path(f"/raw/{subject}/a.mp4")) for subject in ("s1", "s2")]
    assert [values(clip).values[0, 0] for clip in join(found, tmp_path / "f").clips] == [0.5, 7]
    with pytest.raises(CorpusError, match=r"clip 'a\.mp4' matches s1/a, s2/a; keep the features of one"):
        join(clips("a.mp4"), tmp_path / "f")


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("kind", ["functionals", "python", "plain"])
def test_one_table_may_hold_all_clips(tmp_path, as_folder, kind):
    functionals = FUNCTIONALS.replace("unknown", "a") + "'b';0.000000;7.500000e-01;3.000000e+01\n"
    other = "/data/b.wav,0 days 00:00:00,0 days 00:00:00.02,1.5,2.5\n"
    text, a, b = {
        "functionals": (functionals, [[0.5, 31.5]], [[0.75, 30]]),
        "python": (OPENSMILE_PYTHON + other, [[0.5, -1.5], [0.25, 1.5]], [[1.5, 2.5]]),
        "plain": ("Filename,x,y\nb.wav,1,2\nA,3,4\n", [[3, 4]], [[1, 2]]),
    }[kind]
    path = write(tmp_path / "f", all=text)
    joined = join(clips("a.wav", "b.wav"), path if as_folder else path / "all.csv", modality="audio")
    for clip, rows in zip(joined.clips, (a, b), strict=True):
        np.testing.assert_array_equal(values(clip, "audio").values, np.array(rows, np.float32))


def test_rows_of_a_clip_need_not_be_next_to_each_other(tmp_path):
    path = write(tmp_path, all="name;frameTime;x\n'a';0.00;1\n'b';0.00;2\n'a';0.01;3\n'a';0.02;4\n") / "all.csv"
    a, b = join(clips("a.wav", "b.wav"), path).clips
    assert values(a).values.ravel().tolist() == [1, 3, 4]
    assert values(b).values.ravel().tolist() == [2]


def test_the_only_file_of_a_folder_may_be_that_of_one_clip(tmp_path):
    write(tmp_path / "f", b=FUNCTIONALS)
    joined = join(clips("a.wav", "b.wav"), tmp_path / "f")
    assert [clip.features["vision"].path is None for clip in joined.clips] == [True, False]


def test_files_without_times_need_a_rate(tmp_path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f/a.npy", np.ones((3, 2)))
    np.save(tmp_path / "f/b.npy", np.ones(2))
    found = clips("a.mp4", "b.mp4")
    with pytest.raises(CorpusError, match=r"a.npy: found no times of its rows, expected --feature-rate=text=HZ"):
        join(found, tmp_path / "f", modality="text")
    joined = join(found, tmp_path / "f", rate=2.0)
    assert [values(clip).times.tolist() for clip in joined.clips] == [[0, 0.5, 1], [0]]
    write(tmp_path / "g", a=OPENFACE)
    with pytest.raises(CorpusError, match=r"--feature-rate=vision=2 does nothing: the files hold times"):
        join(found, tmp_path / "g", rate=2.0)
    write(tmp_path / "h", a=PYFEAT)
    with pytest.raises(CorpusError, match=r"a.csv: found no times of its rows, expected --feature-rate=vision=HZ"):
        join(found, tmp_path / "h")


def test_files_with_different_columns_are_an_error(tmp_path):
    write(tmp_path / "f", a=OPENFACE, b=OPENFACE.replace("AU28_c", "AU45_c"))
    message = (
        r"b.csv: found 4 columns \(openface2\), expected the 4 \(openface2\) of .*a.csv: 'AU28_c' is in one alone; "
        "--feature-columns=vision=NAME,NAME chooses those that all files have"
    )
    with pytest.raises(CorpusError, match=message):
        join(clips("a.mp4", "b.mp4"), tmp_path / "f")
    assert join(clips("a.mp4", "b.mp4"), tmp_path / "f", ["pose_*"]).schemas["vision"].names == ("pose_Tx",)


def test_arrays_of_different_widths_are_an_error(tmp_path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f/a.npy", np.ones(3))
    np.save(tmp_path / "f/b.npy", np.ones(4))
    message = r"b.npy: found 4 columns \(npy\), expected the 3 \(npy\) of .*a.npy: '3' is in one alone$"
    with pytest.raises(CorpusError, match=message):
        join(clips("a.mp4", "b.mp4"), tmp_path / "f")


def test_columns_in_another_order_are_read_by_name(tmp_path):
    write(tmp_path / "f", a="time,x,y\n0,1,2\n", b="y,time,x\n4,0,3\n")
    joined = join(clips("a.mp4", "b.mp4"), tmp_path / "f")
    assert [values(clip).values.tolist() for clip in joined.clips] == [[[1, 2]], [[3, 4]]]


def test_a_column_that_holds_text_in_some_file_is_no_feature(tmp_path):
    write(tmp_path / "f", a="time,x,mood\n0,1,\n", b="time,x,mood\n0,2,glad\n")
    joined = join(clips("a.mp4", "b.mp4"), tmp_path / "f")
    assert joined.schemas["vision"].names == ("x",)
    assert "vision: columns of text are no features: mood" in joined.notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "found no file of features, expected files ending with .npy, .npz, .csv, .tsv"),
        (["a.txt"], "found no file of features"),
        (["a.pkl"], r"a.pkl: reading a pickle may run any program, so it is not read: convert it .* numpy.save\("),
        (["a.csv", "a.npy"], "both a.csv and a.npy are features of one clip"),
        (["x.csv", "y.csv"], "none is named like a clip; there are x, y for the clips a"),
    ],
)
def test_folders_without_clear_features_are_an_error(tmp_path, files, message):
    (tmp_path / "f").mkdir()
    for name in files:
        (tmp_path / "f" / name).write_text(OPENFACE)
    with pytest.raises(CorpusError, match=message):
        join(clips("a.mp4"), tmp_path / "f")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f", "no such file or folder"),
        ("a.npy", "found a file, expected a folder of files, or a table with a column of names"),
        ("a.csv", "a.csv: found no column with names of clips among frame, face_id"),
        ("a.pt", "a.pt: reading a pickle may run any program"),
    ],
)
def test_a_path_that_holds_no_table_of_clips_is_an_error(tmp_path, name, message):
    if "." in name:
        (tmp_path / name).write_text(OPENFACE)
    with pytest.raises(CorpusError, match=message):
        join(clips("a.mp4"), tmp_path / name)


def test_features_of_two_clips_in_one_file_are_an_error(tmp_path):
    write(tmp_path / "f", **{"1": OPENFACE})
    with pytest.raises(CorpusError, match="found features for both clips 1 and 01, expected those of one"):
        join(clips("1.mp4", "01.mp4"), tmp_path / "f")


def test_schemas_are_stored_as_data():
    schema = Schema("npy", ("0", "1"), 25.0)
    assert Schema.from_metadata(schema.metadata()) == schema
    for change in ({"width": 3}, {"names": ["0", "0"]}, {"names": [0, 1]}, {"rate": -1}, {"rate": "x"}, {"source": 1}):
        with pytest.raises(CorpusError, match=r"stored features hold .*, expected names, source, rate and width"):
            Schema.from_metadata(schema.metadata() | change)
    with pytest.raises(CorpusError, match="stored features hold"):
        Schema.from_metadata(None)


def test_new_clips_are_read_like_those_of_a_dataset(tmp_path):
    write(tmp_path / "f", a=OPENFACE)
    schema = join(clips("a.mp4"), tmp_path / "f", ["AU*", "pose_Tx"]).schemas
    write(tmp_path / "g", b=OPENFACE.replace("0.93", "0.99"))
    joined = join(clips("b.mp4"), tmp_path / "g", schemas=schema)
    assert joined.schemas == schema
    assert values(joined.clips[0]).values.shape == (2, 3)
    with pytest.raises(CorpusError, match=r"trained on vision features .*\(3 columns, openface2\): add --features"):
        join_features(clips("b.mp4"), {}, schema)
    with pytest.raises(CorpusError, match=r"--features text=.* does nothing: the run was not trained on text features"):
        join(clips("b.mp4"), tmp_path / "g", modality="text", schemas={})
    write(tmp_path / "h", b=MUSE)
    with pytest.raises(CorpusError, match="no column matches --feature-columns=pose_Tx"):
        join(clips("b.mp4"), tmp_path / "h", schemas=schema)
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    arrays = {"vision": Schema("npy", ("0", "1"), 25.0)}
    (tmp_path / "n").mkdir()
    np.save(tmp_path / "n/b.npy", np.ones((2, 3)))
    with pytest.raises(CorpusError, match=r"found 3 columns \(npy\), expected the 2 \(npy\) of the dataset: 0, 1"):
        join(clips("b.mp4"), tmp_path / "n", schemas=arrays)
    np.save(tmp_path / "n/b.npy", np.ones((2, 2)))
    assert values(join(clips("b.mp4"), tmp_path / "n", schemas=arrays).clips[0]).times.tolist() == [0, np.float32(0.04)]
