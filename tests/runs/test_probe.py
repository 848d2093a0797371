"""The linear probe of stage 1 against scikit-free ridge regression, and what it needs."""

import numpy as np
import pytest

from emi_jax.runs.probe import probe


def outputs(rng, clips, labels, noise=0.0):
    """Outputs of stage 1 in which the vision's embeddings know the first label and the text's the second."""
    vision = rng.normal(size=(clips, 4)).astype(np.float32)
    text = rng.normal(size=(clips, 4)).astype(np.float32)
    vision[:, 0] += 4 * labels[:, 0]
    text[:, 0] += 4 * labels[:, 1]
    return {
        "vision/left": vision,
        "vision/text": text,
        "vision/both": np.ones(clips, bool),
        "labels": labels,
        "label_mask": np.ones(labels.shape, bool),
    }


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(260, 2)).astype(np.float32)
    made = outputs(rng, 260, labels)
    return {name: x[:160] for name, x in made.items()}, {name: x[160:] for name, x in made.items()}


def test_each_embedding_predicts_the_label_that_it_holds(parts):
    """Least squares on four fifths of the training clips is the same up to the small penalty."""
    fitted, scored = parts
    scores = probe(fitted, scored)
    held = np.arange(160) % 5 == 4
    for name, key in (("vision", "vision/left"), ("text", "vision/text")):
        x, others = (np.column_stack([part[key], np.ones(len(part[key]))]) for part in parts)
        weights = np.linalg.lstsq(x[~held], fitted["labels"][~held], rcond=None)[0]
        expected = [np.corrcoef((others @ weights)[:, k], scored["labels"][:, k])[0, 1] for k in range(2)]
        assert scores[f"probe/{name}/pearson"] == pytest.approx(np.mean(expected), abs=0.02)
    assert scores["probe/all/pearson"] > 0.9 > 0.65 > max(scores["probe/vision/pearson"], scores["probe/text/pearson"])


def test_embeddings_of_clips_without_both_sides_are_not_read(parts):
    fitted, scored = parts
    fitted["vision/both"][::3] = False
    clean = probe(fitted, scored)
    fitted["vision/left"][::3], fitted["vision/text"][::3] = 1e6, np.nan
    assert probe(fitted, scored) == clean


def test_clips_with_an_unknown_label_are_not_fitted(parts):
    fitted, scored = parts
    fitted["label_mask"][100:] = False
    clean = probe(fitted, scored)
    fitted["labels"][100:] = np.nan
    assert probe(fitted, scored) == clean
    fitted["label_mask"][:] = False
    assert probe(fitted, scored) == {}
