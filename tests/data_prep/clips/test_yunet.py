import hashlib
from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import pytest

from data_prep.clips import yunet
from data_prep.clips.alignment import TEMPLATE
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.detectors import load_detector
from data_prep.clips.options import ClipOptions
from data_prep.errors import CorpusError
from data_prep.media.pictures import read_pictures
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import decode

SHARED = Path(__file__).resolve().parents[4] / "shared"
MODEL, MEDIA = SHARED / "models" / "yunet_n_320_320.onnx", SHARED / "media"
PORTRAIT = MEDIA / "WolfgangLanger_Pexels.mp4"
OPTIONS = ClipOptions(max_frames=6, face_size=96, detector_path=str(MODEL))
needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="needs the model and clips next to the repository")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the hub: it has one file, which the test writes."""
    requested = []

    def download(*name, revision):
        requested.append((*name, revision))
        return str(tmp_path / "model.onnx")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return tmp_path / "model.onnx", requested


def test_the_hubs_file_is_read_at_the_pinned_revision(hub, monkeypatch):
    file, requested = hub
    file.write_bytes(b"the model")
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(b"the model").hexdigest())
    assert yunet.read_model().data == b"the model"
    assert requested == [("opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx", yunet.REVISION)]
    assert len(yunet.REVISION) == 40


def test_another_file_than_the_pinned_one_is_refused(hub):
    hub[0].write_bytes(b"something else")
    with pytest.raises(CorpusError, match=r"model.onnx: found a file with SHA-256 [0-9a-f]{64}, expected 8f2383e4"):
        yunet.read_model()


def test_without_the_hub_the_error_names_every_way_out(monkeypatch):
    def offline(*name, revision):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(CorpusError) as failed:
        yunet.read_model()
    for way in ("--detector-model=PATH", f"hf download {yunet.REPOSITORY} {yunet.FILE}", "--detector=haar"):
        assert way in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_given_file_is_read_whatever_its_hash(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    model = yunet.read_model(str(tmp_path / "mine.onnx"))
    assert model == (b"mine", hashlib.sha256(b"mine").hexdigest())
    with pytest.raises(CorpusError, match=rf"{tmp_path}/mine.onnx: found .* expected abc: name the file that"):
        yunet.read_model(str(tmp_path / "mine.onnx"), "abc")
    with pytest.raises(CorpusError, match=rf"--detector-model={tmp_path}/no.onnx: No such file or directory; expected"):
        yunet.read_model(str(tmp_path / "no.onnx"))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    with pytest.raises(CorpusError, match="OpenCV cannot detect faces with this file"):
        load_detector("yunet", str(tmp_path / "mine.onnx"))


class Net:
    """A stand-in for OpenCV's detector that finds faces at some sizes only."""

    def __init__(self, sees):
        self.sees, self.sizes = sees, []

    def setInputSize(self, size):  # noqa: N802
        self.sizes.append(size)

    def detect(self, image):
        assert self.sizes == [] or image.shape[1::-1] == self.sizes[-1]
        if not self.sizes or max(self.sizes[-1]) not in self.sees:
            return 0, None
        return 1, np.array([[10, 20, 30, 40, *range(10), 0.9]], np.float32)


@pytest.mark.parametrize(
    ("size", "sees", "at_least", "searched"),
    [
        ((720, 1280), {320}, 0.0, [320]),
        ((720, 1280), {640}, 0.0, [320, 160, 640]),
        ((720, 1280), {160, 640}, 0.0, [320, 160]),
        ((720, 1280), {640}, 200.0, [320, 160]),
        ((240, 200), set(), 0.0, [240, 160]),
        ((100, 150), set(), 0.0, [150]),
        ((2, 4000), set(), 0.0, []),
    ],
)
def test_other_sizes_are_searched_where_one_shows_no_face(monkeypatch, size, sees, at_least, searched):
    net = Net(sees)
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *arguments: net)
    found = yunet.yunet(yunet.Model(b"model", ""))(np.zeros((*size, 3), np.uint8), at_least)
    assert [max(each) for each in net.sizes] == searched
    if found:
        scale = 1280 / max(net.sizes[-1])
        assert found[0].box == pytest.approx((5 * scale, 20 * scale, 40 * scale))  # the square around a tall box
        np.testing.assert_allclose(found[0].landmarks, np.arange(10).reshape(5, 2) * scale)
        assert found[0].score == pytest.approx(0.9)


