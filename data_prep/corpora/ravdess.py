"""RAVDESS: takes named by seven numbers, as 01-01-06-02-02-01-05.mp4, in any folders.

Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 13(5), 2018. 24 actors
speak and sing two sentences with eight emotions in up to two intensities. The numbers in a name are modality, kind of
voice, emotion, intensity, sentence, repetition and actor.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.corpora.endings import SOUND_ENDINGS, VIDEO_ENDINGS, media_ending, without_media_ending
from data_prep.corpora.published import empty_split_notes, named_media
from data_prep.errors import CorpusError

LABELS = ("Neutral", "Calm", "Happy", "Sad", "Angry", "Fearful", "Disgust", "Surprised")
"""The emotions 01 to 08."""
SUNG = LABELS[:6]
"""The emotions of the songs."""
INTENSITIES = {"01": 0.5, "02": 1.0}
"""The label of the emotion that is acted, for normal and strong intensity. Neutral has no degrees: its label is 1."""

VOCAL = {"speech": ("01",), "song": ("02",), "both": ("01", "02")}
AUDIOVISUAL, VIDEO_ONLY, AUDIO_ONLY = "01", "02", "03"
MODALITIES = (AUDIOVISUAL, AUDIO_ONLY, VIDEO_ONLY)
"""The versions in which a performance is published. It is read once: in the first version here that is available."""

SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
LAST_ACTOR = {"train": 16, "valid": 20, "test": 24}
"""By split, its last actor. Actors with odd numbers are men, those with even numbers women: every split has as many."""
SPLIT_MEMBERS = {"train": "actors 1 to 16", "valid": "actors 17 to 20", "test": "actors 21 to 24"}

NAME = re.compile(
    r"(?P<modality>0[123])-(?P<vocal>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<sentence>0[12])"
    r"-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
)


def read_ravdess(source: Path, vocal: str = "both") -> Corpus:
    """Finds the takes of RAVDESS, and of each performance the version with the most modalities.

    Args:
        source: a folder that holds the takes, in any subfolders.
        vocal: speech, song or both. Without speech, the labels are those of the songs: SUNG.

    Raises:
        CorpusError: the folder holds no take, or two different files of one name.
    """
    takes = named_media(source, take_name)
    takes.need_some("Actor_05/01-01-06-02-02-01-05.mp4")
    chosen: dict[str, str] = {}
    for name in sorted(takes.files, key=lambda name: (MODALITIES.index(name[:2]), name)):
        if name[3:5] in VOCAL[vocal]:
            chosen.setdefault(name[3:], name)
    if not chosen:
        raise CorpusError(f"{source}: found no {vocal} among {len(takes.files)} takes; --vocal=both reads all")
    labels = SUNG if vocal == "song" else LABELS
    clips = [_clip(name, takes.files[name], labels) for name in sorted(chosen.values())]
    notes = [*takes.notes, *_notes(takes.files, set(chosen.values()), vocal), *empty_split_notes(clips, SPLIT_MEMBERS)]
    return Corpus("ravdess", labels, (0.0, 1.0), tuple(clips), notes=tuple(notes))


def take_name(file: str) -> str:
    """A file's name without its ending; "" if it is none of RAVDESS: only neutral lacks a strong intensity."""
    found = NAME.fullmatch(without_media_ending(file))
    if found is None or (found["emotion"], found["intensity"]) == ("01", "02"):
        return ""
    if found["vocal"] == "02" and int(found["emotion"]) > len(SUNG):
        return ""
    endings = SOUND_ENDINGS if found["modality"] == AUDIO_ONLY else VIDEO_ENDINGS
    return found[0] if media_ending(file) in endings else ""


def _clip(name: str, path: Path, labels: Sequence[str]) -> ClipSource:
    modality, _, emotion, intensity, sentence, _, actor = name.split("-")
    acted = 1.0 if emotion == "01" else INTENSITIES[intensity]
    is_sound = modality == AUDIO_ONLY
    return ClipSource(
        name,
        video=None if is_sound else path,
        audio=path if is_sound else None,
        transcript=SENTENCES[sentence],
        labels=tuple(acted if number == int(emotion) else 0.0 for number in range(1, len(labels) + 1)),
        subject=f"Actor_{actor}",
        split=next(split for split, last in LAST_ACTOR.items() if int(actor) <= last),
    )


def _notes(names: Collection[str], chosen: Collection[str], vocal: str) -> Iterator[str]:
    """Yields notes on the takes that are not read."""
    other = "song" if vocal == "speech" else "speech"
    if count := sum(name[3:5] not in VOCAL[vocal] for name in names):
        yield f"{count} takes of {other} are not read (--vocal=both does)"
    for modality, what in {VIDEO_ONLY: "video-only", AUDIO_ONLY: "audio-only"}.items():
        takes = [name for name in names if name[:2] == modality and name[3:5] in VOCAL[vocal]]
        if count := len(set(takes) - set(chosen)):
            yield f"{count} {what} takes are not read, since another version of the same performance is"
        if count := len(set(takes) & set(chosen)):
            yield f"{count} performances are {what}"
    if vocal == "both" and not any(name[3:5] in VOCAL["speech"] for name in chosen):
        yield "all takes are songs, which have no Disgust and no Surprised: --vocal=song leaves those labels out"
