"""A stylised voice: a pulse train filtered by moving formants, shaped by emotion.

Excitement raises the pitch and its range, Determination separates the syllables and strengthens the low frequencies,
Joy adds energy near 3 kHz, as a smile does, Empathic Pain makes the voice breathy and tremulous.
"""

import functools

import numpy as np
from scipy.fft import irfft, rfft  # fast in float32, unlike those of NumPy

from data_prep.synthetic.plan import ClipPlan

RATE = 16_000  # samples per second, as many as are read
_WINDOW, _HOP = 512, 128

_SHAPING = ("Joy", "Determination", "Empathic Pain", "Excitement")  # emotions that change the vocal tract's gain

# First two formants of each vowel in Hz, for an average adult (after Peterson and Barney, 1952).
_FORMANTS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}


def render_voice(plan: ClipPlan) -> np.ndarray:
    """The sound of a clip, float32 [samples at RATE] in [-1, 1]."""
    rng = np.random.default_rng([plan.seed, 2])
    speaker = np.random.default_rng([plan.speaker, 2])
    base = speaker.choice([110.0, 200.0]) * speaker.uniform(0.88, 1.14)
    tract = 0.92 + 0.16 * (base > 150) + speaker.uniform(-0.04, 0.04)
    times = np.arange(round(plan.seconds * RATE)) / RATE
    envelope = plan.envelope(times)
    cue = {name: value * envelope for name, value in plan.strengths("voice").items()}

    loudness, accent = _syllables(plan, times, rng)
    octaves = 0.75 * cue["Excitement"] + (0.10 + 0.35 * cue["Excitement"]) * accent
    tremble = np.sin(2 * np.pi * 6 * times)
    pitch = base * np.exp2(octaves + 0.02 * cue["Empathic Pain"] * tremble)
    phase = np.cumsum(pitch / RATE)
    pulses = 2 * (phase - np.floor(phase)) - 1
    breath = rng.standard_normal(len(times))
    source = pulses + (0.05 + 1.1 * cue["Empathic Pain"]) * breath
    source *= loudness * (1 + 0.7 * np.minimum(cue["Empathic Pain"], 1) * tremble)
    sound = _filter(source, _envelope(plan, cue, tract))
    sound *= 0.2 / (np.sqrt(np.mean(sound**2)) + 1e-6)
    return np.clip(_spoil(sound, plan.defects.snr_db, rng), -1, 1).astype(np.float32)


def _syllables(plan: ClipPlan, times: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Loudness in [0, 1] and pitch accent in [-1, 1] at each sample."""
    loudness, accent = np.full(len(times), 0.01), np.zeros(len(times))
    strength = plan.voice["Determination"] ** 0.7
    for k, syllable in enumerate(plan.syllables):
        first, last = np.searchsorted(times, [syllable.start, syllable.end])
        along = np.linspace(0, 1, last - first)
        arch = np.sin(np.pi * along)
        legato = 0.75 + 0.25 * arch
        staccato = np.clip(along / 0.04, 0, 1) * np.clip((0.62 - along) / 0.1, 0, 1)
        loudness[first:last] = legato + (staccato - legato) * min(1.0, 1.2 * strength)
        accent[first:last] = arch * (-1 if k % 2 else 1) * rng.uniform(0.6, 1.0)
    return loudness, accent


def _envelope(plan: ClipPlan, cue: dict[str, np.ndarray], tract: float) -> np.ndarray:
    """The vocal tract's gain at the centre of each window, float32 [frames, bins]."""
    middle = np.minimum(np.arange(_frames(round(plan.seconds * RATE))) * _HOP, len(cue["Joy"]) - 1)
    starts = np.array([syllable.start for syllable in plan.syllables])
    spoken = np.clip(np.searchsorted(starts, middle / RATE, side="right") - 1, 0, None)
    vowels = np.stack([_vowel(syllable.vowel, round(tract, 3)) for syllable in plan.syllables])
    shown = np.stack([cue[name][middle] for name in _SHAPING], axis=1)
    decibels = vowels[spoken] + shown @ _shaping()
    return np.exp(np.log(10) / 20 * decibels).astype(np.float32)


@functools.cache
def _shaping() -> np.ndarray:
    """What each emotion in _SHAPING adds to the gain at its full strength, in dB, [emotions, bins]."""
    hertz = _hertz()
    added = {
        "Joy": 34 * np.exp(-(((hertz - 3000) / 600) ** 2)),
        "Determination": 18 * np.exp(-((hertz / 500) ** 2)),
        "Empathic Pain": 14 * np.clip((hertz - 4500) / 2000, 0, 1),
        "Excitement": 22 * np.exp(-(((hertz - 1500) / 500) ** 2)),
    }
    return np.stack([added[name] for name in _SHAPING])


@functools.cache
def _vowel(vowel: str, tract: float) -> np.ndarray:
    """Gain in dB of one vowel, float32 [bins]: three formants on a falling spectrum."""
    hertz = _hertz()
    formants = (*_FORMANTS[vowel], 2600)
    peaks = [22 * np.exp(-(((hertz / tract - centre) / (90 + 0.06 * centre)) ** 2)) for centre in formants]
    return (np.max(peaks, axis=0) - 6 * np.log2(np.maximum(hertz, 100) / 100)).astype(np.float32)


def _hertz() -> np.ndarray:
    """The frequencies of a window's bins, [bins]."""
    return np.fft.rfftfreq(_WINDOW, 1 / RATE)


def _frames(samples: int) -> int:
    return -(-samples // _HOP) + 1


def _filter(source: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Filters by overlap-add: sqrt-Hann analysis and synthesis windows, each frame times its gain [frames, bins]."""
    window = np.sqrt(np.hanning(_WINDOW + 1)[:-1]).astype(np.float32)
    padded = np.pad(source.astype(np.float32), (_WINDOW // 2, _WINDOW + _HOP))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][: len(gain)]
    shaped = irfft(rfft(pieces * window) * gain, _WINDOW) * window
    hops = _WINDOW // _HOP
    out: np.ndarray = np.zeros((len(shaped) + hops - 1, _HOP), np.float32)
    for k in reversed(range(hops)):
        out[k : k + len(shaped)] += shaped[:, k * _HOP : (k + 1) * _HOP]
    return out.ravel()[_WINDOW // 2 : _WINDOW // 2 + len(source)] * (2 * _HOP / _WINDOW)


def _spoil(sound: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds brown-like room noise at the given signal-to-noise ratio; infinity adds none."""
    if np.isinf(snr_db):
        return sound + 1e-4 * rng.standard_normal(len(sound))
    spectrum = np.fft.rfft(rng.standard_normal(len(sound)))
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 80)), len(sound))
    return sound + noise * np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
