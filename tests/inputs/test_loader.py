"""Batches: fixed shapes, exact resumption, shares of processes, and the arrays of a clip."""

import dataclasses
import queue
import threading
from typing import ClassVar

import cv2
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.lengths import without_common_padding
from emi_jax.inputs.loader import batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.texts import Subwords
from emi_jax.inputs.tokenizer import load_tokenizer, train_wordpiece
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.modalities import MODALITIES
from tests.fakes import NAMES, WORDS, make_example, make_examples

SHAPE = InputShape(len(NAMES), MODALITIES, num_frames=4, image_size=16, num_samples=8000, num_tokens=8)


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece([" ".join(WORDS)] * 3, vocab_size=80)


def reader(tokenizer):
    return Subwords(tokenizer, SHAPE.num_tokens)


@pytest.fixture(scope="module")
def transform(tokenizer):
    return ClipTransform(SHAPE, reader(tokenizer), augment=True, corrupt=0.5)


def take(examples, transform, plan, steps, **options):
    return list(batches(examples, transform, plan, steps=steps, **options))


def test_shapes_and_dtypes_are_those_of_every_batch(transform):
    examples, plan = make_examples(7), Epochs(7, 4, seed=0)
    expected = {
        "frames": ((4, 4, 16, 16, 3), np.uint8),
        "frame_mask": ((4, 4), bool),
        "audio": ((4, 8000), np.int16),
        "audio_mask": ((4, 8000), bool),
        "tokens": ((4, 8), np.int32),
        "token_mask": ((4, 8), bool),
        "frame_times": ((4, 4), np.float32),
        "audio_start": ((4,), np.float32),
        "audio_tempo": ((4,), np.float32),
        "token_times": ((4, 8), np.float32),
        "present": ((4, 3), bool),
        "labels": ((4, 6), np.float32),
        "label_mask": ((4, 6), bool),
        "transcript": ((4,), np.int32),
        "valid": ((4,), bool),
        "clip": ((4,), np.int32),
    }
    for batch in take(examples, transform, plan, 5):
        for name, (shape, dtype) in expected.items():
            assert (batch[name].shape, batch[name].dtype) == (shape, dtype), name


def test_resuming_at_a_step_repeats_and_skips_nothing(transform):
    examples, plan = make_examples(7), Epochs(7, 4, seed=5)
    whole = take(examples, transform, plan, 6, seed=1)
    rest = take(examples, transform, plan, 3, seed=1, first_step=3)
    for one, other in zip(whole[3:], rest, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_the_clips_of_one_batch_are_read_at_the_same_time():
    """Each clip waits until the other is being read."""
    both = threading.Barrier(2)

    class Meeting:
        padding: ClassVar[dict] = {}

        def __call__(self, example, rng, index):
            both.wait(timeout=20)
            return {"clip": np.asarray(index)}

    [batch] = batches(["a", "b"], Meeting(), Epochs(2, 2, seed=None), steps=1, threads=2)
    assert batch["clip"].tolist() == [0, 1]


def test_batches_do_not_depend_on_the_number_of_threads(transform):
    examples, plan = make_examples(7), Epochs(7, 4, seed=5)
    for one, other in zip(*(take(examples, transform, plan, 4, threads=threads) for threads in (1, 5)), strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_processes_share_a_batch_without_overlap(transform):
    examples, plan = make_examples(7), Epochs(7, 4, seed=5)
    whole = take(examples, transform, plan, 2)
    parts = [take(examples, transform, plan, 2, process_index=index, process_count=2) for index in (0, 1)]
    for step in (0, 1):
        for name, array in whole[step].items():
            np.testing.assert_array_equal(array, np.concatenate([part[step][name] for part in parts]), err_msg=name)


def test_padding_is_neither_valid_nor_known_nor_present(tokenizer):
    batch = take(make_examples(3), ClipTransform(SHAPE, reader(tokenizer)), Epochs(3, 4, None), 1)[0]
    assert batch["valid"].tolist() == [True, True, True, False]
    assert batch["clip"].tolist() == [0, 1, 2, -1]
    for name in ("label_mask", "present", "frame_mask", "audio_mask", "token_mask"):
        assert not batch[name][3].any(), name


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([(1, 2001, 0), (0, 5000, 0)], (1, 6000, 1)),
        ([(0, 0, 4), (0, 300, 1)], (1, 400, 6)),
        ([(3, 1500, 0), (2, 1999, 0)], (3, 2000, 1)),
    ],
)
def test_padding_that_all_clips_share_is_cut_in_few_sizes(tokenizer, sizes, kept):
    rng = np.random.default_rng(0)
    clips = [make_example(rng, "x", frames=frames, samples=samples, words=words) for frames, samples, words in sizes]
    batch = take(clips, ClipTransform(SHAPE, reader(tokenizer)), Epochs(2, 2, None), 1)[0]
    cut = without_common_padding(batch, min_samples=400)
    assert cut.keys() == batch.keys()
    lengths = dict(zip(("frame", "audio", "token"), kept, strict=True))
    for name, array in batch.items():
        length = lengths.get(name[:5]) if array.ndim > 1 else None
        np.testing.assert_array_equal(cut[name], array if length is None else array[:, :length], err_msg=name)


