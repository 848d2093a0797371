"""Reads text files in whatever encoding people's programs write, the same way each time."""

import codecs
from pathlib import Path
from typing import NamedTuple

from charset_normalizer import from_bytes

from data_prep.errors import CorpusError

MARKS = {  # byte order marks; UTF-32's little-endian one begins with UTF-16's
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of spreadsheet programs (.xlsx, .ods, .xls) begin."""

WESTERN = "cp1252"
FOREIGN = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
FOREIGN_SHARE, FOREIGN_BYTES = 0.4, 16
"""From this share and number of bytes beyond ASCII on, a text is not taken for Western, where such letters are few."""


class Text(NamedTuple):
    """What a file says.

    Attributes:
        text: its content, without a byte order mark.
        encoding: the encoding that was detected; "" for UTF-8, or where a byte order mark names the encoding.
    """

    text: str
    encoding: str


def read_text(path: Path) -> Text:
    """Reads a text file: UTF-8, any encoding that a byte order mark names, UTF-16 without one, else what is detected.

    Detected are Windows-1252, and for texts mostly beyond ASCII the common Cyrillic, Greek, Hebrew, Arabic, Japanese,
    Chinese and Korean encodings. What was detected may be wrong, so callers report it.

    Raises:
        CorpusError: there is no such file, it is a spreadsheet, or it is in no known encoding.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: found a folder, expected a file") from None
    if data.startswith(SPREADSHEETS):
        raise CorpusError(f"{path}: found a spreadsheet or another archive, expected text; save it as CSV in UTF-8")
    encoding, marked = _encoding(data)
    try:
        return Text(data.decode(encoding), "" if marked else encoding)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: found byte {data[error.start]:#04x} at {error.start}, which is no {encoding}; save it as UTF-8"
        ) from None


def _encoding(data: bytes) -> tuple[str, bool]:
    """An encoding, and whether it is certain."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return encoding, True
    for name, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[0::2])):
        if len(data) % 2 == 0 and zeros.count(0) > len(zeros) / 2:
            return name, False
    try:
        data.decode()
    except UnicodeDecodeError:
        repaired = data.decode(errors="replace")
        if sum(letter > "\x7f" for letter in repaired) > 2 * repaired.count("\ufffd"):
            return "utf-8", True  # damaged UTF-8: the caller says where
        beyond = sum(byte > 0x7F for byte in data)
        if beyond >= max(FOREIGN_BYTES, FOREIGN_SHARE * len(data)):
            best = from_bytes(data, cp_isolation=FOREIGN).best()
            return (best.encoding if best else WESTERN), False
        return WESTERN, False
    return "utf-8", True
