"""Folds over subjects: no person is in two folds, and all folds hold about the same clips and label mass."""

from collections.abc import Sequence

import numpy as np

PASSES = 10
"""How often each subject is moved to the fold where it fits best."""


def subject_folds(subjects: Sequence[str], labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Assigns clips to folds, whole subjects at a time.

    Masses are the number of clips and the sum of each label, as shares of their totals. The largest subjects come
    first, equal ones in a seeded order; each goes to the fold in which it adds least to the sum of squared masses, and
    then all are moved in turn to where they add less.

    Args:
        subjects: [n], the person in each clip; a clip whose person is unknown ("") counts as a person.
        labels: [n, K], NaN where unknown.
        count: number of folds; with at least as many folds as subjects, each subject is one fold.
        seed: seed of the order of subjects of equal size.

    Returns:
        int [n], the fold of each clip, from 0; every fold has clips.

    Raises:
        ValueError: fewer than two folds or two subjects.
    """
    names = np.array([name or f"\0{row}" for row, name in enumerate(subjects)])
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    group = np.argsort(np.argsort(first))[group]  # numbered by first appearance
    people = len(first)
    if count < 2 or people < 2:
        raise ValueError(f"{count} folds of {people} subjects: expected at least two of both")
    if count >= people:
        return group
    known = np.nan_to_num(np.asarray(labels, np.float64))
    masses = np.zeros((people, 1 + known.shape[1]))
    np.add.at(masses, group, np.column_stack([np.ones(len(known)), known]))
    totals = masses.sum(0)
    masses = masses / np.where(totals > 0, totals, 1)
    shuffled = np.random.default_rng(seed).permutation(people)
    order = shuffled[np.argsort(-np.square(masses[shuffled]).sum(1), kind="stable")]
    folds, chosen = np.zeros((count, masses.shape[1])), np.full(people, -1)
    for place, person in enumerate(order):
        # The largest subjects open one fold each, so that none stays empty.
        chosen[person] = place if place < count else _lightest(folds, masses[person])
        folds[chosen[person]] += masses[person]
    for person in np.tile(order, PASSES):
        if (chosen == chosen[person]).sum() > 1:
            folds[chosen[person]] -= masses[person]
            chosen[person] = _lightest(folds, masses[person])
            folds[chosen[person]] += masses[person]
    return chosen[group]


def _lightest(folds: np.ndarray, mass: np.ndarray) -> int:
    """The fold [F, M] in which a mass [M] adds least to the sum of the squares of all masses."""
    return int(np.argmin(folds @ mass))
