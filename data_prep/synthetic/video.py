"""Writes one clip of the synthetic corpus as a real mp4: H.264 pictures and AAC sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_prep.synthetic.face import render_frames
from data_prep.synthetic.plan import FPS, ClipPlan
from data_prep.synthetic.voice import RATE, render_voice
from emi_jax.files import whole_file

AAC = {"aac_coder": "fast", "aac_tns": "0", "aac_pns": "0", "b": "48000"}
"""Options of the sound's encoder: speech at 16 kHz needs no more bits per second, and no search for a shorter code."""


def write_clip(plan: ClipPlan, folder: Path) -> None:
    """Renders a clip into `folder/<id>.mp4`, atomically."""
    final = folder / f"{plan.id}.mp4"
    if final.exists():
        return
    sound = None if plan.defects.missing == "voice" else render_voice(plan)
    with whole_file(final) as partial:
        write_mp4(partial, render_frames(plan), sound, FPS, RATE)


def write_mp4(target: Path, frames: np.ndarray, sound: np.ndarray | None, fps: int, rate: int) -> None:
    """Writes pictures and sound.

    Args:
        target: a path with any ending.
        frames: uint8 [N, height, width, 3] RGB, even height and width.
        sound: float32 [samples] in [-1, 1], or None for no audio track.
        fps: frames per second.
        rate: samples per second.
    """
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "25"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # the corpus is already written by several processes
        audio = container.add_stream("aac", rate=rate, layout="mono", options=AAC) if sound is not None else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(block))
            container.mux(audio.encode())
