"""How far labelled points lie apart in their own space, in two numbers, and what the same numbers are by chance.

Points are (N, d). Several points may belong to one owner (the modalities of a clip): the nearest neighbour is looked
for among other owners, and labels are shuffled as whole owners, or within each, so that what an owner's points share
is in the chance level too. scikit-learn does the distances (Euclidean).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.seeds import seed_for

Points = NDArray[np.float32]
Labels = NDArray[np.int64]
Shuffle = Literal["owners", "within"]


def silhouette(points: Points, labels: Labels) -> float | None:
    """Return the mean silhouette, -1 to 1 (Rousseeuw, J. Comput. Appl. Math. 20, 1987).

    None unless there are two labels or more and fewer than points, or where a point is no number.
    """
    from sklearn.metrics import silhouette_score

    kinds = len(np.unique(labels))
    if not 2 <= kinds < len(points) or not np.isfinite(points).all():
        return None
    return float(silhouette_score(points, labels))


def neighbours(points: Points, owners: Labels) -> Labels | None:
    """Return (N,) the index of each point's nearest point of another owner; None with one owner or a point of NaN.

    Ties go to the lower distance as computed, then to the order of the search: labels do not enter.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(np.unique(owners)) < 2 or not np.isfinite(points).all():
        return None
    most = int(np.unique(owners, return_counts=True)[1].max())  # a point's own owner has so many at most
    _, found = NearestNeighbors(n_neighbors=min(most + 1, len(points))).fit(points).kneighbors(points)
    other = owners[found] != owners[:, None]
    nearest: Labels = found[np.arange(len(points)), other.argmax(1)].astype(np.int64)
    return nearest


def neighbour_accuracy(nearest: Labels, labels: Labels) -> float:
    """Return the share of points whose nearest neighbour has their label."""
    return float((labels[nearest] == labels).mean())


def shuffled(labels: Labels, owners: Labels, how: Shuffle, seed: int, *scope: str | int) -> Labels:
    """Return labels without any relation to the points, drawn by a recorded seed.

    "owners": each owner takes all labels of another with as many points; "within": each owner's points swap theirs.
    Needs as many points of every owner, in the same order of owners (as `stack` lays them out).
    """
    generator = np.random.Generator(np.random.PCG64(seed_for(seed, "shuffled labels", *scope)))
    kinds = len(np.unique(owners))
    table = labels.reshape(-1, kinds)  # (points of an owner, owners)
    mixed = table[:, generator.permutation(kinds)] if how == "owners" else generator.permuted(table, axis=0)
    flat: Labels = mixed.reshape(-1)
    return flat


def stack(parts: Sequence[Points]) -> tuple[Points, Labels, Labels]:
    """Lay M arrays (B, d) one under the other: points (M * B, d), which array each is of, and which row (its owner)."""
    m, b = len(parts), len(parts[0])
    return np.concatenate(parts), np.repeat(np.arange(m), b), np.tile(np.arange(b), m)
