"""Reads the pictures of a media file as displayed, by timestamp and in constant memory."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from data_prep.media.container import LIMITS, Damage, decode, open_media
from data_prep.media.geometry import display_matrix, set_upright, shown_size
from data_prep.media.hdr import MOST_SIDE, TRANSFERS, tone_map
from data_prep.media.remarks import CHANGED, DAMAGED_PICTURES, HDR, Remark
from data_prep.media.timeline import stamped, track_packets
from data_prep.media.tracks import choose_tracks


def read_pictures(
    path: Path, stamps: np.ndarray, remarks: list[Remark], joined: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (timestamp, uint8 [height, width, 3] RGB) for the given timestamps that can be decoded, ascending.

    Pictures are upright, with square pixels and SDR colours. Their size may change within a stream.

    Args:
        path: the media file.
        stamps: timestamps that `read_timeline` lists.
        remarks: list to which remarks are appended, after the last picture.
        joined: `Timeline.joined` of the file.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    wanted = set(stamps.tolist())
    damage, sizes, transfers = Damage(), dict[str, None](), dict[str, None]()
    with open_media(path) as container:
        stream = choose_tracks(container).video
        if stream is None:
            return
        stream.codec_context.options = {"max_pixels": LIMITS["max_pixels"]}
        aspect = float(stream.sample_aspect_ratio or 0)
        reformatter = VideoReformatter()  # shared, since setting up a conversion is slower than running it
        frames = (frame for packet in track_packets(container, "video", joined) for frame in decode(packet, damage))
        for stamp, frame in stamped(stream, frames) if wanted else ():
            if stamp in wanted:
                wanted.discard(stamp)
                sizes[f"{frame.width}x{frame.height}"] = None
                if frame.color_trc in TRANSFERS:
                    transfers[TRANSFERS[frame.color_trc]] = None
                yield stamp, _as_shown(frame, aspect, reformatter)
            if not wanted:
                break
    if damage.packets:
        remarks.append(Remark(DAMAGED_PICTURES, f"{path.name}: {damage.packets} packets"))
    if len(sizes) > 1:
        remarks.append(Remark(CHANGED, f"{path.name}: pictures of {', then '.join(sizes)}"))
    if transfers:
        remarks.append(Remark(HDR, f"{path.name}: {', '.join(transfers)}"))


def _as_shown(frame: av.VideoFrame, aspect: float, reformatter: VideoReformatter) -> np.ndarray:
    width, height = shown_size(frame.width, frame.height, aspect)
    if transfer := TRANSFERS.get(frame.color_trc):
        scale = min(1.0, MOST_SIDE / max(width, height))
        size = {"width": max(2, round(width * scale)), "height": max(2, round(height * scale))}
        wide = reformatter.reformat(frame, format="rgb48le", dst_color_range="JPEG", **size)
        picture = tone_map(wide.to_ndarray(), transfer)
    else:
        picture = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
    return set_upright(picture, display_matrix(frame))
