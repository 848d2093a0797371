"""CREMA-D in the folder of its repository: `VideoFlash/`, `AudioWAV/`, `processedResults/tabulatedVotes.csv`.

Cao et al., "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on Affective Computing 5(4),
2014. 91 actors say twelve sentences with six emotions. Each clip was rated in three conditions: raters chose one
emotion and its intensity from 0 to 100 for the voice alone, for the face alone, and for both.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.corpora.endings import without_media_ending
from data_prep.corpora.media_files import some
from data_prep.corpora.numbers import NUMBER
from data_prep.corpora.published import (
    NamedMedia,
    empty_split_notes,
    missing_note,
    named_media,
    read_rows,
    whole_number,
)
from data_prep.corpora.tables import Row
from data_prep.errors import CorpusError
from data_prep.media.remarks import SAME_SOUND, Remark
from emi_jax.report.terminal import counted

LABELS = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
HIGHEST = 100.0
"""The highest intensity; the lowest is 0."""


class Condition(NamedTuple):
    """A condition in which clips were rated.

    Attributes:
        number: the number that stands for it in the table.
        about: what was rated, in words.
        needs: where a clip must have a file.
    """

    number: int
    about: str
    needs: str


RATINGS = {
    "audiovisual": Condition(3, "face and voice together", "VideoFlash"),
    "voice": Condition(1, "the voice alone", "AudioWAV or VideoFlash"),
    "face": Condition(2, "the face alone", "VideoFlash"),
}

TABLE = Path("processedResults", "tabulatedVotes.csv")
CODE, CODES = "column 1", 100_000
"""The table's first column, which has no header. It holds CODES * condition + number of the clip."""
COLUMNS = (CODE, "fileName", "numResponses", *(label[0] for label in LABELS), *(f"mean{label}Resp" for label in LABELS))

SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
NAME = re.compile(rf"(1\d{{3}}_(?:{'|'.join(SENTENCES)})_(?:ANG|DIS|FEA|HAP|NEU|SAD)_)(LO|MD|HI|XX?)")

BAD_VIDEOS = {
    "1064_IEO_DIS_MD": "a minute with all emotions",
    "1076_MTI_NEU_XX": "a fraction of a second without sound",
    "1076_MTI_SAD_XX": "an error message without sound",
}
"""Videos that do not show what was rated, and what they show instead, according to the corpus' README."""
BAD_SOUNDS = ("1076_MTI_SAD_XX",)
"""Files in AudioWAV that are silent, according to the README."""

CYCLE, VALID, TEST = 7, 3, 1
"""An actor whose number divided by CYCLE leaves the remainder VALID or TEST is in that split: 13 of the 91 actors each,
7 of them women. The other 65 actors, 29 of them women, are in the training split."""
SPLIT_MEMBERS = {
    "train": "the other actors",
    "valid": f"the actors whose number divided by {CYCLE} leaves {VALID}",
    "test": f"the actors whose number divided by {CYCLE} leaves {TEST}",
}


def read_cremad(source: Path, ratings: str = "audiovisual") -> Corpus:
    """Finds the clips of CREMA-D.

    Args:
        source: the folder.
        ratings: the condition whose ratings are the labels: audiovisual; voice, for which only the sound is read; or
            face, for which only the pictures are read: its raters heard no words, so the clips have none.

    Raises:
        CorpusError: the folder is not that of CREMA-D, its media are pointer files, or a cell of the table is invalid.
    """
    if not (source / TABLE).is_file():
        raise CorpusError(f"{source}: found no {TABLE}, expected the folder of CREMA-D as in its repository")
    rows, notes = read_rows(source / TABLE, COLUMNS)
    labels = _labels(rows, RATINGS[ratings].number)
    videos, sounds = named_media(source / "VideoFlash", clip_name), named_media(source / "AudioWAV", clip_name)
    if ratings == "voice" and not videos.files:
        sounds.need_some("1001_DFA_ANG_XX.wav")
    else:
        videos.need_some("1001_DFA_ANG_XX.flv")
    read = (videos,) if ratings == "face" else (videos, sounds)
    files = _Files(ratings, *({} if media not in read else media.files for media in (videos, sounds)))
    clips = [clip for name, values in labels.items() if (clip := files.clip(name, values))]
    notes += [note for media in read for note in media.notes]
    notes += [f"the labels are the ratings of {RATINGS[ratings].about} (--ratings={ratings})"]
    notes += _notes(labels, clips, read, RATINGS[ratings].needs)
    return Corpus("cremad", LABELS, (0.0, HIGHEST), tuple(clips), notes=tuple(notes))


def clip_name(file: str) -> str:
    """The name of a file's clip; "" if it is none of CREMA-D. Old copies of the corpus write `_X` for `_XX`."""
    found = NAME.fullmatch(without_media_ending(file).upper())
    return found[1] + ("XX" if found[2] == "X" else found[2]) if found else ""


