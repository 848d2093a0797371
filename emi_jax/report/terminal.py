"""Text for a terminal: untrusted text (file names, labels, error messages) made safe to print, and counted things."""

import unicodedata

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories: control characters, lone surrogates (bytes that are not UTF-8), line and paragraph separators."""


def counted(count: int, noun: str) -> str:
    """A number of things whose plural ends in s: `1 clip`, `2 clips`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    r"""Replaces control characters, lone surrogates, line breaks and bidirectional overrides by their escapes.

    The result prints on one line and cannot move the cursor, change colours or reorder the line. Letters of all
    scripts, spaces of all widths and joiners are kept: `printable("a\x1b[2J喜") == r"a\x1b[2J喜"`.
    """
    return "".join(
        sign.encode("unicode_escape").decode()
        if sign in _BIDI_CONTROLS or unicodedata.category(sign) in _UNPRINTABLE
        else sign
        for sign in text
    )
