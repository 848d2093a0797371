"""Tables of features in the exact form in which each tool writes them; expected values are written by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from data_prep.errors import ClipError
from data_prep.features.source import FeatureSource, Schema, layout, read_features
from data_prep.media.remarks import FEATURES_INVALID, FEATURES_LONG, FEATURES_OF_MANY, Remark

REAL = Path(__file__).resolve().parents[4] / "shared/corpora/features/openface2.csv"

OPENFACE = """\
frame, face_id, timestamp, confidence, success, gaze_angle_x, pose_Tx, AU01_r, AU28_c
1, 0, 0.000, 0.980, 1, -0.351, 21.1, 0.00, 0.00
2, 0, 0.033, 0.030, 1, 0.000, 0.0, 0.00, 0.00
3, 0, 0.067, 0.000, 0, 0.000, 0.0, 0.00, 0.00
4, 0, 0.100, 0.930, 1, -0.349, 20.9, 1.25, 1.00
"""
OPENFACE_1 = "".join(
    ",".join(cell for k, cell in enumerate(line.split(", ")) if k != 1) for line in OPENFACE.splitlines(True)
)
SEVERAL = """\
frame,face_id,timestamp,confidence,success,AU01_r
1,0,0.000,0.98,1,0.1
1,1,0.000,0.98,1,0.6
2,0,0.033,0.20,0,0.0
2,1,0.033,0.98,1,0.7
"""
PYFEAT = """\
,FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,x_0,Pitch,AU01,anger,Identity,Identity_1,input,frame,approx_time
0,10.0,12.0,90.0,90.0,0.99,15.5,2.0,0.25,0.5,Person_0,0.1,clip.mp4,0,00:00
1,10.0,12.0,90.0,90.0,0.98,15.0,2.5,0.75,0.25,Person_0,0.1,clip.mp4,5,00:00
2,300.0,12.0,30.0,30.0,0.80,305.0,1.0,0.5,0.5,Person_1,0.2,clip.mp4,5,00:00
3,,,,,,,,,,,,clip.mp4,10,00:00
"""
LIBREFACE = """\
frame_idx,frame_time_in_ms,pitch,au_1,au_1_intensity,facial_expression,gaze_yaw
0,0.0,1.5,0,0.25,Neutral,3.5
1,0.04,1.25,1,2.5,Happiness,-3.5
"""
OPENSMILE = """\
name;frameTime;Loudness_sma3;F0semitoneFrom27.5Hz_sma3nz
'clip';0.000000;5.000000e-01;0
'clip';1.000000e-02;2.500000e-01;3.150000e+01
"""
FUNCTIONALS = """\
name;frameTime;loudness_sma3_amean;F0semitoneFrom27.5Hz_sma3nz_amean
'unknown';0.000000;5.000000e-01;3.150000e+01
"""
OPENSMILE_PYTHON = """\
file,start,end,Loudness_sma3,mfcc1_sma3
/data/a.wav,0 days 00:00:00,0 days 00:00:00.020000,0.5,-1.5
/data/a.wav,0 days 00:00:00.010000,0 days 00:00:00.030000,0.25,1.5
"""
MUSE = """\
timestamp,segment_id,F0,F1
12500,3,0.5,1.5
13000,3,0.0,0.0
13500,3,0.25,2.5
"""
PLAIN = """\
Frame,time,valid,mood,joy,anger
0,0.5,1,good,0.1,0.2
1,1.0,0,bad,0.3,0.4
2,1.5,1,bad,,0.6
3,2.0,1,bad,0.5,0.7
"""
PLAIN_MS = "time_ms;joy\n500;0,1\n1500;0,2\n"
PANDAS = ",0,1\n0,0.5,1.5\n1,2.5,3.5\n"


def read(path, names=None, rate=0.0, max_seconds=12.0):
    own = layout(path)
    remarks: list[Remark] = []
    schema = Schema(own.source, own.names if names is None else names, rate)
    return read_features(FeatureSource(schema, path), max_seconds, remarks), remarks


@pytest.mark.parametrize(
    ("text", "source", "names", "rate", "times", "rows"),
    [
        (OPENFACE, "openface2", ("gaze_angle_x", "pose_Tx", "AU01_r", "AU28_c"), 0, [0.0, 0.1],
         [[-0.351, 21.1, 0, 0], [-0.349, 20.9, 1.25, 1]]),
        (OPENFACE_1, "openface2", ("gaze_angle_x", "pose_Tx", "AU01_r", "AU28_c"), 0, [0.0, 0.1],
         [[-0.351, 21.1, 0, 0], [-0.349, 20.9, 1.25, 1]]),
        (SEVERAL, "openface2", ("AU01_r",), 0, [0.0, 0.033], [[0.6], [0.7]]),
        (PYFEAT, "pyfeat", ("x_0", "Pitch", "AU01", "anger"), 25, [0.0, 0.2],
         [[15.5, 2, 0.25, 0.5], [15, 2.5, 0.75, 0.25]]),
        (PYFEAT.replace("Person_0", "").replace("Person_1", ""), "pyfeat", ("x_0", "Pitch", "AU01", "anger"), 25,
         [0.0, 0.2], [[15.5, 2, 0.25, 0.5], [15, 2.5, 0.75, 0.25]]),
        (LIBREFACE, "libreface", ("pitch", "au_1", "au_1_intensity", "gaze_yaw"), 0, [0.0, 0.04],
         [[1.5, 0, 0.25, 3.5], [1.25, 1, 2.5, -3.5]]),
        (LIBREFACE.replace("0.04", "40"), "libreface", ("pitch", "au_1", "au_1_intensity", "gaze_yaw"), 0, [0.0, 0.04],
         [[1.5, 0, 0.25, 3.5], [1.25, 1, 2.5, -3.5]]),
        (OPENSMILE, "opensmile", ("Loudness_sma3", "F0semitoneFrom27.5Hz_sma3nz"), 0, [0.0, 0.01],
         [[0.5, 0], [0.25, 31.5]]),
        (FUNCTIONALS, "opensmile", ("loudness_sma3_amean", "F0semitoneFrom27.5Hz_sma3nz_amean"), 0, [0.0],
         [[0.5, 31.5]]),
        (OPENSMILE_PYTHON, "opensmile-python", ("Loudness_sma3", "mfcc1_sma3"), 0, [0.0, 0.01],
         [[0.5, -1.5], [0.25, 1.5]]),
        (MUSE, "muse", ("F0", "F1"), 0, [0.0, 1.0], [[0.5, 1.5], [0.25, 2.5]]),
        (PLAIN, "csv", ("joy", "anger"), 0, [0.5, 2.0], [[0.1, 0.2], [0.5, 0.7]]),
        (PLAIN_MS, "csv", ("joy",), 0, [0.5, 1.5], [[0.1], [0.2]]),
        (PANDAS, "csv", ("0", "1"), 2, [0.0, 0.5], [[0.5, 1.5], [2.5, 3.5]]),
        ("Frame\tEAR\n3\t0.5\n5\t0.25\n", "csv", ("EAR",), 10, [0.3, 0.5], [[0.5], [0.25]]),
        ("joy,anger\n0.5,0.25\n", "csv", ("joy", "anger"), 0, [0.0], [[0.5, 0.25]]),
    ],
    ids=["openface2", "openface1", "openface-several", "pyfeat", "pyfeat-without-identity", "libreface", "libreface-ms",
         "opensmile", "functionals", "opensmile-python", "muse", "plain", "plain-ms", "pandas", "frames", "vector"],
)  # fmt: skip
@pytest.mark.parametrize("written", [str, lambda text: "\ufeff" + text.replace("\n", "\r\n")], ids=["unix", "windows"])
def test_each_tools_columns_times_and_valid_rows_are_read(tmp_path, text, source, names, rate, times, rows, written):
    path = tmp_path / "a.csv"
    path.write_bytes(written(text).encode())
    own = layout(path)
    assert (own.source, own.names) == (source, names)
    features, _ = read(path, rate=rate)
    np.testing.assert_array_equal(features.values, np.array(rows, np.float32), strict=True)
    np.testing.assert_allclose(features.times, times, rtol=1e-6)
    assert features.times.dtype == np.float32


def test_openface_of_a_real_video_is_read():
    if not REAL.is_file():
        pytest.skip("needs the shared files")
    with REAL.open(newline="") as file:
        rows = list(csv.DictReader(file))
    features, remarks = read(REAL)
    assert features.values.shape == (119, 709)
    names = layout(REAL).names
    for column in ("AU12_r", "pose_Rx", "gaze_angle_y", "p_33"):
        expected = np.array([float(row[column]) for row in rows], np.float32)
        np.testing.assert_array_equal(features.values[:, names.index(column)], expected)
    np.testing.assert_array_equal(features.times, np.array([float(row["timestamp"]) for row in rows], np.float32))
    assert remarks == []


def test_columns_are_chosen_by_pattern(tmp_path):
    (tmp_path / "a.csv").write_text(OPENFACE)
    assert layout(tmp_path / "a.csv", ["AU*_r", "pose_*"]).names == ("pose_Tx", "AU01_r")
    assert layout(tmp_path / "a.csv", ["confidence"]).names == ("confidence",)
    with pytest.raises(ClipError, match=r"no column matches --feature-columns=AU99; it has frame, face_id, timestamp"):
        layout(tmp_path / "a.csv", ["AU*", "AU99"])
    (tmp_path / "b.csv").write_text(LIBREFACE)
    with pytest.raises(ClipError, match="'facial_expression' of --feature-columns holds text, expected numbers"):
        layout(tmp_path / "b.csv", ["facial*"])


def test_invalid_and_late_rows_and_other_people_are_remarked_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(OPENFACE)
    features, remarks = read(path)
    assert features.rows == 4
    assert remarks == [Remark(FEATURES_INVALID, "a.csv: 2 of 4 rows")]
    assert read(path, max_seconds=0.05)[1] == [
        Remark(FEATURES_LONG, "a.csv: 0.1 s, read to 0.05 s"), Remark(FEATURES_INVALID, "a.csv: 1 of 2 rows")
    ]  # fmt: skip
    path.write_text(SEVERAL)
    assert read(path)[1] == [Remark(FEATURES_OF_MANY, "a.csv: 2 people")]
    for text in (PYFEAT, PYFEAT.replace("Person_0", "").replace("Person_1", "")):
        path.write_text(text)
        features, remarks = read(path, rate=25)
        assert features.rows == 3
        assert remarks == [Remark(FEATURES_OF_MANY, "a.csv: 2 people"), Remark(FEATURES_INVALID, "a.csv: 1 of 3 rows")]
    path.write_text("time,joy,anger\n0,1,\n1,2,nan\n")
    assert read(path)[1] == [Remark(FEATURES_INVALID, "a.csv: 2 of 2 rows; no number in column anger")]


def test_rows_of_zeros_are_missing_only_if_all_columns_are_zero(tmp_path):
    (tmp_path / "a.csv").write_text(MUSE.replace("0.25,2.5", "0.0,2.5"))
    features, _ = read(tmp_path / "a.csv", names=("F0",))
    np.testing.assert_array_equal(features.values, np.array([[0.5], [0]], np.float32))


def test_values_beyond_float32_are_invalid(tmp_path):
    (tmp_path / "a.csv").write_text("time,joy\n0,1e39\n1,-inf\n2,3\n")
    features, _ = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(features.values, np.array([[3]], np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is an empty file"),
        ("1,2\n3,4\n", "found no header in its first line, expected names of columns"),
        ("time,a,a\n0,1,2\n", "found column 'a' more than once"),
        ("time,a\n0,1\r2\n", "found a line that cannot be divided into cells"),
        ("time\n0\n", "found no column of features among time"),
        ("time,a\n0,1\n1\n", "row 2: found 1 cells, expected 2"),
        ("time,a\n0,1\n0,2\n", "found a row at 0 s after one at 0 s, expected ascending times in each clip"),
        ("time,a\n1,1\n0.5,2\n", "found a row at 0.5 s after one at 1 s"),
        ("time,a\n-1,1\n0.5,2\n", "found a row at -1 s, expected times from 0 s on"),
        ("time,a\n0,1\n,2\n", "found no time for 1 of 2 rows, expected seconds"),
        ("a\n0\n1\n", "found no time for 2 of 2 rows"),
        ("time,a\nsoon,1\n", "row 1, column 'time': found 'soon', expected a number"),
        ("time,a\n" + "0,1\n" * 20 + "1,x\n", "row 21, column 'a': found 'x', expected a number"),
        (FUNCTIONALS + FUNCTIONALS.splitlines()[1] + "\n", "found a row at 0 s after one at 0 s"),
    ],
)
def test_files_that_are_no_features_are_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ClipError, match=message):
        read(tmp_path / "a.csv")


def test_a_column_that_a_file_lacks_is_named(tmp_path):
    (tmp_path / "a.csv").write_text(MUSE)
    with pytest.raises(ClipError, match="found no column 'F9', expected the columns of the other clips"):
        read(tmp_path / "a.csv", names=("F0", "F9"))


def test_text_that_names_clips_is_no_missing_feature(tmp_path):
    (tmp_path / "a.csv").write_text("name;frameTime;loudness;mood\n'clip';0.0;0.5;glad\n")
    found = layout(tmp_path / "a.csv")
    assert (found.names, found.texts, found.clip) == (("loudness",), ("mood",), "name")


def test_a_table_without_rows_is_a_fault_of_its_clip(tmp_path):
    (tmp_path / "clip.csv").write_text(OPENFACE.splitlines()[0] + "\n")
    with pytest.raises(ClipError, match=r"clip.csv: found no rows of features, expected one or more below the header"):
        read(tmp_path / "clip.csv")
