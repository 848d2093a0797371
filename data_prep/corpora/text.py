"""Reads text files in whatever encoding people's programs write, the same way each time."""

import codecs
import re
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
DOCUMENTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF-", b"{\\rtf")
"""How files of office programs (.xlsx, .ods, .xls, .docx, .pdf, .rtf) begin."""

WESTERN = "cp1252"
FOREIGN = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
FOREIGN_SHARE, FOREIGN_BYTES = 0.4, 16
"""From this share and number of bytes beyond ASCII on, a text is not taken for Western, where such letters are few."""

CONTROLS = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f]")
CONTROL_SHARE = 0.05
"""Share of control characters above which content is no text."""
FEW_CONTROLS = 4
"""Control characters up to which content is text, however short."""
LEAST_ZEROS = 2
"""Zero bytes that a text in UTF-16 has at least, in its spaces and line ends."""


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
        CorpusError: there is no such file, it is a document of an office program, or in no known encoding.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: found a folder, expected a file") from None
    if data.startswith(DOCUMENTS):
        raise CorpusError(f"{path}: found a spreadsheet, document or archive, expected text; save it as CSV in UTF-8")
    encoding, marked = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: found byte {data[error.start]:#04x} at {error.start}, which is no {encoding}; save it as UTF-8"
        ) from None
    controls = len(CONTROLS.findall(text))
    if controls > max(FEW_CONTROLS, CONTROL_SHARE * len(text)):
        raise CorpusError(
            f"{path}: found {controls} control characters, expected text; the file is damaged, or in an encoding that "
            "cannot be detected: save it as UTF-8"
        )
    return Text(text, "" if marked else encoding)


def _is_utf16(data: bytes, high_zeros: int, low_zeros: int) -> bool:
    """Whether a text without a byte order mark is UTF-16, by the zeros among the high and low bytes of its letters.

    Latin letters have high bytes of zero. In other scripts spaces and line ends have them, and the other bytes are no
    UTF-8 or full of control characters.
    """
    if high_zeros > len(data) / 4 and low_zeros < high_zeros:
        return True
    if high_zeros < LEAST_ZEROS or low_zeros:
        return False
    try:
        return len(CONTROLS.findall(data.decode())) - high_zeros > CONTROL_SHARE * len(data)
    except UnicodeDecodeError:
        return True


def _encoding(data: bytes) -> tuple[str, bool]:
    """An encoding, and whether it is certain."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return encoding, True
    for name, high, low in (("utf-16-le", data[1::2], data[0::2]), ("utf-16-be", data[0::2], data[1::2])):
        if len(data) % 2 == 0 and _is_utf16(data, high.count(0), low.count(0)):
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
