"""Augmentation against signals and pictures whose changes are known, and the flags and times that go with it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from emi_jax.descriptors.voice import VoiceDescriptorsConfig
from emi_jax.inputs.augmentation import Augmentation, FaceChange, VoiceChange, change_tempo_and_pitch
from emi_jax.inputs.described import VoiceDescriber
from emi_jax.inputs.texts import Words
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.modalities import AUDIO, SAMPLE_RATE, VISION
from emi_jax.models.audio.speech_config import Wav2Vec2Config
from emi_jax.stages.intensity import Intensity
from tests.fakes import NAMES, make_example

BURSTS = (0.5, 1.5, 2.5)
"""Seconds at which the tone bursts of `bursts` are loudest."""
SHAPE = InputShape(len(NAMES), (VISION, AUDIO), num_frames=4, image_size=32, num_samples=3 * SAMPLE_RATE, num_tokens=1)


def bursts():
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    envelope = sum(np.exp(-(((time - middle) / 0.03) ** 2)) for middle in BURSTS)
    return (0.5 * envelope * np.sin(2 * np.pi * 300 * time)).astype(np.float32)


def middles(sound, tempo):
    """The centre of energy of each burst, in seconds of the original."""
    found = []
    for middle in BURSTS:
        at = round(middle / tempo * SAMPLE_RATE)
        energy = np.square(sound[max(0, at - 4000) : at + 4000].astype(float))
        centre = (np.arange(len(energy)) * energy).sum() / energy.sum() + max(0, at - 4000)
        found.append(centre / SAMPLE_RATE * tempo)
    return found


def pitch(sound):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * len(sound)))
    return spectrum.argmax() * SAMPLE_RATE / (4 * len(sound))


@pytest.mark.parametrize(("tempo", "semitones"), [(1.05, 0), (0.95, 0), (1, 2), (1, -2), (0.95, 2)])
def test_tempo_moves_events_and_semitones_raise_the_pitch(tempo, semitones):
    changed = change_tempo_and_pitch(bursts(), tempo, semitones)
    assert len(changed) == round(3 * SAMPLE_RATE / tempo)
    np.testing.assert_allclose(middles(changed, tempo), BURSTS, atol=0.02)
    assert pitch(changed) == pytest.approx(300 * 2 ** (semitones / 12), rel=0.005)


@pytest.mark.parametrize("length", [1, 10, 500, 3000])
def test_short_sounds_keep_their_samples(length):
    changed = change_tempo_and_pitch(np.ones(length, np.float32), 0.9, 0)
    assert len(changed) == round(length / 0.9)
    assert (changed > 0.5).mean() > 0.75


def test_noise_has_the_strength_that_was_drawn():
    samples = (10_000 * np.sin(np.arange(32_000) / 9)).astype(np.int16)
    noisy = VoiceChange(noise=0.1).apply(samples, np.random.default_rng(0))
    assert np.std(noisy.astype(float) - samples) == pytest.approx(0.1 * 10_000, rel=0.02)


def test_shift_moves_the_window_and_puts_silence_before_the_clip():
    samples = np.arange(1, 101, dtype=np.int16)
    later, start = VoiceChange(shift=-0.1).window(samples, 0, 100)
    assert start == -10
    np.testing.assert_array_equal(later, [*[0] * 10, *range(1, 91)])
    sooner, start = VoiceChange(shift=0.1).window(samples, 0, 50)
    assert start == 5
    np.testing.assert_array_equal(sooner, range(6, 56))


def test_faster_speech_is_read_from_more_samples():
    samples = np.zeros(300, np.int16)
    assert len(VoiceChange(tempo=1.05).window(samples, 0, 100)[0]) == 105
    assert len(VoiceChange(tempo=0.95).window(samples, 0, 100)[0]) == 95


def test_a_turn_moves_landmarks_with_the_picture():
    picture, places = np.zeros((200, 200, 3), np.uint8), np.array([[0.3, 0.4], [0.7, 0.35], [0.5, 0.75]])
    for place in places:
        cv2.circle(picture, tuple(int(share * 200) for share in place), 3, (255, 255, 255), -1)
    change = FaceChange(degrees=15, scale=1.1)
    turned = change.apply(picture)[..., 0].astype(float)
    rows, columns = np.mgrid[:200, :200]
    for column, row in change.points(places) * 200:
        near = turned * (np.hypot(rows - row, columns - column) < 8)
        found = np.array([(near * columns).sum(), (near * rows).sum()]) / near.sum()
        np.testing.assert_allclose(found, [column, row], atol=1)
    np.testing.assert_allclose(FaceChange().points(places), places, atol=1e-7)


def test_colours_follow_their_formula():
    pixel = np.array([200.0, 100.0, 50.0])
    picture = np.full((4, 4, 3), pixel, np.uint8)
    grey = pixel @ (0.299, 0.587, 0.114)
    expected = 0.9 * 1.1 * (0.8 * pixel + 0.2 * grey) + 0.1 * 127.5
    changed = FaceChange(brightness=1.1, contrast=0.9, saturation=0.8).apply(picture)
    np.testing.assert_allclose(changed, np.broadcast_to(expected, changed.shape), atol=0.51)


def test_blur_keeps_the_mean_and_removes_detail():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blurred = FaceChange(sigma=0.05).apply(picture)
    assert blurred.mean() == pytest.approx(picture.mean(), rel=0.02)
    assert blurred.std() < 0.3 * picture.std()


def transform(**options):
    return ClipTransform(SHAPE, Words(1), **options)


def read(example, seed=0, **options):
    return transform(**options)(example, np.random.default_rng(seed), 0)


@pytest.fixture(scope="module")
def example():
    clip = make_example(np.random.default_rng(0), "x", frames=4)
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    return clip | {"audio": (32000 * bursts()).astype(np.int16), "faces": [encoded] * 4}


def test_each_change_occurs_with_its_probability():
    rng, augmentation = np.random.default_rng(0), Augmentation(voice=0.5, face=0.25)
    voices = [augmentation.draw_voice(rng) for _ in range(2000)]
    faces = [augmentation.draw_face(rng) for _ in range(2000)]
    for drawn, plain, probability in ((voices, VoiceChange(), 0.5), (faces, FaceChange(), 0.25)):
        np.testing.assert_allclose(np.not_equal(drawn, plain).mean(0), probability, atol=0.05)
    changes = np.array(voices)
    np.testing.assert_allclose(changes.min(0), [0.95, -2, -0.1, 0], atol=0.01)
    np.testing.assert_allclose(changes.max(0), [1.05, 2, 0.1, 0.15], atol=0.01)


def test_all_frames_of_a_clip_change_alike_and_clips_differently(example):
    frames = [read(example, seed, augmentation=Augmentation(face=1.0))["frames"] for seed in range(4)]
    assert all((one == one[:1]).all() for one in frames)
    assert not (frames[0] == frames[1]).all()


def test_times_of_the_voice_follow_tempo_and_shift(example):
    """A burst in the augmented sound lies at the clip's own second of it."""
    for seed in range(6):
        arrays = read(example, seed, augmentation=Augmentation(voice=1.0, noise=(0, 0)))
        start, tempo, sound = arrays["audio_start"], arrays["audio_tempo"], arrays["audio"].astype(float)
        heard = start + tempo * np.arange(len(sound)) / SAMPLE_RATE
        near = np.square(sound) * (np.abs(heard - BURSTS[1]) < 0.3)
        assert (heard * near).sum() / near.sum() == pytest.approx(BURSTS[1], abs=0.02)
        assert start != 0
        assert tempo != 1


