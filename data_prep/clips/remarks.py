"""What was odd about a clip's files and was put up with: each kind has one name, by which the report counts it."""

from typing import NamedTuple

WRONG_RATE = "wrong frame rate claimed; timestamps are used"
LONG = "longer than what is read"
SHORT = "shorter than a quarter of a second"
CUT_OFF = "ends before its header says"
DAMAGED_PICTURES = "damaged pictures"
DAMAGED_SOUND = "damaged sound"
WARNED = "FFmpeg warned while reading"
WRONG_ENDING = "file ending does not tell the format"
MANY_IMAGES = "more face images than are kept"
BAD_IMAGE = "face image that cannot be read"
NO_VISION = "no pictures"
NO_FACE = "no face found: vision counts as absent"
CENTRED = "no face found: the middle of the pictures is used"
NO_AUDIO = "no sound"
NO_TEXT = "no words"
WORDS_ENCODING = "words in another encoding than UTF-8"
OTHER_ENDING = "table names another file ending"

SHORTEST = 0.25
"""Seconds below which a clip is remarked on as SHORT."""


class Remark(NamedTuple):
    """One oddity of one clip."""

    kind: str
    detail: str = ""
