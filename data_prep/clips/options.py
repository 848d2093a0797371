"""How clips are read: options that all clips of a dataset share."""

import dataclasses

from data_prep.clips.detectors import HAAR


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """How a clip is read.

    Attributes:
        max_frames: largest number of pictures to keep, spread evenly over time.
        max_seconds: pictures and sound after this many seconds are not read.
        face_size: side of the face crops, in pixels.
        margin: margin that a crop adds on every side, as a share of the face's side.
        jpeg_quality: JPEG quality of the stored crops, 0 to 100.
        no_face: how to treat a video without any face: vision is "absent", or the "centre" of its pictures is used.
        detector: a built-in face detector, or MODULE:FUNCTION that returns one, see `data_prep.clips.detectors`.
        asr: model that transcribes clips without a transcript, see `data_prep.clips.speech`; "" for no transcription.
        asr_language: code of the spoken language (`en`, `de`, ...); "" to detect it in each clip.
    """

    max_frames: int = 400
    max_seconds: float = 12.0
    face_size: int = 224
    margin: float = 0.1
    jpeg_quality: int = 92
    no_face: str = "absent"
    detector: str = HAAR
    asr: str = ""
    asr_language: str = ""
