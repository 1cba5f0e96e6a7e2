"""The clips' share of a score: one value per clip whose mean is the score, as if clips were drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.measures import weighted_f1
from dmd_repro.stats.paired import Crossed, crossed
from dmd_repro.stats.summary import LEVEL

Values = NDArray[np.float64]


def per_clip(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> Values | None:
    """Return one value per scored clip, in percent (`mae`: its own unit); None where the measure has no such values.

    Accuracies: 100 or 0, and their mean is the score. Weighted F1 is no mean over clips: jackknife pseudo-values, n
    times the score less (n - 1) times the score without that clip, whose mean is the score but for a bias of order 1/n.
    """
    true, pred = (np.asarray(x, dtype=np.float32).astype(np.float64).reshape(-1) for x in (y_true, y_pred))
    if metric == "mae":
        return np.abs(true - pred)
    name, *convention = metric.split("_")
    if name.startswith("acc") and not convention:
        limit = {"acc7": 3.0, "acc5": 2.0, "acc3": 1.0}[name]
        same = np.round(np.clip(true, -limit, limit)) == np.round(np.clip(pred, -limit, limit))
        return 100.0 * same
    if name not in ("acc2", "f1"):
        return None
    if convention[0] == "has0":
        truth, call = true >= 0, pred >= 0
    else:
        kept = true != 0
        truth, call = true[kept] > 0, pred[kept] > 0
    if truth.size < 2:
        return None
    return 100.0 * (truth == call) if name == "acc2" else 100.0 * _pseudo_f1(truth, call, "swapped" in convention)


def _pseudo_f1(truth: NDArray[np.bool_], call: NDArray[np.bool_], swapped: bool) -> Values:
    """Clips of one kind (label, call) have one pseudo-value: four scores without a clip, not as many as there are."""
    first, second = (call, truth) if swapped else (truth, call)
    n, score, out = truth.size, weighted_f1(first, second), np.empty(truth.size)
    for label in (False, True):
        for said in (False, True):
            here = np.flatnonzero((truth == label) & (call == said))
            if here.size:
                without = np.delete(first, here[0]), np.delete(second, here[0])
                out[here] = n * score - (n - 1) * weighted_f1(*without)
    return out


def clips_share(
    metric: str, y_true: ArrayLike, predictions: Sequence[ArrayLike], level: float = LEVEL
) -> Crossed | None:
    """Return how far the mean score of several runs on the SAME clips would move with new seeds, new clips, or both.

    None for fewer than two runs or a measure without values per clip.
    """
    if len(predictions) < 2:
        return None
    rows = [per_clip(metric, y_true, prediction) for prediction in predictions]
    if any(row is None or row.size < 2 for row in rows):
        return None
    return crossed(np.stack([row for row in rows if row is not None]), level)
