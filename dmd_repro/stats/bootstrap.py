"""Bootstrap intervals of every metric over the clips of one split: what other clips would have made of one run.

A resample is a row of counts, how often each clip was drawn, and every metric here is a ratio of sums over clips; so
all resamples of all metrics are a few matrix products. Clips of one video are drawn together where it is known which
they are: drawn alone, the intervals would be too narrow. The spread over seeds is another matter and not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.metric import Metric
from dmd_repro.metrics.registry import METRICS

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 22  # counts held in memory together

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval, in the unit `METRICS` gives (fractions, or the metric's own scale)."""

    low: float | None  # None: the metric exists in too few resamples to give an interval
    high: float | None
    undefined: int  # resamples in which the metric does not exist


def intervals(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    metrics: Mapping[str, Metric] = METRICS,
    videos: Sequence[str] | None = None,
) -> dict[str, Interval]:
    """Return the percentile interval of each metric over resampled clips, labels and predictions (B,).

    All metrics share their resamples; `videos` (B,) names the clips that are drawn together. Predictions that are not
    finite give no interval.
    """
    drawn = resampled(y_true, y_pred, generator, resamples=resamples, metrics=metrics, videos=videos)
    return {name: _interval(values, level) for name, values in drawn.items()}


def resampled(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    metrics: Mapping[str, Metric] = METRICS,
    videos: Sequence[str] | None = None,
) -> dict[str, Floats]:
    """Return {metric: (resamples,)}, NaN where a resample leaves the metric undefined."""
    true, pred = (np.asarray(x, np.float32).astype(np.float64) for x in (y_true, y_pred))  # as METRICS reads them
    n, done, parts = len(true), 0, []
    while done < resamples:
        size = min(resamples - done, max(1, _AT_ONCE // n))
        counts = draw_counts(n, generator, size, videos)
        parts.append(scores(true, pred, counts, metrics))
        done += size
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw_counts(
    clips: int, generator: np.random.Generator, size: int, videos: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Return how often each clip was drawn (size, clips): clips alone, or as many videos as there are, whole."""
    if videos is None:
        return generator.multinomial(clips, np.full(clips, 1 / clips), size=size)
    _, group = np.unique(np.asarray(videos), return_inverse=True)
    there = int(group.max()) + 1
    return generator.multinomial(there, np.full(there, 1 / there), size=size)[:, group]


def scores(
    true: Floats, pred: Floats, counts: NDArray[np.int64], metrics: Mapping[str, Metric] = METRICS
) -> dict[str, Floats]:
    """Return every metric of resamples given as counts (R, B): as `METRICS` would, on the clips repeated so often."""
    weights = counts.astype(np.float64)
    if not (np.isfinite(true).all() and np.isfinite(pred).all()):
        nothing = np.full(len(weights), np.nan)
        return dict.fromkeys(metrics, nothing)
    return {name: metric.resampled(true, pred, weights) for name, metric in metrics.items()}


def _interval(values: Floats, level: float) -> Interval:
    there = values[np.isfinite(values)]
    undefined = len(values) - len(there)
    if len(there) < 0.9 * len(values) or not len(there):
        return Interval(None, None, undefined)
    low, high = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), undefined)
