"""The clips' share of a score: one value per clip, or per video, whose mean is the score, as if they were drawn anew.

Clips of one video share speaker, room and topic: they are drawn together wherever it is known which they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.registry import METRICS
from dmd_repro.stats.paired import Crossed, crossed
from dmd_repro.stats.summary import LEVEL

Values = NDArray[np.float64]


def per_clip(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> Values | None:
    """Return one value per clip, in the unit tables print, NaN where a clip does not count.

    None where the metric has no such values. Of a mean over clips (accuracies, MAE) their mean is the score. Weighted
    F1 is none: its jackknife pseudo-values are n times the score less (n - 1) times the score without that clip, whose
    mean is the score but for a bias of order 1/n.
    """
    one = METRICS[metric]
    if one.per_clip is None:
        return None
    true, pred = (np.asarray(x, dtype=np.float32).astype(np.float64).reshape(-1) for x in (y_true, y_pred))
    values = one.per_clip(true, pred)
    return one.scale * values if np.isfinite(values).sum() > 1 else None


def drawn_table(rows: Sequence[Values], videos: Sequence[str] | None = None) -> Values | None:
    """Return a table (runs, clips that count), or (runs, videos), whose row means are the scores; None for one column.

    `rows`: values per clip (B,) of each run, NaN where a clip does not count; `videos`: the video of each clip. With
    videos a column is the linearised share of a video: grand mean + V/N times the sum over its clips of (value - grand
    mean), so that a video of many clips weighs as many. With one clip a video this is the table of clips.
    """
    table = np.stack(list(rows))
    kept = np.isfinite(table).all(axis=0)
    table = table[:, kept]
    if videos is not None:
        names, group = np.unique(np.asarray(videos)[kept], return_inverse=True)
        grand = table.mean()
        sums = np.zeros((len(table), len(names)))
        np.add.at(sums.T, group, (table - grand).T)
        table = grand + len(names) / max(1, kept.sum()) * sums
    return table if table.shape[1] > 1 else None


def clips_share(
    metric: str,
    y_true: ArrayLike,
    predictions: Sequence[ArrayLike],
    videos: Sequence[str] | None = None,
    level: float = LEVEL,
) -> Crossed | None:
    """Return how far the mean score of several runs on the SAME clips would move with new seeds, new clips, or both.

    `videos` (B,): the video of each clip; those of one are drawn together. None for fewer than two runs or a measure
    without values per clip.
    """
    if len(predictions) < 2:
        return None
    rows = [row for p in predictions if (row := per_clip(metric, y_true, p)) is not None]
    if len(rows) < len(predictions):
        return None
    table = drawn_table(rows, videos)
    return None if table is None else crossed(table, level)
