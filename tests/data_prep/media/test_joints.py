import av
import pytest

from data_prep.media.joints import Joints


def shifts(joints, stamps, stream=0, duration=40, pts=None):
    """The shifts of packets with decoding timestamps in milliseconds, in one stream of possibly several."""
    result = []
    for number, stamp in enumerate(stamps):
        packet = Fake(stream, stamp, stamp if pts is None else pts[number], duration)
        result.append(round(1000 * joints.shift(packet, 0.001)))
    return result


class Fake:
    def __init__(self, stream_index, dts, pts, duration):
        self.stream_index, self.dts, self.pts, self.duration = stream_index, dts, pts, duration


def test_increasing_timestamps_are_not_shifted():
    assert shifts(Joints(), range(0, 4000, 40)) == [0] * 100


def test_restarted_timestamps_follow_the_previous_recording():
    assert shifts(Joints(), [*range(0, 400, 40), 0, 40, 80]) == [0] * 10 + [400] * 3


@pytest.mark.parametrize("stray", [9_000_000, 500, 0])
@pytest.mark.parametrize("leaps", [False, True])
def test_single_corrupted_timestamp_is_not_a_restart(stray, leaps):
    joints = Joints()
    joints.leaps = leaps
    assert shifts(joints, [1000, 1040, stray, 1120, 1160])[3:] == [0, 0]
    assert joints.places == []


def test_jumps_are_joints_if_the_format_allows_them():
    joints = Joints()
    assert shifts(joints, [0, 40, 90_000, 90_040]) == [0] * 4
    joints = Joints()
    joints.leaps = True
    assert shifts(joints, [0, 40, 90_000, 90_040]) == [0, 0, -89_920, -89_920]


def test_both_tracks_share_one_shift():
    joints = Joints()
    shifts(joints, range(0, 800, 40), stream=0)
    shifts(joints, range(0, 600, 40), stream=1)
    assert shifts(joints, [0], stream=1) == [800]  # sound that ended early waits for the pictures
    assert shifts(joints, [20], stream=0) == [800]
    assert len(joints.places) == 1


def test_packet_without_timestamps_gets_the_shift_of_its_track():
    joints = Joints()
    shifts(joints, [*range(0, 400, 40), 0, 40])
    packet = av.Packet(4)
    assert joints.shift(packet, 0.001) == pytest.approx(0.4)
