"""The benchmark of length buckets, here with tiny encoders."""

import dataclasses

import numpy as np
import pytest

from benchmarks.compiled import length_buckets
from emi_jax.inputs.lengths import LengthBuckets
from tests.benchmarks.tiny import ENCODERS, SIZES


def test_lengths_are_like_those_of_the_data_set():
    seconds, tokens = length_buckets.draw_lengths(length_buckets.CLIPS)
    assert np.mean(seconds) == pytest.approx(6.9, abs=0.1)
    assert np.quantile(seconds, 0.95) == pytest.approx(11.5, abs=0.2)
    assert np.mean(tokens) == pytest.approx(2 + 1.3 * 12 + 0.5, abs=0.5)


def test_speeds_are_those_of_the_batches_of_an_epoch():
    buckets = LengthBuckets(np.repeat((0, 2), (6, 2)), ({}, {}, {}))
    full, short = length_buckets.speeds([1.0, 2.0, 4.0], buckets, batch_size=2)
    assert full == 8 / 16
    assert short == 8 / (3 * 1.0 + 4.0)


def test_each_size_is_measured():
    sizes = dataclasses.replace(SIZES, batch=2, num_frames=2)
    buckets = length_buckets.make_buckets(sizes, ENCODERS, ((0.5, 0.5),), count=4)
    step = length_buckets.make_step_of("features", sizes, ENCODERS, "float32", remat=False)
    seconds = length_buckets.measure(step, length_buckets.make_batch("features", sizes, ENCODERS), buckets, rounds=1)
    assert len(seconds) == 2
    assert min(seconds) > 0
