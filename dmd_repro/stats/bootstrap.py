"""Bootstrap intervals of every metric over the clips of one split: what other clips would have made of one run.

A resample is a row of counts, how often each clip was drawn, and every metric here is a ratio of sums over clips; so
all resamples of all metrics are a few matrix products. Clips are drawn independently; those of one video are not
independent, so the intervals are, if anything, too narrow. The spread over seeds is another matter and not in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.measures import METRICS

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 22  # counts held in memory together

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval, in the unit `METRICS` gives (fractions; mae and corr on their own scale)."""

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
) -> dict[str, Interval]:
    """Return the percentile interval of each metric of `METRICS` over resampled clips, labels and predictions (B,).

    All metrics share their resamples. Predictions that are not finite give no interval.
    """
    drawn = resampled(y_true, y_pred, generator, resamples=resamples)
    return {name: _interval(values, level) for name, values in drawn.items()}


def resampled(
    y_true: ArrayLike, y_pred: ArrayLike, generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> dict[str, Floats]:
    """Return {metric: (resamples,)}, NaN where a resample leaves the metric undefined."""
    true, pred = (np.asarray(x, np.float32).astype(np.float64) for x in (y_true, y_pred))  # as METRICS reads them
    n, done, parts = len(true), 0, []
    while done < resamples:
        size = min(resamples - done, max(1, _AT_ONCE // n))
        counts = generator.multinomial(n, np.full(n, 1 / n), size=size)
        parts.append(scores(true, pred, counts))
        done += size
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def scores(true: Floats, pred: Floats, counts: NDArray[np.int64]) -> dict[str, Floats]:
    """Return every metric of resamples given as counts (R, B): as `METRICS` would, on the clips repeated so often."""
    weights = counts.astype(np.float64)
    if not (np.isfinite(true).all() and np.isfinite(pred).all()):
        nothing = np.full(len(weights), np.nan)
        return dict.fromkeys(METRICS, nothing)
    total = weights.sum(1)
    found = {"mae": weights @ np.abs(true - pred) / total, "corr": _correlation(true, pred, weights)}
    for count, limit in ((7, 3.0), (5, 2.0), (3, 1.0)):
        same = np.round(np.clip(true, -limit, limit)) == np.round(np.clip(pred, -limit, limit))
        found[f"acc{count}"] = weights @ same / total
    kept = true != 0
    for zero, truth, call, here in (
        ("non0", true > 0, pred > 0, weights * kept),
        ("has0", true >= 0, pred >= 0, weights),
    ):
        accuracy, f1, swapped = _binary(truth, call, here)
        found |= {f"acc2_{zero}": accuracy, f"f1_{zero}": f1, f"f1_{zero}_swapped": swapped}
    return {name: found[name] for name in METRICS}


def _binary(truth: NDArray[np.bool_], call: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats, Floats]:
    cells = [weights @ (t & c).astype(np.float64) for t in (truth, ~truth) for c in (call, ~call)]
    tp, fn, fp, tn = cells
    n = tp + fn + fp + tn
    with np.errstate(invalid="ignore", divide="ignore"):
        # 2 tp / (2 tp + fp + fn) is 0 / 0 only for a class in neither truth nor call, whose weight is 0 as well
        f1 = [np.nan_to_num(2 * hit / (2 * hit + fp + fn)) for hit in (tp, tn)]
        plain = ((tp + fn) * f1[0] + (fp + tn) * f1[1]) / n
        return (tp + tn) / n, plain, ((tp + fp) * f1[0] + (fn + tn) * f1[1]) / n


def _correlation(true: Floats, pred: Floats, weights: Floats) -> Floats:
    total = weights.sum(1)
    t, p = true - true.mean(), pred - pred.mean()  # of the sample: sums of squares then lose no digits
    mean_t, mean_p = weights @ t / total, weights @ p / total
    both = weights @ (t * p) / total - mean_t * mean_p
    spread = (weights @ t**2 / total - mean_t**2) * (weights @ p**2 / total - mean_p**2)
    drawn = weights > 0
    constant = np.array([np.ptp(true[row]) == 0 or np.ptp(pred[row]) == 0 for row in drawn])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.clip(both / np.sqrt(np.maximum(spread, 0.0)), -1.0, 1.0)
    return np.where(constant, np.nan, found)


def _interval(values: Floats, level: float) -> Interval:
    there = values[np.isfinite(values)]
    undefined = len(values) - len(there)
    if len(there) < 0.9 * len(values) or not len(there):
        return Interval(None, None, undefined)
    low, high = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), undefined)