@pytest.mark.parametrize("missing", ["frames", "samples", "words"])
def test_presence_follows_what_a_clip_has(tokenizer, missing):
    example = make_example(np.random.default_rng(0), "x", **{missing: 0})
    arrays = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    assert arrays["present"].tolist() == [missing != name for name in ("frames", "samples", "words")]


def test_frames_without_a_face_are_no_valid_steps(tokenizer):
    example = make_example(np.random.default_rng(0), "x", frames=4) | {"face_found": np.array([0, 1, 0, 1], bool)}
    arrays = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    assert arrays["frame_mask"].tolist() == [False, True, False, True]
    assert not arrays["frames"][0].any()
    assert arrays["frames"][1].any()


@pytest.mark.parametrize("augment", [False, True])
def test_a_face_between_the_frames_of_the_spread_is_read(augment, tokenizer):
    found = np.isin(np.arange(40), (4, 6))  # the spread's middles are 5, 15, 25 and 35
    example = make_example(np.random.default_rng(0), "x", frames=40) | {"face_found": found}
    for seed in range(20):
        arrays = ClipTransform(SHAPE, reader(tokenizer), augment=augment)(example, np.random.default_rng(seed), 0)
        assert arrays["present"][0]
        assert arrays["frames"][arrays["frame_mask"]].any()


def test_corruption_leaves_the_steps_in_place(tokenizer):
    """Without augmentation: the feature cache lays segments of corrupted renditions into the clean one."""
    example = make_example(np.random.default_rng(0), "x", samples=12000)
    clean = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    touched = set()
    for seed in range(10):
        corrupted = ClipTransform(SHAPE, reader(tokenizer), corrupt=1.0)(example, np.random.default_rng(seed), 0)
        for name, flags in (("frames", "frame_clean"), ("audio", "audio_clean"), ("tokens", "token_clean")):
            if not corrupted[flags].all():
                touched.add(name)
            np.testing.assert_array_equal(corrupted[name][corrupted[flags]], clean[name][corrupted[flags]])
    assert touched == {"frames", "audio", "tokens"}


def test_silence_is_not_supervised_in_a_clean_clip_either(tokenizer):
    example = make_example(np.random.default_rng(0), "x", samples=8000)
    example["audio"][4000:] = 0
    arrays = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    assert arrays["audio_mask"].all()
    assert arrays["audio_supervised"][:3000].all()
    assert not arrays["audio_supervised"][5000:].any()


def test_one_crop_and_one_flip_for_all_frames_of_a_clip(tokenizer):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    example = make_example(np.random.default_rng(0), "x", frames=4) | {"faces": [encoded] * 4}
    results = [
        ClipTransform(SHAPE, reader(tokenizer), augment=True)(example, np.random.default_rng(seed), 0)["frames"]
        for seed in range(4)
    ]
    for frames in results:
        assert (frames == frames[:1]).all()
    assert not (results[0] == results[1]).all()


