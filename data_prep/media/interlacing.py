"""Makes whole pictures of interlaced ones, whose even and odd lines show two moments 20 ms apart."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph

FILTER = "bwdif", "mode=send_frame:deint=interlaced"
"""FFmpeg's motion-adaptive filter: each picture shows the moment of its first field; still parts keep all lines."""


def deinterlaced(
    frames: Iterable[tuple[int, av.VideoFrame]], base: Fraction
) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """Yields (timestamp, frame, whether it was interlaced); frames that are not marked as interlaced are unchanged.

    Args:
        frames: timestamps and frames in the order of the decoder.
        base: seconds per unit of the timestamps.
    """
    graph: Graph | None = None
    form: tuple = ()
    marked: dict[int, bool] = {}
    for stamp, frame in frames:
        interlaced, found = frame.interlaced_frame, (frame.width, frame.height, frame.format.name)
        if graph and found != form:
            yield from _pull(graph, base, marked, last=True)
            graph = None
        if interlaced and not graph:
            graph, form = _graph(frame, base), found
        if not graph:
            yield stamp, frame, False
            continue
        frame.pts, frame.time_base, marked[stamp] = stamp, base, interlaced
        graph.vpush(frame)
        yield from _pull(graph, base, marked)
    if graph:
        yield from _pull(graph, base, marked, last=True)


def _graph(frame: av.VideoFrame, base: Fraction) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    graph.link_nodes(source, graph.add(*FILTER), graph.add("buffersink")).configure()
    return graph


def _pull(
    graph: Graph, base: Fraction, marked: dict[int, bool], last: bool = False
) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    if last:
        graph.vpush(None)
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        stamp = round((frame.pts or 0) * (frame.time_base or base) / base)
        yield stamp, frame, marked.pop(stamp, False)
