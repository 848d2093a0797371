"""Reads the pictures of a media file as displayed, by timestamp and in constant memory."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from data_prep.media.container import LIMITS, Damage, decode, open_media
from data_prep.media.geometry import display_matrix, set_upright, shown_size
from data_prep.media.hdr import MOST_SIDE, TRANSFERS, tone_map
from data_prep.media.interlacing import deinterlaced
from data_prep.media.remarks import CHANGED, DAMAGED_PICTURES, HDR, INTERLACED, Remark
from data_prep.media.timeline import stamped, track_packets
from data_prep.media.tracks import choose_tracks


def read_pictures(
    path: Path, stamps: np.ndarray, remarks: list[Remark], joined: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (timestamp, uint8 [height, width, 3] RGB) for the given timestamps that can be decoded.

    They come in the order of the decoder: ascending, unless a file of intra-coded pictures stores them out of order.
    Pictures are upright and not interlaced, with square pixels and SDR colours. Their size may change within a stream.

    Args:
        path: the media file.
        stamps: timestamps that `read_timeline` lists.
        remarks: list to which remarks are appended, after the last picture.
        joined: `Timeline.joined` of the file.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    wanted = set(stamps.tolist())
    matrix, last_size = None, ""
    damage, sizes, transfers = Damage(), dict[str, None](), dict[str, None]()
    with open_media(path) as container:
        stream = choose_tracks(container).video
        if stream is None:
            return
        stream.codec_context.options = {"max_pixels": LIMITS["max_pixels"]}
        aspect = float(stream.sample_aspect_ratio or 0)
        reformatter = VideoReformatter()  # shared, since setting up a conversion is slower than running it
        base, interlaced = stream.time_base or Fraction(1, 1000), 0
        since = float(min(wanted, default=0) * base)
        packets = track_packets(container, "video", joined, since)
        frames = (frame for packet in packets for frame in decode(packet, damage))
        for stamp, frame, is_interlaced in deinterlaced(stamped(stream, frames), base) if wanted else ():
            if stamp in wanted:
                wanted.discard(stamp)
                interlaced += is_interlaced
                size = f"{frame.width}x{frame.height}"
                if size != last_size:  # PyAV keeps every frame whose side data are read until garbage is collected
                    matrix, last_size = display_matrix(frame), size
                sizes[size] = None
                if frame.color_trc in TRANSFERS:
                    transfers[TRANSFERS[frame.color_trc]] = None
                yield stamp, set_upright(_as_shown(frame, aspect, reformatter), matrix)
            if not wanted:
                break
    if damage.packets:
        remarks.append(Remark(DAMAGED_PICTURES, f"{path.name}: {damage.packets} packets"))
    if len(sizes) > 1:
        remarks.append(Remark(CHANGED, f"{path.name}: pictures of {', then '.join(sizes)}"))
    if interlaced:
        remarks.append(Remark(INTERLACED, f"{path.name}: {interlaced} pictures"))
    if transfers:
        remarks.append(Remark(HDR, f"{path.name}: {', '.join(transfers)}"))


def _as_shown(frame: av.VideoFrame, aspect: float, reformatter: VideoReformatter) -> np.ndarray:
    """The picture with square pixels and SDR colours, not yet upright."""
    width, height = shown_size(frame.width, frame.height, aspect)
    if transfer := TRANSFERS.get(frame.color_trc):
        scale = min(1.0, MOST_SIDE / max(width, height))
        size = {"width": max(2, round(width * scale)), "height": max(2, round(height * scale))}
        wide = reformatter.reformat(frame, format="rgb48le", dst_color_range="JPEG", **size)
        return tone_map(wide.to_ndarray(), transfer)
    return reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
