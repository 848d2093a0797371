"""Which pictures of a clip are read, and the face in each."""

import cv2
import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Example, clip_id

MIRRORED = [1, 0, 2, 4, 3]
"""The five landmarks in the order that they have in a mirrored face: right and left change places."""


def pick_frames(found: np.ndarray, places: int, rng: np.random.Generator | None) -> np.ndarray:
    """Chooses which pictures of a clip to read: spread over all, or, if those have no face, over those that have one.

    Args:
        found: bool, for each picture whether a face was found in it.
        places: the maximum number of pictures to read.
        rng: draws the pictures; None takes the middles of equal parts.
    """
    picks = spread(len(found), places, rng)
    if found[picks].any():
        return picks
    faces = np.flatnonzero(found)
    return faces[spread(len(faces), places, rng)] if faces.size else picks


def at_rate(times: np.ndarray, rate: float) -> np.ndarray:
    """Indices of the pictures nearest to every 1 / rate seconds, of ascending times [N]; all for a rate of 0."""
    if not rate or not len(times):
        return np.arange(len(times))
    wanted = np.arange(times[0], times[-1] + 0.5 / rate, 1 / rate)
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    after = np.minimum(after, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.unique(np.where(wanted - times[before] < times[after] - wanted, before, after))


def spread(count: int, places: int, rng: np.random.Generator | None) -> np.ndarray:
    """Indices of at most `places` of `count` items, one from each of equal parts: its middle, or a random one."""
    if count <= places:
        return np.arange(count)
    offsets = 0.5 if rng is None else rng.random(places)
    return np.floor((np.arange(places) + offsets) * count / places).astype(int)


def random_crop(rng: np.random.Generator, smallest: float) -> tuple[float, float, float]:
    """A square (top, left, side), in fractions of the picture's side."""
    side = rng.uniform(smallest, 1.0)
    top, left = rng.uniform(0.0, 1.0 - side, 2)
    return top, left, side


def read_face(example: Example, index: int, size: int, crop: tuple[float, float, float], flip: bool) -> np.ndarray:
    """A face picture of a clip, uint8 [size, size, 3]: its part `crop` (`random_crop`), mirrored if `flip`.

    Raises:
        UserError: the picture is no readable JPEG.
    """
    encoded = np.frombuffer(example["faces"][index], np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise UserError(
            f"clip {clip_id(example)!r}: face picture {index} is no readable JPEG; find all such clips with: "
            "python -m data_prep --check DIR"
        )
    height, width = picture.shape[:2]
    top, left, side = crop
    rows = slice(round(top * height), round((top + side) * height))
    columns = slice(round(left * width), round((left + side) * width))
    picture = cv2.resize(picture[rows, columns], (size, size), interpolation=cv2.INTER_AREA)
    return picture[:, ::-1] if flip else picture


def in_crop(points: np.ndarray, crop: tuple[float, float, float], flip: bool) -> np.ndarray:
    """Landmarks [n, 5, 2] in shares of a face picture, as they lie in a crop of it that may be mirrored."""
    top, left, side = crop
    points = (points - np.array([left, top], np.float32)) / np.float32(side)
    return np.stack([1 - points[:, MIRRORED, 0], points[:, MIRRORED, 1]], axis=-1) if flip else points
