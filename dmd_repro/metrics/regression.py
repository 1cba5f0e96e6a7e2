"""MAE and Pearson's correlation, on the scale of the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmd_repro.metrics.metric import NAN, Floats, Metric, paired


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean absolute error in units of sentiment (not times 100, as the authors' tables file it).

    Summed in double precision; the authors sum in single, which differs in the seventh digit.
    """
    pair = paired(y_true, y_pred)
    return NAN if pair is None else float(np.mean(np.abs(pair[0] - pair[1])))


def correlation(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return Pearson's correlation; NaN if either side is constant."""
    pair = paired(y_true, y_pred)
    if pair is None:
        return NAN
    true, pred = pair
    if np.ptp(true) == 0 or np.ptp(pred) == 0:  # exact: np.std of a constant need not be exactly 0
        return NAN
    return float(np.clip(np.corrcoef(true, pred)[0, 1], -1.0, 1.0))


def _resampled_correlation(true: Floats, pred: Floats, weights: Floats) -> Floats:
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


METRICS = (
    Metric(
        id="mae", heading="MAE", words="mean absolute error", convention="mean absolute error",
        function=mean_absolute_error, unit="", higher_is_better=False, column="mae",
        per_clip=lambda true, pred: np.abs(true - pred), prominence="line",
        limits=(0.0, float("inf")),
    ),
    Metric(
        id="corr", heading="Corr", words="Pearson correlation", convention="Pearson correlation", function=correlation,
        unit="", higher_is_better=True, column="corr", resample=_resampled_correlation, prominence="line",
        limits=(-1.0, 1.0),
    ),
)  # fmt: skip
