"""Descriptors of faces compared with OpenCV's HOG and with faces whose geometry is known."""

import cv2
import numpy as np
import pytest

from emi_jax.descriptors.face import GEOMETRY, FaceDescriptorsConfig, describe_faces, landmark_geometry

FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.36, 0.8], [0.64, 0.8]], np.float32)
"""Upright, symmetric: eyes 0.4 apart, the nose half an eye distance below them, the mouth a whole one."""
POSE = [GEOMETRY.index(name) for name in ("eye_distance", "roll_sine", "roll_cosine")]
PLAIN = FaceDescriptorsConfig(image_size=64, cell=8, landmarks=False)


@pytest.fixture
def frames():
    noise = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    return np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_CUBIC) for frame in noise])


def unknown(count: int) -> np.ndarray:
    return np.full((count, 5, 2), np.nan, np.float32)


@pytest.mark.parametrize("equalize", [True, False])
@pytest.mark.parametrize(("size", "cell", "block", "bins"), [(64, 8, 2, 9), (48, 16, 1, 6)])
def test_hog_equals_opencvs(frames, equalize, size, cell, block, bins):
    config = FaceDescriptorsConfig(size, equalize, cell, block, bins, landmarks=False)
    hog = cv2.HOGDescriptor((size, size), (cell * block,) * 2, (cell, cell), (cell, cell), bins)
    for frame, found in zip(frames, describe_faces(config, frames, unknown(3)), strict=True):
        grey = cv2.cvtColor(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(found, hog.compute(cv2.equalizeHist(grey) if equalize else grey))


def test_stripes_fill_the_bins_of_their_direction():
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[0, :, ::8] = frames[0, :, 1::8] = frames[1, ::8] = frames[1, 1::8] = 255
    blocks = describe_faces(PLAIN, frames, unknown(2)).reshape(2, -1, 9).sum(axis=1)
    assert blocks[0, [0, 8]].sum() > 0.99 * blocks[0].sum()  # gradients along x: 0 degrees, which two bins share
    assert blocks[1, 4] > 0.99 * blocks[1].sum()


def test_equalised_description_does_not_depend_on_the_tone_curve(frames):
    levels = frames[..., :1].repeat(3, axis=3) // 4
    curve = np.round(255 * np.linspace(0, 1, 64) ** 0.5).astype(np.uint8)
    linear, curved = (describe_faces(PLAIN, some, unknown(3)) for some in (levels * 4, curve[levels]))
    np.testing.assert_array_equal(linear, curved)


@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (30, 30), (100, 60), (1, 1)])
def test_crops_of_any_size_have_the_same_width(shape):
    described = describe_faces(FaceDescriptorsConfig(), np.full((2, *shape, 3), 90, np.uint8), unknown(2))
    assert described.shape == (2, 1778)
    assert described.dtype == np.float32
    assert np.isfinite(described).all()


def test_larger_picture_is_described_as_the_small_one(frames):
    large = frames.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(*(describe_faces(PLAIN, some, unknown(3)) for some in (frames, large)))


def test_black_frames_without_landmarks_are_zero():
    described = describe_faces(FaceDescriptorsConfig(), np.zeros((2, 64, 64, 3), np.uint8), unknown(2))
    np.testing.assert_array_equal(described, 0)


def test_no_frames_give_no_rows():
    assert describe_faces(FaceDescriptorsConfig(), np.zeros((0, 64, 64, 3), np.uint8), unknown(0)).shape == (0, 1778)


def test_frames_are_described_one_by_one_and_left_alone(frames):
    before, landmarks = frames.copy(), np.stack([FACE, FACE + 0.1, FACE * 0.5])
    together = describe_faces(FaceDescriptorsConfig(), frames, landmarks)
    for n in range(3):
        alone = describe_faces(FaceDescriptorsConfig(), frames[n : n + 1], landmarks[n : n + 1])
        np.testing.assert_array_equal(alone[0], together[n])
    np.testing.assert_array_equal(frames, before)


def test_geometry_of_a_symmetric_face():
    found = dict(zip(GEOMETRY, landmark_geometry(FACE[None])[0].tolist(), strict=True))
    expected = {
        **{"nose_x": 0, "nose_y": 0.5, "right_mouth_x": -0.35, "right_mouth_y": 1, "left_mouth_x": 0.35},
        **{"left_mouth_y": 1, "mouth_width": 0.7, "mouth_tilt": 0, "eyes_to_mouth": 1, "nose_to_mouth": 0.5},
        **{"eye_distance": 0.4, "roll_sine": 0, "roll_cosine": 1, "known": 1},
    }
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("degrees", [-170, -20, 35, 90])
def test_geometry_of_the_face_does_not_depend_on_its_pose(degrees):
    face = FACE + np.random.default_rng(1).normal(scale=0.02, size=FACE.shape)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = 0.6 * face @ turn.T + [0.1, -0.2]
    before, after = landmark_geometry(np.stack([face, moved]))
    shape = [column for column in range(len(GEOMETRY)) if column not in POSE]
    np.testing.assert_allclose(after[shape], before[shape], atol=1e-5)
    eyes = moved[1] - moved[0]
    expected = [np.hypot(*eyes), *(eyes[::-1] / np.hypot(*eyes))]
    np.testing.assert_allclose(after[POSE], expected, atol=1e-5)


@pytest.mark.parametrize("fault", ["nan", "infinite", "eyes together"])
def test_faulty_landmarks_give_zeros_in_their_row_alone(fault):
    landmarks = np.stack([FACE, FACE, FACE])
    landmarks[1, 1] = {"nan": [0.7, np.nan], "infinite": np.inf, "eyes together": landmarks[1, 0]}[fault]
    geometry = landmark_geometry(landmarks)
    np.testing.assert_array_equal(geometry[1], 0)
    np.testing.assert_array_equal(geometry[[0, 2]], landmark_geometry(FACE[None])[[0, 0]])


def test_other_types_and_shapes_are_refused():
    config = FaceDescriptorsConfig()
    with pytest.raises(ValueError, match=r"frames are float32 .*expected uint8 \[N, H, W, 3\]"):
        describe_faces(config, np.zeros((1, 64, 64, 3), np.float32), unknown(1))
    with pytest.raises(ValueError, match=r"frames are uint8 \[1, 0, 64, 3\]"):
        describe_faces(config, np.zeros((1, 0, 64, 3), np.uint8), unknown(1))
    with pytest.raises(ValueError, match=r"landmarks are \[1, 5, 2\]; expected \[2, 5, 2\]"):
        describe_faces(config, np.zeros((2, 64, 64, 3), np.uint8), unknown(1))
