"""Deliberate corruption of training clips, which labels the reliable steps (ours: quality supervision).

Each `corrupt_...` function corrupts a segment of one modality and returns a corrupted copy and a boolean mask that is
True for the unchanged steps. The generator determines kind, place and strength; the same generator state gives the
same corruption.
"""

import cv2
import librosa
import numpy as np

FRAME = 320
"""Number of samples over which loudness is measured: 20 ms, one step of wav2vec 2.0."""

SNR_DB = (0.0, 20.0)
"""Lowest and highest signal-to-noise ratio, in dB, of the noise added to a voice."""
COVERED = (0.5, 0.9)
"""Smallest and largest fraction of a face's height and width that an occluder covers."""
SILENT_DB = 40.0
"""Audio this many dB below the clip's loudest 20 ms counts as silent."""
SEGMENT = (0.25, 1.0)
"""Shortest and longest segment, as a fraction of the clip's valid steps."""


def settings() -> str:
    """The constants above, on which cached corrupted features depend."""
    return repr({"snr_db": SNR_DB, "covered": COVERED, "segment": SEGMENT, "silent_db": SILENT_DB})


def segment(rng: np.random.Generator, mask: np.ndarray) -> slice:
    """A random run of steps between the first and the last valid one; empty if none is valid."""
    valid = np.flatnonzero(mask)
    if not valid.size:
        return slice(0, 0)
    first, length = int(valid[0]), int(valid[-1] - valid[0] + 1)
    size = max(1, round(length * rng.uniform(*SEGMENT)))
    start = first + int(rng.integers(0, length - size + 1))
    return slice(start, start + size)


def corrupt_faces(rng: np.random.Generator, frames: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Occludes, blurs or blacks out the faces of a segment.

    Args:
        rng: the clip's generator.
        frames: uint8 [N, H, W, 3].
        mask: bool [N], frames that show a face.

    Returns:
        The frames, and a mask bool [N] of the unchanged ones.
    """
    steps = segment(rng, mask)
    frames, clean = frames.copy(), np.ones(len(frames), bool)
    clean[steps] = False
    match rng.choice(("occlude", "blur", "black")):
        case "occlude":
            occlude(rng, frames[steps], (rng.uniform(*COVERED), rng.uniform(*COVERED)))
        case "blur":
            sigma = frames.shape[1] * rng.uniform(0.08, 0.2)
            for index in range(steps.start, steps.stop):
                frames[index] = cv2.GaussianBlur(frames[index], (0, 0), sigma)
        case "black":
            frames[steps] = 0
    return frames, clean


def corrupt_voice(rng: np.random.Generator, audio: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds noise at `SNR_DB` to a segment of a voice, or silences the segment.

    Args:
        rng: the clip's generator.
        audio: int16 [S].
        mask: bool [S], valid samples.

    Returns:
        The audio, and a mask bool [S] of the unchanged samples.
    """
    steps = segment(rng, mask)
    audio, clean = audio.copy(), np.ones(len(audio), bool)
    clean[steps] = False
    if rng.random() < 0.25:
        audio[steps] = 0
        return audio, clean
    loudness = np.sqrt(np.mean(np.square(audio[mask], dtype=np.float32)))
    add_noise(rng, audio[steps], loudness * 10 ** (-rng.uniform(*SNR_DB) / 20))
    return audio, clean


def corrupt_words(
    rng: np.random.Generator, tokens: np.ndarray, words: np.ndarray, mask_token: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """Masks words of a segment, each with a probability drawn once per clip.

    Args:
        rng: the clip's generator.
        tokens: int32 or str [L].
        words: bool [L], tokens that are words (neither padding nor special).
        mask_token: the token that replaces a masked word.

    Returns:
        The tokens, and a mask bool [L] of the unchanged ones.
    """
    inside = np.zeros(len(tokens), bool)
    inside[segment(rng, words)] = True
    masked = words & inside & (rng.random(len(tokens)) < rng.uniform(0.3, 1.0))
    return np.where(masked, tokens.dtype.type(mask_token), tokens), ~masked


def corrupt_features(rng: np.random.Generator, steps: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replaces a segment of a user's own features by noise of the clip's mean and standard deviation in each column.

    Args:
        rng: the clip's generator.
        steps: float32 [t, D].
        mask: bool [t], valid steps.

    Returns:
        The features, and a mask bool [t] of the unchanged steps.
    """
    inside, clean = segment(rng, mask), np.ones(len(steps), bool)
    clean[inside] = False
    steps, valid = steps.copy(), steps[mask]
    noise = rng.standard_normal(steps[inside].shape, np.float32)
    steps[inside] = valid.mean(axis=0) + valid.std(axis=0) * noise
    return steps, clean


def occlude(rng: np.random.Generator, frames: np.ndarray, share: tuple[float, float]) -> None:
    """Draws a grainy rectangle at the same position in all frames, uint8 [n, H, W, 3], in place.

    Args:
        rng: determines position and colour.
        frames: the frames to cover.
        share: height and width of the rectangle as fractions of the frame's.
    """
    height, width = frames.shape[1:3]
    rows, columns = round(height * share[0]), round(width * share[1])
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    colour = rng.integers(0, 256, 3)
    grain = rng.integers(-20, 21, (rows, columns, 1))
    frames[:, top : top + rows, left : left + columns] = np.clip(colour + grain, 0, 255)


def add_noise(rng: np.random.Generator, audio: np.ndarray, loudness: float) -> None:
    """Adds noise of the root mean square `loudness` to audio, int16 [n], in place, in a random colour."""
    colour = rng.uniform(0.0, 1.0)  # 0: white noise, 1: noise that falls by 6 dB an octave
    noise = _coloured_noise(rng, len(audio), colour) * loudness
    audio[:] = np.clip(audio.astype(np.float32) + noise, -32768, 32767)


def audible(audio: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Valid samples that are not silent, bool [S]: less than `SILENT_DB` below the loudest 20 ms."""
    signal = np.where(mask, audio, 0) / np.float32(32768)
    loudness = librosa.feature.rms(y=signal, frame_length=2 * FRAME, hop_length=FRAME)[0]
    loud = loudness > loudness.max() * 10 ** (-SILENT_DB / 20)
    return mask & np.repeat(loud, FRAME)[: len(audio)]


def _coloured_noise(rng: np.random.Generator, length: int, colour: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** colour
    noise = np.fft.irfft(spectrum, length)
    return (noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-12)).astype(np.float32)
