import math

import pytest

from data_prep.corpora.tables import read_table
from data_prep.corpora.transcripts import plain_name, read_transcripts
from data_prep.errors import CorpusError


def _write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'Filename'; found an empty file"),
        ("Name,Joy\na,1\n", "line 1: no column 'Filename'; found Name, Joy"),
        ("Filename,Fear\na,1\n", "line 1: no column 'Joy'; found Filename, Fear; expected Filename, Joy"),
        ("Filename,Joy,Joy\na,1,1\n", "line 1: column 'Joy' found more than once, expected once"),
        ("Filename,Joy\na,1\na,0\n", "line 3, column 'Filename': found 'a', expected a name .*line 2 has it"),
        ("Filename,Joy\na,1\nb\n", "line 3: found 1 cells, expected 2"),
        ("Filename,Joy\n../a,1\n", "line 2, column 'Filename': found '../a', expected the plain name"),
        ("Filename,Joy\nc:\\a,1\n", "line 2, column 'Filename': found"),
        ("Filename,Joy\n..,1\n", "line 2, column 'Filename': found '..'"),
        ("Filename,Joy\n,1\n", "line 2, column 'Filename': found ''"),
        ("Filename,Joy\n/etc/passwd,1\n", "line 2, column 'Filename': found '/etc/passwd', expected the plain name"),
        ("Filename,Joy\n.hidden,1\n", "line 2, column 'Filename': found '.hidden', expected the plain name"),
        ("Filename,Joy\na\0b,1\n", "line 2, column 'Filename': found 'a.x00b', expected the plain name"),
        ('Filename,Joy\n"a\nb",1\n', "line 3, column 'Filename': found 'a.nb', expected the plain name"),
        (f"Filename,Joy\n{'x' * 200},1\n", "line 2, column 'Filename': found 'x+', expected a name of at most 150"),
        ('Filename,Joy\na,"1\n', "found broken CSV"),
    ],
)
def test_faults_of_a_table_name_file_line_found_and_expected(tmp_path, text, message):
    with pytest.raises(
        CorpusError, match=f"labels.csv, {message}" if message.startswith("line") else message
    ) as caught:
        read_table(_write(tmp_path, text), ["Joy"])
    assert "\n" not in str(caught.value)


def test_other_encodings_and_missing_files_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"labels.csv: found byte 0xe9 at 16, expected UTF-8 text"):
        read_table(_write(tmp_path, "Filename,Joy\nRen\u00e9,1\n", "latin-1"), ["Joy"])
    with pytest.raises(CorpusError, match=r"nowhere.csv: no such file"):
        read_table(tmp_path / "nowhere.csv", [])


@pytest.mark.parametrize("cell", ["high", "nan", "inf", "-0.1", "1.01", "0,5", "1e999"])
def test_faults_of_a_label(tmp_path, cell):
    table = read_table(_write(tmp_path, f'Filename,Joy\na,"{cell}"\n'), ["Joy"])
    with pytest.raises(CorpusError, match=f"line 2, column 'Joy': found '{cell}', expected a number from 0 to 1"):
        table.rows[0].number("Joy", 0, 1)


def test_good_tables_in_all_their_forms(tmp_path):
    table = read_table(_write(tmp_path, "\ufeffFilename, Joy\r\na,25\r\n\r\nb,\r\n"), ["Joy"])
    assert table.columns == ("Filename", "Joy")
    assert [row.name for row in table.rows] == ["a", "b"]
    assert table.rows[0].number("Joy", 0, 100) == 0.25
    assert table.rows[0].number("Joy", -100, 100) == 0.625
    assert math.isnan(table.rows[1].number("Joy", 0, 100))
    assert table.rows[1].line == 4


def test_transcripts_as_csv_and_json(tmp_path):
    expected = {"00001": "So, you won!", "x.y": "caf\u00e9"}
    csv, json = tmp_path / "t.csv", tmp_path / "t.json"
    csv.write_text('Filename,Transcript\n00001.mp4,"So, you won!"\nx.y.wav,caf\u00e9\n', encoding="utf-8")
    json.write_text('{"00001": "So, you won!", "x.y.mp4": "caf\u00e9"}', encoding="utf-8")
    assert read_transcripts(csv) == read_transcripts(json) == expected


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}', '{"a": "\\ud800"}'])
def test_faults_of_json_transcripts(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=r"t.json.*: found .*expected"):
        read_transcripts(path)


@pytest.mark.parametrize(
    ("name", "plain"), [("00001.mp4", "00001"), ("a", "a"), ("take.2", "take.2"), ("a.b.MOV", "a.b"), ("v1.5", "v1.5")]
)
def test_plain_name(name, plain):
    assert plain_name(name) == plain