def test_frames_are_rgb(tokenizer):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    example = make_example(np.random.default_rng(0), "x", frames=1)
    example["faces"] = [cv2.imencode(".png", red)[1].tobytes()]
    arrays = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    assert arrays["frames"][0, 8, 8].tolist() == [255, 0, 0]


def test_unknown_labels_are_masked_entry_by_entry(tokenizer):
    example = make_example(np.random.default_rng(0), "x")
    example["labels"] = np.array([0.5, np.nan, 0, 1, np.nan, 0.25], np.float32)
    arrays = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    assert arrays["label_mask"].tolist() == [True, False, True, True, False, True]
    assert np.isfinite(arrays["labels"]).all()


def test_transcripts_that_differ_in_case_and_punctuation_are_the_same(tokenizer):
    def key(text):
        example = make_example(np.random.default_rng(0), "x") | {"transcript": text.encode()}
        return ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)["transcript"]

    assert key("What a day!") == key("what  a day")
    assert key("What a day!") != key("What a night!")


def test_modalities_that_are_off_are_not_read(tokenizer):
    shape = dataclasses.replace(SHAPE, modalities=("text",))
    arrays = ClipTransform(shape, reader(tokenizer))(
        make_example(np.random.default_rng(0), "x"), np.random.default_rng(0), 0
    )
    assert "frames" not in arrays
    assert arrays["present"].tolist() == [False, False, True]


def test_the_next_batch_is_sent_in_a_thread_and_order_and_number_are_kept():
    sent, threads = queue.Queue(), set()

    def put(batch):
        threads.add(threading.current_thread())
        sent.put(batch["x"])
        return batch

    taken = to_device(iter([{"x": index} for index in range(5)]), put)
    assert next(taken) == {"x": 0}
    assert [sent.get(timeout=10), sent.get(timeout=10)] == [0, 1]
    with pytest.raises(queue.Empty):  # the next one is on its way, no more
        sent.get(timeout=0.1)
    assert [batch["x"] for batch in taken] == [1, 2, 3, 4]
    assert threading.current_thread() not in threads


def test_an_error_in_the_thread_is_raised_at_its_batch():
    def broken():
        yield {"x": 0}
        raise UserError("clip 7 is gone")

    taken = to_device(broken(), lambda batch: batch)
    assert next(taken) == {"x": 0}
    with pytest.raises(UserError, match="clip 7"):
        next(taken)


def test_a_tokenizer_survives_its_folder_and_training_repeats(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    text = "What a lovely day, xyz!"
    assert load_tokenizer(tmp_path)(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert train_wordpiece([" ".join(WORDS)] * 3, vocab_size=80).get_vocab() == tokenizer.get_vocab()


def test_pictures_stay_whole_where_crops_are_switched_off(tokenizer):
    example = make_example(np.random.default_rng(0), "1", frames=3)
    whole = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)["frames"]
    uncropped = ClipTransform(SHAPE, reader(tokenizer), augment=True, smallest_crop=1.0)
    cropped = ClipTransform(SHAPE, reader(tokenizer), augment=True, smallest_crop=0.5)
    for seed in range(6):
        frames = uncropped(example, np.random.default_rng(seed), 0)["frames"]
        assert any(np.array_equal(frames, turned) for turned in (whole, whole[:, :, ::-1]))
        frames = cropped(example, np.random.default_rng(seed), 0)["frames"]
        assert not any(np.array_equal(frames, turned) for turned in (whole, whole[:, :, ::-1]))


def test_kept_tokens_outlive_corruption(tokenizer):
    example = make_example(np.random.default_rng(0), "1")
    clean = ClipTransform(SHAPE, reader(tokenizer))(example, np.random.default_rng(0), 0)
    corrupting = ClipTransform(SHAPE, reader(tokenizer), augment=True, corrupt=0.5)
    corrupted = [corrupting(example, np.random.default_rng(seed), 0) for seed in range(20)]
    names = ("tokens", "token_mask", "token_supervised")
    same = [all(np.array_equal(arrays[name], clean[name]) for name in names) for arrays in corrupted]
    assert True in same[same.index(False) :]
