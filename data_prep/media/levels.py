"""Mixes the channels of a recording to mono: which channels are audible, and how loud the result is."""

from collections.abc import Sequence

import numpy as np

from data_prep.media.remarks import CANCELLING, MIXED, NOT_FINITE, SHIFTED, SILENT, TOO_LOUD, Remark
from emi_jax.modalities import AUDIBLE

OFFSET = 0.01
"""Share of full scale above which a constant (DC) offset is removed."""
OFFSET_SHARE = 0.1
"""Share of the sound's RMS level that an offset must also exceed, since the mean of a short sound is never quite 0."""
FAINT = 1e-4
"""Share of the loudest channel's power, -40 dB, below which a channel counts as silent."""
CANCELLED = 0.1
"""Power of a mix relative to that of independent channels, -10 dB, below which the channels are said to cancel."""
SPIKE = 10
"""Multiple of the 99.9th percentile above which a peak counts as a click, which is clipped, rather than as voice."""
REPORTED_PEAK = 1.12
"""Peak, +1 dB, up to which samples beyond full scale are normal for lossy coding and not reported."""
WEIGHTS = {"FC": 1.0, "FL": 0.7071, "FR": 0.7071, "LFE": 0.0, "LFE2": 0.0}
"""Weights of channels in a mix: 0.5 for side and back channels (ITU-R BS.775), 1 if the channels have no names."""


def as_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any format as float32, with full scale at 1."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which `finite` handles
            return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def finite(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Sets non-finite samples to zero and returns the samples and the number of replaced ones."""
    good = np.isfinite(samples)
    return (samples, 0) if good.all() else (np.where(good, samples, 0), int((~good).sum()))


def mix(pieces: Sequence[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], list[Remark]]:
    """Mixes the audible channels of one layout: their weighted mean, or the loudest one if they cancel.

    Args:
        pieces: float32 [channels, samples] each.
        names: FFmpeg's names of the channels.

    Returns:
        float32 [samples] for each piece, and remarks.
    """
    if len(names) == 1:
        return [piece[0] for piece in pieces], []
    power = sum((np.square(piece, dtype=np.float64).sum(1) for piece in pieces), np.zeros(len(names)))
    weights = np.array([WEIGHTS.get(name, 0.5) if _is_known(name) else 1.0 for name in names])
    heard = power > FAINT * power.max()
    if not weights[heard].any():  # nothing but LFE
        weights = np.ones(len(names))
    weights = np.where(heard, weights, 0.0)
    weights = (weights / max(weights.sum(), 1e-9)).astype(np.float32)
    remarks = []
    if len(names) > 2:
        remarks.append(Remark(MIXED, f"{len(names)} channels, {heard.sum()} of them audible"))
    mixed = [weights @ piece for piece in pieces]
    if sum(np.square(piece, dtype=np.float64).sum() for piece in mixed) < CANCELLED * (weights**2 @ power):
        loudest = int(power.argmax())
        remarks.append(Remark(CANCELLING, f"channel {loudest + 1} of {len(names)}"))
        mixed = [piece[loudest] for piece in pieces]
    return mixed, remarks


def as_int16(samples: np.ndarray) -> tuple[np.ndarray, list[Remark]]:
    """Converts float32 [samples] to int16; scales down sound beyond full scale, returns [0] if it is inaudible."""
    if not len(samples):
        return np.zeros(0, np.int16), []
    remarks = []
    offset = np.clip(samples, -1, 1).mean(dtype=np.float64).astype(np.float32)  # ignores a single huge sample
    if np.abs(samples - offset).max() < AUDIBLE:
        return np.zeros(0, np.int16), [Remark(SILENT, f"peak below {AUDIBLE * 32768:.0f} of 32768")]
    if abs(offset) > max(OFFSET, OFFSET_SHARE * float(np.sqrt(np.square(samples, dtype=np.float64).mean()))):
        samples = samples - offset
        remarks.append(Remark(SHIFTED, f"by {offset:.3g} of full scale"))
    size = np.abs(samples)
    peak = float(size.max())
    if peak > 1:
        typical = float(np.percentile(size, 99.9))
        scale = peak if peak < SPIKE * typical else max(1.0, typical)
        samples = samples / scale
        if peak > REPORTED_PEAK:
            remarks.append(Remark(TOO_LOUD, f"peak {peak:.3g}, divided by {scale:.3g}"))
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16), remarks


def not_finite(count: int) -> list[Remark]:
    """The remark on samples that `finite` counted."""
    return [Remark(NOT_FINITE, f"{count} samples")] if count else []


def _is_known(name: str) -> bool:
    return bool(name) and name != "NONE" and not name.startswith("AMBI")
