from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.media.hdr import tone_map
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import HDR, Remark
from data_prep.media.timeline import read_timeline


def pq(nits):
    """SMPTE ST 2084 signal for a luminance in candelas per square metre."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (np.asarray(nits) / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg(nits):
    """ARIB STD-B67 signal for a luminance on a display of 1000 candelas per square metre."""
    scene = (np.asarray(nits) / 1000) ** (1 / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


NITS = np.array([0.0, 5, 20, 50, 100, 150])


@pytest.mark.parametrize(("transfer", "encode"), [("PQ", pq), ("HLG", hlg)])
def test_hdr_greys_map_to_sdr_greys(transfer, encode):
    signal = np.rint(65_535 * encode(NITS)).astype(np.uint16)
    sdr = tone_map(np.repeat(signal[None, :, None], 3, 2), transfer)
    expected = 255 * (NITS / 203) ** (1 / 2.4)
    np.testing.assert_allclose(sdr[0, :, 0], expected, atol=4)
    assert (np.ptp(sdr.astype(int), axis=2) <= 2).all()


def test_highlights_keep_their_order():
    signal = np.rint(65_535 * pq(np.array([150, 203, 300, 500, 1000, 4000]))).astype(np.uint16)
    levels = tone_map(np.repeat(signal[None, :, None], 3, 2), "PQ")[0, :, 0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert levels[1] < levels[2] <= 255


@pytest.mark.parametrize(("trc", "encode", "name"), [(16, pq, "PQ"), (18, hlg, "HLG")])
def test_hdr_video_is_tone_mapped(tmp_path, trc, encode, name):
    path = tmp_path / "iphone.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p10le"
        frame = av.VideoFrame(128, 64, "yuv420p10le")
        luma = np.repeat(64 + 876 * encode(np.array([20.0, 100.0])), 64)[None].repeat(64, 0)
        for plane, samples in zip(frame.planes, (luma, np.full((32, 64), 512), np.full((32, 64), 512)), strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
            rows[:, : samples.shape[1]] = np.rint(samples)
            plane.update(rows.tobytes())
        context = stream.codec_context
        context.color_trc = frame.color_trc = trc
        context.color_primaries = frame.color_primaries = context.colorspace = frame.colorspace = 9
        context.color_range = frame.color_range = 1
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    remarks: list[Remark] = []
    ((_, picture),) = read_pictures(path, read_timeline(path).stamps, remarks)
    assert picture[32, 32].mean() == pytest.approx(255 * (20 / 203) ** (1 / 2.4), abs=4)
    assert picture[32, 96].mean() == pytest.approx(255 * (100 / 203) ** (1 / 2.4), abs=4)
    assert Remark(HDR, f"iphone.mkv: {name}") in remarks
