"""Reads the sound of a media file: mono at 16 kHz, with each sample at the time of its timestamp."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soxr

from data_prep.media.container import SAMPLE_RATE, Damage, decode, open_media
from data_prep.media.levels import as_float, as_int16, finite, mix, not_finite
from data_prep.media.remarks import CHANGED, DAMAGED_SOUND, GAP, NO_RATE, Remark
from data_prep.media.timeline import BEYOND, PREROLL, Timeline, long_remark, track_packets

LATE = 0.015
"""Seconds after its expected time above which sound counts as late (a packet was lost) and silence fills the gap."""
EARLY = 0.04
"""Seconds by which sound may overlap earlier sound; a longer overlap is dropped."""
REPORTED_GAP = 0.04
"""Least total seconds of filled gaps for which there is a remark."""
RATES = range(1_000, 768_001)
"""Plausible sample rates in Hz."""
BLOCK = 1 << 15
"""Samples that are converted together: a frame of the decoder has few."""


class _Run:
    """Sound without gaps, in one format, converted to float32 and resampled in blocks as it arrives.

    Attributes:
        start: seconds since second 0 of the clip.
        seconds: length so far.
        format: sample rate and names of the channels.
        bad_samples: number of samples that were not finite, in the complete sound.
    """

    def __init__(self, start: float, rate: int, names: tuple[str, ...]) -> None:
        self.start, self.seconds, self.format, self.bad_samples = start, 0.0, (rate, names), 0
        self._waiting: list[np.ndarray] = []
        self._left = BLOCK
        self._blocks: list[np.ndarray] = []
        same = rate == SAMPLE_RATE
        self._resampler = None if same else soxr.ResampleStream(rate, SAMPLE_RATE, len(names), dtype="float32")

    @property
    def end(self) -> float:
        """Seconds since second 0 at which the next sample is expected."""
        return self.start + self.seconds

    def add(self, samples: np.ndarray) -> None:
        """Appends [channels, samples] as the decoder gives them."""
        if self._waiting and self._waiting[0].dtype != samples.dtype:
            self._convert()
        self.seconds += samples.shape[1] / self.format[0]
        self._waiting.append(samples)
        self._left -= samples.shape[1]
        if self._left <= 0:
            self._convert()

    def finish(self) -> np.ndarray:
        """Returns the complete sound, float32 [channels, samples] at 16 kHz."""
        self._waiting = self._waiting or [np.zeros((len(self.format[1]), 0), np.float32)]
        self._convert(last=True)
        return np.concatenate(self._blocks, axis=1)

    def _convert(self, last: bool = False) -> None:
        samples, bad = finite(as_float(np.concatenate(self._waiting, axis=1)))
        self.bad_samples += bad
        self._waiting, self._left = [], BLOCK
        if self._resampler is not None:
            resampled = self._resampler.resample_chunk(np.ascontiguousarray(samples.T), last=last)
            samples = resampled.reshape(-1, len(samples)).T
        self._blocks.append(samples)


@dataclasses.dataclass
class _Findings:
    damage: Damage = dataclasses.field(default_factory=Damage)
    gaps: float = 0.0
    odd_rate: int = 0
    too_long: Remark | None = None


def read_sound(path: Path, timeline: Timeline, max_seconds: float, remarks: list[Remark]) -> tuple[np.ndarray, float]:
    """Reads the sound of a file and places it by its timestamps; silence fills what is missing.

    Args:
        path: the media file.
        timeline: the file's timeline; sound before its second `since` is dropped.
        max_seconds: later sound is not read.
        remarks: list to which remarks are appended.

    Returns:
        int16 [samples] from `since` on, mono at 16 kHz, [0] if there is no audible sound; and the end of the sound in
        seconds since second 0.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    findings = _Findings()
    with open_media(path) as container:
        runs = list(_runs(container, timeline, max_seconds, findings))
    formats = sorted({run.format for run in runs})
    audio, found = as_int16(_mixed(runs, timeline.since, max_seconds, remarks))
    if len(formats) > 1:
        each = " and ".join(f"{rate} Hz with {len(names)} channels" for rate, names in formats)
        remarks.append(Remark(CHANGED, f"{path.name}: sound of {each}"))
    if findings.odd_rate:
        remarks.append(Remark(NO_RATE, f"{path.name}: {findings.odd_rate} Hz"))
    if findings.damage.packets:
        remarks.append(Remark(DAMAGED_SOUND, f"{path.name}: {findings.damage.packets} packets"))
    if findings.gaps >= REPORTED_GAP:
        remarks.append(Remark(GAP, f"{path.name}: {findings.gaps:.2f} s"))
    remarks += [findings.too_long] if findings.too_long else []
    remarks += not_finite(sum(run.bad_samples for run in runs)) + found
    return audio, max((run.end for run in runs), default=0.0)


def _runs(
    container: av.container.InputContainer, timeline: Timeline, max_seconds: float, findings: _Findings
) -> Iterator[_Run]:
    run: _Run | None = None
    beyond = 0
    for frame in _frames(container, timeline, findings):
        expected = run.end if run is not None else 0.0
        at = expected if frame.time is None else frame.time - timeline.start
        if frame.time is not None and at < timeline.since - PREROLL:
            continue
        if max(at, expected) >= max_seconds:
            beyond += 1
            if expected < max_seconds and beyond < BEYOND:
                continue
            findings.too_long = long_remark(container, max_seconds)
            break
        beyond = 0
        names = tuple(channel.name for channel in frame.layout.channels)
        samples = _channels(frame, len(names))
        late = at - expected
        if run is not None and late > LATE:
            findings.gaps += late
        elif late < (-EARLY if run is not None else 0.0):
            samples = samples[:, round(-late * frame.sample_rate) :]
        if not samples.shape[1]:
            continue
        if run is None or late > LATE or run.format != (frame.sample_rate, names):
            if run is not None:
                yield run
            run = _Run(at if late > LATE else expected, frame.sample_rate, names)
        run.add(samples)
    if beyond and findings.too_long is None:
        findings.too_long = long_remark(container, max_seconds)
    if run is not None:
        yield run


def _frames(container: av.container.InputContainer, timeline: Timeline, findings: _Findings) -> Iterator[av.AudioFrame]:
    since = timeline.start + timeline.since if timeline.since else 0.0
    for packet in track_packets(container, "audio", timeline.joined, since):
        for frame in decode(packet, findings.damage):
            if frame.sample_rate not in RATES:
                findings.odd_rate = frame.sample_rate
            elif frame.samples:
                yield frame


def _channels(frame: av.AudioFrame, count: int) -> np.ndarray:
    """The samples of a frame in its own format, [channels, samples]."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, count).T


def _mixed(runs: list[_Run], since: float, until: float, remarks: list[Remark]) -> np.ndarray:
    """Places all runs on the time axis and mixes them: float32 [samples], mono, from one second to another."""
    placed: list[tuple[int, np.ndarray]] = []
    for names in dict.fromkeys(run.format[1] for run in runs):
        same = [run for run in runs if run.format[1] == names]
        voices, found = mix([run.finish() for run in same], names)
        placed += [(round((run.start - since) * SAMPLE_RATE), voice) for run, voice in zip(same, voices, strict=True)]
        remarks += found
    placed = [(max(0, at), voice[max(0, -at) :]) for at, voice in placed]
    limit = round((until - since) * SAMPLE_RATE)
    length = min(limit, max((at + len(voice) for at, voice in placed if len(voice)), default=0))
    audio = np.zeros(max(0, length), np.float32)
    for at, voice in placed:
        audio[at : at + len(voice)] = voice[: max(0, length - at)]
    return audio