def test_times_of_described_and_encoded_voices_follow_tempo_and_shift(example):
    config = VoiceDescriptorsConfig(sets=("energy",))
    arrays = read(
        example, 2, augmentation=Augmentation(voice=1.0, noise=(0, 0)), describers={AUDIO: VoiceDescriber(config)}
    )
    energy, times = np.exp(2 * arrays["audio/features"][:, 0]), arrays["audio/times"]
    near = energy * (np.abs(times - BURSTS[1]) < 0.3)
    assert (times * near).sum() / near.sum() == pytest.approx(BURSTS[1], abs=0.02)

    encoder = SimpleNamespace(config=Wav2Vec2Config())
    stage = Intensity(SimpleNamespace(audio=SimpleNamespace(encoder=encoder)), None, {}, NAMES)
    batch = {"audio_start": np.float32([-0.1, 0.2]), "audio_tempo": np.float32([1.05, 0.95])}
    steps = np.arange(4) * 0.02 + 0.0125  # windows of 25 ms every 20 ms
    np.testing.assert_allclose(stage._times(AUDIO, batch, 4), [-0.1 + 1.05 * steps, 0.2 + 0.95 * steps], rtol=1e-6)


def test_silence_before_a_shifted_voice_and_noise_are_not_supervised(example):
    quiet = Augmentation(voice=1.0, noise=(0, 0), tempo=0, semitones=0)
    late = next(arrays for seed in range(9) if (arrays := read(example, seed, augmentation=quiet))["audio_start"] < 0)
    silent = round(-float(late["audio_start"]) * SAMPLE_RATE)
    assert late["audio_mask"].all()
    assert not late["audio"][:silent].any()
    assert not late["audio_supervised"][: silent - 640].any()
    assert late["audio_supervised"].any()
    noisy = read(example, augmentation=Augmentation(voice=1.0))
    assert not noisy["audio_supervised"].any()


