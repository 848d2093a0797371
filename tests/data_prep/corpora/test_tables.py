import math
import zipfile

import pytest

from data_prep.corpora.tables import read_table
from data_prep.errors import CorpusError


def _write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'Filename'; found an empty file"),
        ("Mood,Joy\na,1\n", "line 1: no column 'Filename'; found Mood, Joy"),
        ("clip,video,Joy\na,b,1\n", "line 1: both 'clip' and 'video' may be the column 'Filename'"),
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
        ("Filename,Joy\na\0b,1\n", "line 2, column 'Filename': found 'a..x00b', expected the plain name"),
        ('Filename,Joy\n"a\nb",1\n', "line 3, column 'Filename': found 'a..nb', expected the plain name"),
        (f"Filename,Joy\n{'x' * 256},1\n", "line 2, column 'Filename': found 'x+', expected a name of at most 255"),
        ('Filename,Joy\na,"1\n', "found broken CSV"),
    ],
)
def test_table_errors_name_file_line_found_and_expected(tmp_path, text, message):
    with pytest.raises(
        CorpusError, match=f"labels.csv, {message}" if message.startswith("line") else message
    ) as caught:
        read_table(_write(tmp_path, text), ["Joy"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-32", None),
        ("utf-16-le", "labels.csv: not UTF-8, read as utf-16-le"),
        ("utf-16-be", "labels.csv: not UTF-8, read as utf-16-be"),
        ("cp1252", "labels.csv: not UTF-8, read as cp1252"),
    ],
)
def test_tables_in_other_encodings_are_read_and_uncertain_ones_noted(tmp_path, encoding, note):
    table = read_table(_write(tmp_path, "Filename,Joy\nRen\u00e9,1\n", encoding), ["Joy"])
    assert [row.name for row in table.rows] == ["Ren\u00e9"]
    assert table.notes == ((note,) if note else ())


def test_damaged_and_missing_tables_are_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes("Filename,Joy\n\u00e9\u00e9\u00e9,1\n".encode() + b"\xff")
    with pytest.raises(CorpusError, match=r"labels.csv: found byte 0xff at 22, which is not valid utf-8; save"):
        read_table(path, ["Joy"])
    with pytest.raises(CorpusError, match=r"nowhere.csv: no such file"):
        read_table(tmp_path / "nowhere.csv", [])
    with pytest.raises(CorpusError, match=r"found a folder, expected a file"):
        read_table(tmp_path, [])
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as archive:
        archive.writestr("sheet.xml", "")
    with pytest.raises(CorpusError, match=r"labels.xlsx: found a spreadsheet, .*; save it as CSV"):
        read_table(tmp_path / "labels.xlsx", [])


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("high", "--label-columns"),
        ("NaN", "leave the cell empty"),
        ("n/a", "leave the cell empty"),
        ("inf", "a number from"),
        ("-0.1", "--label-range"),
        ("1.01", "--label-range"),
        ("0,5", "write a decimal point"),
        ("50%", "without the percent sign"),
        ("0_1", "a number from"),
        ("\u0663", "a number from"),
        ("1e999", "a number from"),
    ],
)
def test_label_errors_have_a_hint(tmp_path, cell, hint):
    table = read_table(_write(tmp_path, f'Filename,Joy\na,"{cell}"\n'), ["Joy"])
    with pytest.raises(CorpusError, match=f"line 2, column 'Joy': found '{cell}', expected .*{hint}"):
        table.rows[0].number("Joy", 0, 1)


@pytest.mark.parametrize(("cell", "value"), [("1.0000001", 1.0), ("-0.0000001", 0.0), ("+.5", 0.5), ("5e-1", 0.5)])
def test_rounding_beyond_the_range_is_clipped(tmp_path, cell, value):
    table = read_table(_write(tmp_path, f"Filename,Joy\na,{cell}\n"), ["Joy"])
    assert table.rows[0].number("Joy", 0, 1) == value


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_allow_decimal_commas(tmp_path, separator, name):
    rows = [["Filename", "Joy", "Transcript"], ["a", "0,25", "so, well"], ["b", "0.5", ""]]
    text = "".join(separator.join(row) + "\n" for row in rows)
    for start in ("", f"sep={separator}\n"):
        table = read_table(_write(tmp_path, start + text), ["Joy"])
        assert [row.number("Joy", 0, 1) for row in table.rows] == [0.25, 0.5]
        assert table.rows[0].cells["Transcript"] == "so, well"
        assert table.notes == (f"labels.csv: cells are separated by {name}",)
        assert table.rows[0].line == 2 + bool(start)


