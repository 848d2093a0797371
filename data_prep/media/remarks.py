"""Remarks: irregularities of a clip's files and how they were handled. Reports count them by the name of their kind."""

from typing import NamedTuple

WRONG_ENDING = "file ending does not match the format"
WRONG_RATE = "wrong frame rate claimed; timestamps are used"
NO_TIMESTAMPS = "no timestamps; the claimed frame rate is used"
RESTARTED = "timestamps start again; the rest is placed after what came before"
OTHER_TRACKS = "several tracks of one kind; one is read"
NO_DECODER = "track that cannot be decoded"
CHANGED = "format changes midway"
HDR = "HDR pictures; tone-mapped"
LONG = "longer than what is read"
SHORT = "shorter than a quarter of a second"
CUT_OFF = "ends before its header says"
UNREADABLE = "file that cannot be read; the rest of the clip is"
BROKEN_OFF = "cannot be read to its end"
DAMAGED_PICTURES = "damaged pictures"
DAMAGED_SOUND = "damaged sound"
GAP = "gaps in the sound; filled with silence"
NOT_FINITE = "samples that are not finite; set to zero"
TOO_LOUD = "samples beyond full scale; the sound is scaled down"
SHIFTED = "constant offset of the sound; removed"
NO_RATE = "sample rate that cannot be right; the sound counts as absent"
MIXED = "more than two channels; mixed into one"
CANCELLING = "channels that cancel each other; the loudest is used"
SILENT = "no audible sample; sound counts as absent"
WARNED = "FFmpeg warned while reading"
MANY_IMAGES = "more face images than are kept"
BAD_IMAGE = "face image that cannot be read"
NO_VISION = "no pictures"
NO_FACE = "no face found; vision counts as absent"
CENTRED = "no face found; the middle of the pictures is used"
NO_AUDIO = "no sound"
NO_TEXT = "no words"
WORDS_ENCODING = "words in another encoding than UTF-8"
WORDS_UNTIMED = "times of words that are not used"
SAME_SOUND = "sound file that is also another clip's"
NO_FEATURES = "no file of features"
FEATURES_INVALID = "rows of features that are not valid; left out"
FEATURES_OF_MANY = "features of several people; those of one are kept"
FEATURES_LONG = "features for longer than what is read"
OTHER_ENDING = "table names another file ending"

SHORTEST = 0.25
"""Seconds below which a clip gets the remark SHORT."""


class Remark(NamedTuple):
    """One irregularity of one clip: its kind and details."""

    kind: str
    detail: str = ""
