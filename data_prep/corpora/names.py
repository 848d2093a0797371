"""Looks up clips by name, in the same way for preparation and prediction.

Tables often name clips inexactly: without the ending, in another Unicode form or case, or as a number that lost its
leading zeros in a spreadsheet. `NameIndex` finds the intended clip and never guesses between two.
"""

import difflib
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from data_prep.corpora.endings import MEDIA_ENDINGS, SOUND_ENDINGS, VIDEO_ENDINGS, media_ending, without_media_ending
from data_prep.errors import CorpusError
from emi_jax.report.terminal import printable

Thing = TypeVar("Thing")
NEAREST = 3
"""Most candidates listed for a name that matches nothing."""


class AmbiguousNameError(CorpusError):
    """A name that matches several things equally well.

    Attributes:
        name: the name looked up.
        candidates: the names that it matches.
    """

    def __init__(self, name: str, candidates: Sequence[str]):
        super().__init__(f"{printable(name)!r} matches {', '.join(map(printable, candidates))}")
        self.name, self.candidates = name, tuple(candidates)


def nfc(name: str) -> str:
    """The composed Unicode form (NFC); bytes of a file name that are not UTF-8 are decoded as Windows-1252."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = name.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return unicodedata.normalize("NFC", name)


def visible(text: str) -> str:
    """Removes format characters: zero-width spaces, direction marks, byte order marks inside a text."""
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _loose(name: str) -> str:
    """Removes case and invisible characters, and replaces every kind of space by a plain space."""
    return unicodedata.normalize("NFC", " ".join(visible(unicodedata.normalize("NFKC", nfc(name))).casefold().split()))


def _unpadded(name: str) -> str:
    """As `_loose`; also strips a number's leading zeros and the `.0` that spreadsheets and pandas append."""
    name = _loose(name)
    stem, ending = without_media_ending(name), media_ending(name)
    number = re.fullmatch(r"(\d+)(\.0)?", stem)
    return f"{number[1].lstrip('0') or '0'}{ending}" if number else name


_FORMS: tuple[Callable[[str], str], ...] = (str, nfc, _loose, _unpadded)
_PARTS: Mapping[str, Callable[[str], str]] = {
    "whole": str,
    "stem": without_media_ending,
    "file": lambda name: name.rpartition("/")[2],
    "file stem": lambda name: without_media_ending(name.rpartition("/")[2]),
}
_OF_PATHS = ("file", "file stem")
"""Parts that differ from the others only for paths. Only stored names are reduced to them, not the name looked up."""
_STEPS = [
    (mine, theirs, form)
    for mine, theirs in (
        *(("whole", "whole"), ("whole", "stem"), ("stem", "whole"), ("stem", "stem")),
        *(("whole", "file"), ("whole", "file stem"), ("stem", "file stem")),
    )
    for form in _FORMS
]


class NameIndex(Generic[Thing]):
    """Things indexed by name, found even if the name is written inexactly.

    The look-up compares in steps and stops at the first step with a match: the full name, then the name without a media
    ending, then the same with the last part of paths. Each step compares the names verbatim, then in composed Unicode
    form, then ignoring case, kinds of space and invisible characters, then as a number without leading zeros. If a
    video and a sound file match equally, a name with the ending of a sound file means the sound file, any other name
    the video.

    Args:
        things: what can be found, by name; file names include their endings.
    """

    def __init__(self, things: Mapping[str, Thing]):
        self._things = dict(things)

    def __len__(self) -> int:
        return len(self._things)

    def names(self) -> set[str]:
        """All names, unchanged."""
        return set(self._things)

    def things(self) -> list[Thing]:
        """All things, in the order in which they were given."""
        return list(self._things.values())

    def find(self, name: str) -> tuple[str, Thing] | None:
        """Returns the matching thing's stored name and the thing itself; None if nothing matches.

        Raises:
            AmbiguousNameError: several match.
        """
        for mine, theirs, form in _STEPS if self._things else ():
            found = self._tables.get((theirs, form), {}).get(form(_PARTS[mine](name)), [])
            if len(found) > 1:
                found = _preferred(name, found)
            if len(found) > 1:
                raise AmbiguousNameError(name, sorted(found))
            if found:
                return found[0], self._things[found[0]]
        return None

    def nearest(self, name: str) -> list[str]:
        """The stored names most similar to a name that matches nothing."""
        by_stem = {_loose(_PARTS[part](own)): own for part in ("file stem", "stem") for own in self._things}
        close = difflib.get_close_matches(_loose(without_media_ending(name)), by_stem, NEAREST)
        return list(dict.fromkeys(by_stem[stem] for stem in close))

    @functools.cached_property
    def _tables(self) -> dict[tuple[str, Callable[[str], str]], dict[str, list[str]]]:
        tables: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}
        has_paths = any("/" in name for name in self._things)
        for part, cut in _PARTS.items():
            for form in _FORMS if has_paths or part not in _OF_PATHS else ():
                table = tables.setdefault((part, form), {})
                for name in self._things:
                    table.setdefault(form(cut(name)), []).append(name)
        return tables


def _preferred(name: str, found: list[str]) -> list[str]:
    kind = SOUND_ENDINGS if media_ending(name) in SOUND_ENDINGS else VIDEO_ENDINGS
    media = [own for own in found if media_ending(own) in MEDIA_ENDINGS]
    return [own for own in media if media_ending(own) in kind] or found


def clip_ids(names: Iterable[str]) -> dict[str, str]:
    """The id of each clip: its file's name without the ending, or with it if two names differ only in the ending.

    Args:
        names: unique file names, or paths relative to one folder with `/` as separator.

    Raises:
        CorpusError: two names cannot be distinguished.
    """
    names = list(names)
    ids: dict[str, str] = {}
    forms: tuple[Callable[[str], str], ...] = (
        lambda name: without_media_ending(name.rpartition("/")[2]),
        lambda name: without_media_ending(name).replace("/", "_"),
        lambda name: name.replace("/", "_"),
    )
    left = names
    for form in forms:
        groups: dict[str, list[str]] = {}
        for name in left:
            groups.setdefault(printable(nfc(form(name))), []).append(name)
        taken = {_loose(own) for own in ids.values()}
        unique = {own: group[0] for own, group in groups.items() if len(group) == 1 and _loose(own) not in taken}
        ids |= {name: own for own, name in unique.items()}
        left = [name for name in left if name not in ids]
    if left:
        raise CorpusError(f"{printable(left[0])!r}: another file has the same name in another form; rename one of them")
    return ids