class _Files:
    """The files of the clips that were rated in one condition.

    Args:
        ratings: the condition.
        videos: by clip name, the files in VideoFlash.
        sounds: by clip name, the files in AudioWAV.
    """

    def __init__(self, ratings: str, videos: Mapping[str, Path], sounds: Mapping[str, Path]):
        self._ratings = ratings
        self._videos = {name: path for name, path in videos.items() if name not in BAD_VIDEOS}
        self._sounds = {name: path for name, path in sounds.items() if name not in BAD_SOUNDS}
        self._twins = _twins(self._sounds)

    def clip(self, name: str, labels: tuple[float, ...]) -> ClipSource | None:
        """The clip with a name; None if it lacks a file that was rated."""
        video, audio = self._videos.get(name), self._sounds.get(name)
        remarks = []
        if twins := self._twins.get(name):
            audio = None if video else audio
            which = "the sound of the video" if video else "it"
            remarks.append(Remark(SAME_SOUND, f"{name}.wav is equal to that of {some(twins)}; {which} is read"))
        if self._ratings == "voice":
            video, audio = None, audio or video
        if not (audio if self._ratings == "voice" else video):
            return None
        actor, sentence = name.split("_")[:2]
        return ClipSource(
            name,
            video=video,
            audio=audio,
            muted=self._ratings == "face",
            transcript="" if self._ratings == "face" else SENTENCES[sentence],
            labels=labels,
            subject=actor,
            split={VALID: "valid", TEST: "test"}.get(int(actor) % CYCLE, "train"),
            remarks=tuple(remarks),
        )


def _labels(rows: Sequence[Row], condition: int) -> dict[str, tuple[float, ...]]:
    """By clip name, the labels in [0, 1].

    The label of an emotion is its mean intensity over all raters, of whom those who chose another emotion count as 0.
    In the table, its mean is over those who chose it, and -1 where nobody did.
    """
    labels: dict[str, tuple[float, ...]] = {}
    for row in rows:
        if whole_number(row, CODE) // CODES != condition:
            continue
        name = clip_name(row.cells["fileName"])
        if not name or name in labels:
            raise row.fault("fileName", "a clip's name that is not used yet, as 1001_DFA_ANG_XX")
        raters = whole_number(row, "numResponses", least=1)
        votes = [whole_number(row, label[0]) for label in LABELS]
        if sum(votes) != raters:
            raise row.fault("numResponses", f"{sum(votes)}, the sum of the votes")
        means = [_mean(row, f"mean{label}Resp") if count else 0.0 for count, label in zip(votes, LABELS, strict=True)]
        labels[name] = tuple(count * mean / raters / HIGHEST for count, mean in zip(votes, means, strict=True))
    return labels


def _mean(row: Row, column: str) -> float:
    cell = row.cells[column]
    if not NUMBER.fullmatch(cell) or not 0.0 <= float(cell) <= HIGHEST:
        raise row.fault(column, f"a number from 0 to {HIGHEST:g}, since there are votes for it")
    return float(cell)


def _twins(sounds: Mapping[str, Path]) -> dict[str, list[str]]:
    """By clip name, the other clips of the same actor and sentence whose sound files have the same content."""
    sizes: dict[tuple[str, int], list[str]] = {}
    for name, path in sounds.items():
        if path.is_file():
            sizes.setdefault((name[:8], path.stat().st_size), []).append(name)
    alike = [names for names in sizes.values() if len(names) > 1]
    content = {name: hashlib.sha256(sounds[name].read_bytes()).digest() for names in alike for name in names}
    twins = {
        name: [other for other in names if other != name and content[other] == content[name]]
        for names in alike
        for name in names
    }
    return {name: others for name, others in twins.items() if others}


def _notes(
    labels: Mapping[str, object], clips: Sequence[ClipSource], read: Sequence[NamedMedia], needed: str
) -> Iterator[str]:
    """Yields notes on clips without usable files, files without ratings, and splits without clips."""
    there = {name for media in read for name in media.files}
    lost = sorted(set(labels) - {clip.id for clip in clips})
    if faulty := [f"{name} ({BAD_VIDEOS[name]})" for name in lost if name in there and name in BAD_VIDEOS]:
        yield f"left out, since their files do not hold what was rated: {', '.join(faulty)}"
    missing = [name for name in lost if name not in there or name not in BAD_VIDEOS]
    yield from missing_note(missing, len(labels), TABLE.name, needed)
    if unrated := sorted(there - set(labels)):
        yield f"{counted(len(unrated), 'clip')} without a row in {TABLE.name}, not read: {some(unrated)}"
    yield from empty_split_notes(clips, SPLIT_MEMBERS)
