"""Finds out which files in a folder are clips."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from data_prep.corpora.endings import media_ending
from data_prep.corpora.names import NameIndex
from data_prep.errors import CorpusError
from emi_jax.report.terminal import counted, printable

SHOWN = 5
"""Most names that a note lists."""


@dataclasses.dataclass(frozen=True)
class MediaFolder:
    """The contents of a folder.

    Attributes:
        path: the folder.
        media: everything that is not hidden and has a media ending, by its relative path (`/` as separator). This
            includes links, pipes and, unless subfolders are searched, folders: reading one raises an error.
        others: files without a media ending, and hidden files with one.
        folders: subfolders that were not searched.
    """

    path: Path
    media: NameIndex[Path]
    others: tuple[Path, ...]
    folders: tuple[Path, ...]

    def notes(self, used: Collection[Path] = ()) -> Iterator[str]:
        """Yields notes on what is not read, except for the files and folders in `used`, which serve another purpose."""
        used = {path.absolute() for path in used}
        holding = used | {parent for path in used for parent in path.parents}

        def is_unread(path: Path) -> bool:
            return path.absolute() not in holding and not used & set(path.absolute().parents)

        if others := [path.name for path in self.others if is_unread(path)]:
            why = "hidden or without an ending of media"
            yield f"{counted(len(others), 'file')} in {self.path} not read, {why}: {some(others)}"
        links = [path.name for path in self.folders if path.is_symlink()]
        if subfolders := [path.name for path in self.folders if not path.is_symlink() and is_unread(path)]:
            passed = counted(len(subfolders), "subfolder")
            yield f"{passed} of {self.path} not searched (--recursive does): {some(subfolders)}"
        if links:
            yield f"{counted(len(links), 'link')} to folders in {self.path} not followed: {some(links)}"


def list_media(folder: Path, recursive: bool = False) -> MediaFolder:
    """Lists a folder; a missing folder counts as empty.

    Args:
        folder: the folder.
        recursive: whether to search its subfolders. Links to folders are never followed.

    Raises:
        CorpusError: the folder cannot be listed.
    """
    media: dict[str, Path] = {}
    others: list[Path] = []
    folders: list[Path] = []
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        for path in _entries(waiting.pop()):
            is_media = bool(media_ending(path.name)) and not path.name.startswith(".")
            if path.is_dir() and (recursive or not is_media):
                (waiting if recursive and not path.is_symlink() else folders).append(path)
            elif is_media:
                media[path.relative_to(folder).as_posix()] = path
            elif media_ending(path.name) or not path.name.startswith("."):
                others.append(path)
    return MediaFolder(folder, NameIndex(dict(sorted(media.items()))), tuple(sorted(others)), tuple(sorted(folders)))


def some(names: Iterable[str]) -> str:
    """Lists a few names and says how many more there are."""
    names = [printable(name) for name in names]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be listed ({error.strerror}); grant read permission") from error
