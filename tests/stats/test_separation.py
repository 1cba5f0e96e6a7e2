"""Separation in feature space: planted groups have it, shuffled labels and noise do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.stats.separation import neighbour_accuracy, neighbours, shuffled, silhouette, stack


def blobs(apart: float, n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three modalities of n clips in two groups, `apart` sigma from each other; the group of a clip is its parity."""
    draw = np.random.Generator(np.random.PCG64(1))
    group = np.arange(n) % 2
    parts = [(apart * group[:, None] + draw.standard_normal((n, 4))).astype(np.float32) for _ in range(3)]
    points, _, owner = stack(parts)
    return points, group[owner], owner


def test_planted_groups_lie_apart_and_shuffled_labels_do_not() -> None:
    """The numbers under a picture say that groups are there where they are, and that they are not by chance."""
    points, labels, owner = blobs(6.0)
    nearest = neighbours(points, owner)
    assert nearest is not None
    found, by_chance = silhouette(points, labels), silhouette(points, shuffled(labels, owner, "owners", 0))
    assert found is not None
    assert by_chance is not None
    assert found > 0.6
    assert abs(by_chance) < 0.1
    assert neighbour_accuracy(nearest, labels) == 1.0
    assert neighbour_accuracy(nearest, shuffled(labels, owner, "owners", 0)) == pytest.approx(0.5, abs=0.2)


def test_noise_has_no_groups() -> None:
    """Labels that no feature carries give what shuffled ones give."""
    points, labels, owner = blobs(0.0)
    nearest = neighbours(points, owner)
    assert nearest is not None
    assert abs(silhouette(points, labels) or 0.0) < 0.05
    assert neighbour_accuracy(nearest, labels) == pytest.approx(0.5, abs=0.2)


def test_a_clip_is_not_its_own_neighbour() -> None:
    """The modalities of one clip lie on each other and share its label: that alone must not count as a separation."""
    draw = np.random.Generator(np.random.PCG64(2))
    one = draw.standard_normal((20, 3)).astype(np.float32)
    points, _, owner = stack([one, one + 1e-4, one - 1e-4])
    nearest = neighbours(points, owner)
    assert nearest is not None
    assert (owner[nearest] != owner).all()
    labels = (np.arange(20) % 2)[owner]
    assert neighbour_accuracy(nearest, labels) < 0.9


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(0, 99))
def test_shuffling_keeps_what_belongs_together(owners: int, modalities: int, seed: int) -> None:
    """Over owners a clip's points keep one label; within them each clip keeps its own; nothing is lost; it repeats."""
    _, kind, owner = stack([np.zeros((owners, 1), np.float32)] * modalities)
    mixed = shuffled(owner.copy(), owner, "owners", seed).reshape(modalities, owners)
    assert (mixed == mixed[0]).all()
    assert sorted(mixed[0]) == list(range(owners))
    within = shuffled(kind, owner, "within", seed).reshape(modalities, owners)
    assert (np.sort(within, axis=0) == np.arange(modalities)[:, None]).all()
    assert (within == shuffled(kind, owner, "within", seed).reshape(modalities, owners)).all()


def test_what_cannot_be_measured_is_none() -> None:
    """One label, a label a point, one owner or a number that is none: no value is invented."""
    points, labels, owner = blobs(1.0)
    assert silhouette(points, np.zeros_like(labels)) is None
    assert silhouette(points, np.arange(len(points))) is None
    assert neighbours(points, np.zeros_like(owner)) is None
    points[0, 0] = np.nan
    assert silhouette(points, labels) is None
    assert neighbours(points, owner) is None