def turned(picture, degrees):
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), turn


@needs_model
def test_real_faces_are_found_whatever_their_size_and_angle():
    find = load_detector("yunet", str(MODEL))
    (_, picture), *_ = read_pictures(PORTRAIT, read_timeline(PORTRAIT, 12.0).stamps[:1], [])
    (face,) = find(picture)
    for scale in (0.25, 3.0):
        (other,) = find(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        assert np.abs(other.landmarks / scale - face.landmarks).max() < 0.05 * face.box.side
    lean, turn = turned(picture, 20)
    (leaning,) = find(lean)
    expected = face.landmarks @ turn[:, :2].T + turn[:, 2]
    assert np.abs(leaning.landmarks - expected).max() < 0.1 * face.box.side


@needs_model
@pytest.mark.parametrize("degrees", [-20, 20])
def test_real_faces_are_aligned(tmp_path, degrees, monkeypatch):
    """The crops of a head that leans show the landmarks near the template's, as those of an upright head do."""

    def lean(*arguments):
        for stamp, picture in read_pictures(*arguments):
            yield stamp, turned(picture, degrees)[0]

    monkeypatch.setattr("data_prep.clips.vision.read_pictures", lean)
    example = read_clip(ClipSource("a", PORTRAIT), OPTIONS).example
    assert example["face_found"].all()
    places = 0.5 + (TEMPLATE - 0.5) / (1 + 2 * OPTIONS.margin)
    assert np.sqrt(np.mean((example["landmarks"] - places) ** 2)) < 0.04
    eyes = example["landmarks"][:, 1] - example["landmarks"][:, 0]
    assert np.abs(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))).max() < 6


@needs_model
def test_stored_landmarks_are_those_found_in_the_crops():
    example = read_clip(ClipSource("a", MEDIA / "single_face.mp4"), OPTIONS).example
    find = load_detector("yunet", str(MODEL))
    for crop, landmarks in zip(example["faces"], example["landmarks"], strict=True):
        (face,) = find(decode(crop))
        assert np.abs(face.landmarks / OPTIONS.face_size - landmarks).max() < 0.04


@needs_model
def test_clip_without_a_face_has_none():
    example = read_clip(ClipSource("a", MEDIA / "no_face.mp4"), OPTIONS).example
    assert not example["face_found"].any()
    assert np.isnan(example["landmarks"]).all()


@needs_model
def test_face_images_are_kept_and_their_landmarks_found(tmp_path):
    (_, picture), *_ = read_pictures(PORTRAIT, read_timeline(PORTRAIT, 12.0).stamps[:1], [])
    (face,) = load_detector("yunet", str(MODEL))(picture)
    x, y, side = (round(value) for value in face.box)
    image = np.ascontiguousarray(picture[max(y, 0) : y + side, x : x + side])
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[..., ::-1] if number == 1 else np.zeros_like(image))
    example = read_clip(ClipSource("a", faces=tmp_path), OPTIONS).example
    assert example["face_found"].all()
    height, width = image.shape[:2]
    edge = min(height, width)
    expected = (face.landmarks - (x, max(y, 0)) - ((width - edge) / 2, (height - edge) / 2)) / edge
    assert np.abs(example["landmarks"][0] - expected).max() < 0.06
    assert np.isnan(example["landmarks"][1]).all()
    upright = cv2.resize(image[(height - edge) // 2 :][:edge, (width - edge) // 2 :][:, :edge], (96, 96))
    assert np.abs(decode(example["faces"][0]).astype(int) - upright).mean() < 8
