"""How clips are read: options that all clips of a dataset share."""

import dataclasses
from typing import Any

from data_prep.clips.detectors import YUNET, load_detector
from data_prep.clips.yunet import read_model

LARGEST, SPEAKING, ONLY = "largest", "speaking", "only"
LANDMARKS, NO_ALIGNMENT = "landmarks", "none"
ON_THIS_MACHINE = ("detector_path",)
"""Options that are not stored with a dataset or run."""


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """How a clip is read.

    Attributes:
        max_frames: largest number of pictures to keep, spread evenly over time.
        max_seconds: pictures and sound after this many seconds are not read.
        face_size: side of the face crops, in pixels.
        margin: margin that a crop adds on every side, as a share of the face's side.
        align: "landmarks": crops are turned and scaled by the face's landmarks, see `data_prep.clips.alignment`, where
            the detector finds them; "none": crops are upright squares around its box.
        face: whose face is read where there are several people: the "largest" one or the "speaking" person's; "only"
            says that each clip shows one person, so that smaller faces than theirs need not be searched for.
        jpeg_quality: JPEG quality of the stored crops, 0 to 100.
        no_face: how to treat a video without any face: vision is "absent", or the "centre" of its pictures is used.
        detector: a built-in face detector, or MODULE:FUNCTION that returns one, see `data_prep.clips.detectors`.
        detector_model: SHA-256 of the detector's model file; "" if it is unknown or there is no such file.
        detector_path: the detector's model file on this machine; "" for the one on the Hugging Face hub.
        asr: model that transcribes clips without a transcript, see `data_prep.clips.speech`; "" for no transcription.
        asr_language: code of the spoken language (`en`, `de`, ...); "" to detect it in each clip.
    """

    max_frames: int = 400
    max_seconds: float = 12.0
    face_size: int = 224
    margin: float = 0.1
    align: str = LANDMARKS
    face: str = LARGEST
    jpeg_quality: int = 92
    no_face: str = "absent"
    detector: str = YUNET
    detector_model: str = ""
    detector_path: str = ""
    asr: str = ""
    asr_language: str = ""

    def checked(self) -> "ClipOptions":
        """These options with the hash of the detector's model file.

        Raises:
            CorpusError: the detector or its model file is missing or unusable.
        """
        load_detector(self.detector, self.detector_path, self.detector_model)
        if self.detector != YUNET:
            return self
        return dataclasses.replace(self, detector_model=read_model(self.detector_path, self.detector_model).sha256)

    def stored(self) -> dict[str, Any]:
        """The options that decide what an example holds; JSON-serialisable."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ON_THIS_MACHINE}