def test_comma_that_may_separate_thousands_is_an_error(tmp_path):
    table = read_table(_write(tmp_path, "Filename;Joy\na;1,000\n"), ["Joy"])
    assert table.rows[0].number("Joy", 0, 100) == 0.01
    with pytest.raises(CorpusError, match="may be a decimal comma or separate thousands"):
        table.rows[0].number("Joy", 0, 2000)


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_feeds_and_returns_end_lines(tmp_path, sign):
    table = read_table(_write(tmp_path, f"Filename,Joy,Transcript\na,0.5,so{sign}well\nb,2,\n"), ["Joy"])
    assert [row.cells.get("Transcript") for row in table.rows] == [f"so{sign}well", ""]
    with pytest.raises(CorpusError, match="line 3, column 'Joy'"):
        table.rows[1].number("Joy", 0, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_endings_are_read(tmp_path, end):
    table = read_table(_write(tmp_path, end.join(["Filename,Joy", "a,1", '"b",0', ""])), ["Joy"])
    assert [row.name for row in table.rows] == ["a", "b"]


def test_long_cells_are_read(tmp_path):
    words = "word " * 40_000
    assert (
        read_table(_write(tmp_path, f"Filename,Transcript\na,{words}\n"), []).rows[0].cells["Transcript"]
        == words.strip()
    )


@pytest.mark.parametrize(
    "name",
    [
        "Screen 10.15.22\u202fPM",
        "Interview\u00a01",
        "\U0001f468\u200d\U0001f469",
        "10:15",
        "\u0645\u06cc\u200c\u062e",
        "x" * 255,
    ],
)
def test_names_may_contain_any_file_name_character(tmp_path, name):
    assert read_table(_write(tmp_path, f"Filename,Joy\n{name},1\n"), ["Joy"]).rows[0].name == name


def test_valid_tables_are_read_in_all_forms(tmp_path):
    table = read_table(_write(tmp_path, "\ufeffFilename, Joy\r\na,25\r\n\r\nb,\r\n"), ["Joy"])
    assert table.columns == ("Filename", "Joy")
    assert [row.name for row in table.rows] == ["a", "b"]
    assert table.rows[0].number("Joy", 0, 100) == 0.25
    assert table.rows[0].number("Joy", -100, 100) == 0.625
    assert math.isnan(table.rows[1].number("Joy", 0, 100))
    assert table.rows[1].line == 4


@pytest.mark.parametrize(
    "text",
    [
        'Filename, Joy, Transcript\na, 0.5, "hi, you"\n',
        '"sep=;"\r\nFilename;Joy;Transcript\r\na;0,5;hi, you\r\n',
        '\u200bFilename,Joy,Transcript\n./a,0.5,"hi, you"\n',
    ],
)
def test_spaces_after_separators_and_invisible_characters_are_ignored(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    (row,) = read_table(tmp_path / "labels.csv", ["Joy"]).rows
    assert (row.name, row.number("Joy", 0, 1), row.cells["Transcript"]) == ("a", 0.5, "hi, you")


def test_utf16_table_with_words_in_another_script_is_read(tmp_path):
    text = "Filename,Joy,Transcript\na,0.5,\u4f60\u597d\u4e16\u754c" + "\u4e16\u754c" * 200 + "\n"
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-16-le"))
    (row,) = read_table(tmp_path / "labels.csv", ["Joy"]).rows
    assert row.cells["Transcript"].startswith("\u4f60\u597d\u4e16\u754c")


def test_cells_that_look_like_unknown_text_are_noted(tmp_path):
    (tmp_path / "labels.csv").write_text("Filename,Joy,Subject,Transcript\na,1,NA,nan\nb,1,s,hi\n")
    notes = "\n".join(read_table(tmp_path / "labels.csv", ["Joy"]).notes)
    assert "1 cell of Subject read as text: 'NA'" in notes
    assert "1 cell of Transcript read as text: 'nan'" in notes


def test_nul_character_in_words_is_an_error(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"Filename,Joy,Transcript\na,1,he\0llo\n")
    with pytest.raises(CorpusError, match=r"line 2, column 'Transcript': .*expected text without zero characters"):
        read_table(tmp_path / "labels.csv", ["Joy"])
