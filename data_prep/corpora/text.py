"""Reads text files in any common encoding, deterministically."""

import codecs
import re
from pathlib import Path
from typing import NamedTuple

from charset_normalizer import from_bytes

from data_prep.errors import CorpusError

MARKS = {  # byte order marks, UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DOCUMENTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF-", b"{\\rtf")
"""First bytes of office documents (.xlsx, .ods, .xls, .docx, .pdf, .rtf)."""

WESTERN = "cp1252"
FOREIGN = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
FOREIGN_SHARE, FOREIGN_BYTES = 0.4, 16
"""At or above this share and number of non-ASCII bytes, a text is not considered Western: those have few."""

CONTROLS = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f]")
CONTROL_SHARE = 0.05
"""Share of control characters above which content is not text."""
FEW_CONTROLS = 4
"""Content with at most this many control characters counts as text, however short it is."""
LEAST_ZEROS = 2
"""Least number of zero bytes in a UTF-16 text; they come from its spaces and line ends."""


class Text(NamedTuple):
    """The content of a text file.

    Attributes:
        text: its content, without a byte order mark.
        encoding: the detected encoding; "" for UTF-8, or if a byte order mark gives the encoding.
    """

    text: str
    encoding: str


def read_text(path: Path) -> Text:
    """Reads a text file: UTF-8, any encoding with a byte order mark, UTF-16 without one, else a detected encoding.

    Detection covers Windows-1252 and, for mostly non-ASCII texts, the common Cyrillic, Greek, Hebrew, Arabic, Japanese,
    Chinese and Korean encodings. The detected encoding may be wrong, so callers report it.

    Raises:
        CorpusError: the file does not exist, is an office document, or has an unknown encoding.
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
            f"{path}: found byte {data[error.start]:#04x} at {error.start}, which is not valid {encoding}; save it as "
            "UTF-8"
        ) from None
    controls = len(CONTROLS.findall(text))
    if controls > max(FEW_CONTROLS, CONTROL_SHARE * len(text)):
        raise CorpusError(
            f"{path}: found {controls} control characters, expected text; the file is damaged, or in an encoding that "
            "cannot be detected: save it as UTF-8"
        )
    return Text(text, "" if marked else encoding)


def _is_utf16(data: bytes, high_zeros: int, low_zeros: int) -> bool:
    """Whether a text without a byte order mark is UTF-16, judging by the zeros among its high and low bytes.

    The high bytes of Latin letters are zero. In other scripts, those of spaces and line ends are, and the remaining
    bytes are not valid UTF-8 or contain many control characters.
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
            return "utf-8", True  # damaged UTF-8: the caller reports the position
        beyond = sum(byte > 0x7F for byte in data)
        if beyond >= max(FOREIGN_BYTES, FOREIGN_SHARE * len(data)):
            best = from_bytes(data, cp_isolation=FOREIGN).best()
            return (best.encoding if best else WESTERN), False
        return WESTERN, False
    return "utf-8", True