def test_augmentation_changes_neither_crops_nor_corruption_and_is_not_changed_by_them(example):
    augmentation = Augmentation(voice=0.5, face=0.5)
    for seed in range(6):
        plain, corrupted = (read(example, seed, corrupt=corrupt) for corrupt in (0.0, 1.0))
        both = read(example, seed, corrupt=1.0, augmentation=augmentation)
        augmented = read(example, seed, augmentation=augmentation)
        for flags, kept in (("frame_clean", "frames"), ("audio_clean", "audio")):
            clean = both[flags]
            np.testing.assert_array_equal(both[kept][clean], augmented[kept][clean])
        np.testing.assert_array_equal(both["frame_clean"], corrupted["frame_clean"])
        assert not all(np.array_equal(augmented[name], plain[name]) for name in ("frames", "audio")) or seed


def test_the_same_generator_augments_alike_and_without_probability_nothing_changes(example):
    options = {"augment": True, "augmentation": Augmentation(voice=0.5, face=0.5)}
    one, other = read(example, 3, **options), read(example, 3, **options)
    plain, off = read(example, 3, augment=True), read(example, 3, augment=True, augmentation=Augmentation())
    for name in plain:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        np.testing.assert_array_equal(plain[name], off[name], err_msg=name)
    assert transform(**options).padding["audio"].any() == np.False_


def test_a_copy_for_the_cache_is_augmented_by_its_number_and_row_whatever_the_generator(example):
    def copy(seed, number, row, corrupt=0.0):
        options = {"augmentation": Augmentation(voice=1.0, face=1.0), "rendition": number, "corrupt": corrupt}
        return transform(**options)(example, np.random.default_rng(seed), row)

    plain, corrupted = copy(0, 1, 5), copy(1, 1, 5, corrupt=1.0)
    assert plain["audio_start"] == corrupted["audio_start"]
    for flags, kept in (("frame_clean", "frames"), ("audio_clean", "audio")):
        clean = corrupted[flags]
        np.testing.assert_array_equal(corrupted[kept][clean], plain[kept][clean])
    for other in (copy(0, 2, 5), copy(0, 1, 6)):
        assert not np.array_equal(other["audio"], plain["audio"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"voice": 1.5}, "voice=1.5 is out of range: use 0 to 1"),
        ({"tempo": -0.1}, "tempo=-0.1 is out of range"),
        ({"noise": (0.2, 0.1)}, r"noise=\(0.2, 0.1\) should be the lowest and the highest"),
    ],
)
def test_fields_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**fields)
