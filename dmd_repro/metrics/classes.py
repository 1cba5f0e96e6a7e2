"""Accuracies over classes of sentiment, each on the one range of labels it is defined for.

ACC7, ACC5, ACC3: labels in [-3, 3], clipped and rounded. On [-1, 1] the field counts by edges instead: ACC5 at ±0.7 and
±0.1, ACC3 at ±0.1; a rounded ACC7 of such labels would have three classes under a name of seven.
Source of the definitions: the authors' metricsTop.py (`eval_mosei_regression`, `eval_sims_regression`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from dmd_repro.metrics.metric import NAN, Floats, Metric, paired

Classes = Callable[[Floats], Floats]
EDGES = {5: (-0.7, -0.1, 0.1, 0.7), 3: (-0.1, 0.1)}


def rounded(limit: float) -> Classes:
    """Return the classes of values clipped to [-limit, limit] and rounded half to even (0.5 is class 0)."""

    def classes(x: Floats) -> Floats:
        return np.asarray(np.round(np.clip(x, -limit, limit)), np.float64)

    return classes


def between(edges: tuple[float, ...]) -> Classes:
    """Return the classes of values clipped to [-1, 1] and cut at edges, an edge itself belonging below it."""
    # tenths are not exact in binary: an edge must be the float32 that a label of the same tenth is
    cuts = np.asarray(edges, np.float32).astype(np.float64)
    return lambda x: np.digitize(np.clip(x, -1.0, 1.0), cuts, right=True).astype(np.float64)


def class_accuracy(y_true: ArrayLike, y_pred: ArrayLike, classes: Classes) -> float:
    """Return the share of clips whose label and prediction fall into the same class."""
    pair = paired(y_true, y_pred)
    if pair is None:
        return NAN
    return float(np.mean(classes(pair[0]) == classes(pair[1])))


def _metric(id_: str, count: int, classes: Classes, limits: tuple[float, float], counted: str) -> Metric:
    def right(true: Floats, pred: Floats) -> Floats:
        return (classes(true) == classes(pred)).astype(np.float64)

    reading = tuple(id_.split("_")[1:])
    return Metric(
        id=id_, heading=f"ACC{count}", words="", convention=counted,
        function=lambda t, p: class_accuracy(t, p, classes), unit="%", higher_is_better=True, column=f"acc{count}",
        reading=reading, per_clip=right, right=right, label_range=limits,
        prominence="comparison" if count == 7 else "run", always=False,
    )  # fmt: skip


METRICS = (
    *(
        _metric(f"acc{n}", n, rounded(limit), (-3.0, 3.0), f"clipped to ±{limit:.0f}, rounded half to even")
        for n, limit in ((7, 3.0), (5, 2.0), (3, 1.0))
    ),
    *(
        _metric(f"acc{n}_unit", n, between(edges), (-1.0, 1.0), f"cut at {', '.join(map(str, edges))}")
        for n, edges in EDGES.items()
    ),
)
