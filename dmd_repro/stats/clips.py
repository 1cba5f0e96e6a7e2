"""The clips' share of a score: one value per clip whose mean is the score, as if clips were drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.registry import METRICS
from dmd_repro.stats.paired import Crossed, crossed
from dmd_repro.stats.summary import LEVEL

Values = NDArray[np.float64]


def per_clip(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> Values | None:
    """Return one value per scored clip, in the unit tables print; None where the metric has no such values.

    Of a mean over clips (accuracies, MAE) their mean is the score. Weighted F1 is none: its jackknife pseudo-values are
    n times the score less (n - 1) times the score without that clip, whose mean is the score but for a bias of order
    1/n.
    """
    one = METRICS[metric]
    if one.per_clip is None:
        return None
    true, pred = (np.asarray(x, dtype=np.float32).astype(np.float64).reshape(-1) for x in (y_true, y_pred))
    values = one.per_clip(true, pred)
    counted = values[np.isfinite(values)]
    return one.scale * counted if counted.size > 1 else None


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
