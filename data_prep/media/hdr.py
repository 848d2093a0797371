"""Tone-maps HDR pictures (PQ and HLG, ITU-R BT.2100) to SDR (BT.709 colours, BT.1886 gamma)."""

import functools

import cv2
import numpy as np
from av.video.reformatter import ColorTrc

TRANSFERS = {ColorTrc.SMPTE2084.value: "PQ", ColorTrc.ARIB_STD_B67.value: "HLG"}
WHITE = 203.0
"""Luminance of diffuse white in candelas per square metre (BT.2408)."""
KNEE = 0.8
"""Share of SDR white above which highlights are compressed."""
LEVELS = 4096
MOST_SIDE = 1920
"""Longer side to which larger HDR pictures are reduced: tone mapping takes longer than decoding."""
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""Linear BT.2020 to BT.709 colours (BT.2087)."""


def tone_map(picture: np.ndarray, transfer: str) -> np.ndarray:
    """Maps uint16 [H, W, 3], BT.2020 RGB of full range in the given transfer (PQ or HLG), to uint8 [H, W, 3]."""
    light = cv2.transform(np.take(_to_light(transfer), picture >> 4), TO_709)
    return np.take(_to_sdr(), np.clip(light * LEVELS, 0, 4 * LEVELS - 1).astype(np.uint16))


@functools.cache
def _to_light(transfer: str) -> np.ndarray:
    """The linear light of LEVELS evenly spaced signal values, float32 [LEVELS]; 1 is diffuse white."""
    signal = np.linspace(0, 1, LEVELS)
    if transfer == "PQ":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = signal ** (1 / m2)
        nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:  # HLG on a display of 1000 candelas per square metre, with its system gamma applied per colour channel
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        nits = 1000 * scene**1.2
    return (nits / WHITE).astype(np.float32)


@functools.cache
def _to_sdr() -> np.ndarray:
    """The uint8 codes of 4 LEVELS linear lights from 0 to 4: linear below the knee, smoothly compressed above it."""
    light = np.arange(4 * LEVELS) / LEVELS
    compressed = KNEE + (1 - KNEE) * (1 - np.exp(-(light - KNEE) / (1 - KNEE)))
    return np.rint(255 * np.where(light <= KNEE, light, compressed) ** (1 / 2.4)).astype(np.uint8)
