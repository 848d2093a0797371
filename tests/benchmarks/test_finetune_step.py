"""The benchmark of the fine-tuning step, here with tiny encoders."""

import numpy as np

from benchmarks.comparison.shapes import Sizes
from benchmarks.compiled import finetune_step
from tests.benchmarks.test_paper_scale import ENCODERS

TINY = Sizes(batch=2, num_frames=2, seconds=0.2, num_tokens=8, width=8, num_heads=2)


def test_sizes_are_those_of_the_preset():
    assert finetune_step.sizes_of(2) == Sizes(2, 16, 12.0, 128, 256, 8)
    assert finetune_step.CONFIG.train.frozen == ("^towers/vision/", "^towers/audio/")


def test_a_row_is_measured():
    cached, small = finetune_step.CACHES["frozen towers"], {"tcn": False, "bilstm": False, "decoder": False}
    found = finetune_step.measure(TINY, ENCODERS, cached, steps=2, **small)
    assert np.isfinite(found["losses"]).all()
    assert len(found["losses"]) == 2
    assert found["seconds"] > 0
    assert found["planned"] > 0
