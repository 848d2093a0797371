"""How clips are read: the choices that all clips of a dataset share."""

import dataclasses

from data_prep.clips.detectors import HAAR


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """How a clip is read.

    Attributes:
        max_frames: at most this many pictures, spread evenly over the clip's time.
        max_seconds: what comes later is not read.
        face_size: side of the face crops, in pixels.
        margin: share of the face's side that a crop adds all round.
        jpeg_quality: of the stored crops, 0 to 100.
        no_face: what becomes of a video without any face: vision is "absent", or the "centre" of its pictures is used.
        detector: MODULE:FUNCTION that makes the face detector, see `data_prep.clips.detectors`.
        asr: model that writes transcripts for the clips that have none, see `data_prep.clips.speech`; "" for none.
    """

    max_frames: int = 400
    max_seconds: float = 12.0
    face_size: int = 224
    margin: float = 0.1
    jpeg_quality: int = 92
    no_face: str = "absent"
    detector: str = HAAR
    asr: str = ""
