"""The measures of the sentiment tables, as pure functions of labels and predictions.

Every function takes `y_true` and `y_pred`, both (B,), sentiment in [-3, 3], and returns a fraction in [0, 1] (`mae` and
`corr`: their own scale). It returns NaN where the measure does not exist: no clip left to score, a constant vector
under a correlation, or a prediction that is not finite (a diverged run has no accuracy; comparing NaN with 0 would
invent one).

Two readings of "binary accuracy" are in use and differ by 1 to 4 points: `non0` (negative / positive, clips labelled 0
left out) and `has0` (negative / non-negative, all clips). Some systems also call the weighted F1 with its two arguments
swapped, which weighs the classes by their predicted instead of their true counts; `..._swapped` is that number.
Source of the definitions: the authors' metricsTop.py (`eval_mosei_regression`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Zero = Literal["non0", "has0"]
Measure = Callable[[ArrayLike, ArrayLike], float]
NAN = float("nan")


def _pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return both as flat float64, or None where nothing can be scored. Raises ValueError if their lengths differ."""
    # Single precision first: predictions are float32 everywhere else, and a double could fall on the other side of
    # a half (x.5 decides the class of acc7) than the number that was trained and stored.
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, and inf has no score either
        true = np.asarray(y_true, dtype=np.float32).astype(np.float64).reshape(-1)
        pred = np.asarray(y_pred, dtype=np.float32).astype(np.float64).reshape(-1)
    if true.shape != pred.shape:
        raise ValueError(f"y_true has {true.size} clips, y_pred {pred.size}")
    if true.size == 0 or not (np.isfinite(true).all() and np.isfinite(pred).all()):
        return None
    return true, pred


def _signs(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return "is positive" of labels and predictions under one reading of the binary task."""
    pair = _pair(y_true, y_pred)
    if pair is None:
        return None
    true, pred = pair
    if zero == "has0":
        return true >= 0, pred >= 0
    kept = true != 0
    return (true[kept] > 0, pred[kept] > 0) if kept.any() else None


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero) -> float:
    """Return the share of clips whose sign is called right; NaN if no clip is left."""
    signs = _signs(y_true, y_pred, zero)
    return NAN if signs is None else float(np.mean(signs[0] == signs[1]))


def weighted_f1(truth: NDArray[np.bool_], call: NDArray[np.bool_]) -> float:
    """Return the F1 of both classes averaged by their share of `truth` (scikit-learn's average="weighted")."""
    total = 0.0
    for kind in (False, True):
        in_truth, in_call = truth == kind, call == kind
        support = int(in_truth.sum())
        if support:  # then the denominator is at least `support`, never 0
            total += support * 2.0 * int((in_truth & in_call).sum()) / (support + int(in_call.sum()))
    return total / truth.size


def binary_f1(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero, *, swapped: bool = False) -> float:
    """Return the weighted F1 of the sign; `swapped` passes (prediction, label) as if they were (label, prediction)."""
    signs = _signs(y_true, y_pred, zero)
    if signs is None:
        return NAN
    true, pred = signs
    return weighted_f1(pred, true) if swapped else weighted_f1(true, pred)


def rounded_accuracy(y_true: ArrayLike, y_pred: ArrayLike, limit: float) -> float:
    """Return the share of clips whose label and prediction round to the same integer.

    Both are clipped to [-limit, limit] first, then rounded half to even (numpy's rule, so 0.5 and -0.5 are class 0).
    """
    pair = _pair(y_true, y_pred)
    if pair is None:
        return NAN
    true, pred = (np.round(np.clip(x, -limit, limit)) for x in pair)
    return float(np.mean(true == pred))


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean absolute error in units of sentiment (not times 100, as the authors' tables file it).

    Summed in double precision; the authors sum in single, which differs in the seventh digit.
    """
    pair = _pair(y_true, y_pred)
    return NAN if pair is None else float(np.mean(np.abs(pair[0] - pair[1])))


def correlation(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return Pearson's correlation; NaN if either side is constant."""
    pair = _pair(y_true, y_pred)
    if pair is None:
        return NAN
    true, pred = pair
    if np.ptp(true) == 0 or np.ptp(pred) == 0:  # exact: np.std of a constant need not be exactly 0
        return NAN
    return float(np.clip(np.corrcoef(true, pred)[0, 1], -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure and how to print it."""

    id: str
    title: str  # how a table heads it
    function: Measure
    unit: str  # "%": a fraction that is printed times 100; "": printed as it is
    higher_is_better: bool
    convention: str  # what is counted, in words

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike) -> float:
        """Return the measure as it is defined: a fraction, or mae / corr on their own scale."""
        return self.function(y_true, y_pred)

    def shown(self, y_true: ArrayLike, y_pred: ArrayLike) -> float:
        """Return the measure in the unit tables print: percent for the accuracies and F1."""
        return self.function(y_true, y_pred) * (100.0 if self.unit == "%" else 1.0)


ZERO_WORDS: dict[Zero, str] = {
    "non0": "negative / positive, clips labelled 0 left out",
    "has0": "negative / non-negative, all clips",
}
SWAPPED_WORDS = "its two arguments swapped: classes weighted by their predicted counts"


def _registry() -> dict[str, Metric]:
    metrics: list[Metric] = []

    def add(id_: str, title: str, function: Measure, convention: str, *, unit: str = "%", higher: bool = True) -> None:
        metrics.append(Metric(id_, title, function, unit, higher, convention))

    def accuracy(zero: Zero) -> Measure:
        return lambda t, p: binary_accuracy(t, p, zero)

    def f1(zero: Zero, swapped: bool) -> Measure:
        return lambda t, p: binary_f1(t, p, zero, swapped=swapped)

    def classes(limit: float) -> Measure:
        return lambda t, p: rounded_accuracy(t, p, limit)

    for zero, words in ZERO_WORDS.items():
        add(f"acc2_{zero}", "ACC2", accuracy(zero), words)
        add(f"f1_{zero}", "F1", f1(zero, False), f"weighted F1, {words}")
        add(f"f1_{zero}_swapped", "F1", f1(zero, True), f"weighted F1, {words}, {SWAPPED_WORDS}")
    for count, limit in ((7, 3.0), (5, 2.0), (3, 1.0)):
        add(f"acc{count}", f"ACC{count}", classes(limit), f"clipped to ±{limit:.0f}, rounded half to even")
    add("mae", "MAE", mean_absolute_error, "mean absolute error", unit="", higher=False)
    add("corr", "Corr", correlation, "Pearson correlation", unit="")
    return {metric.id: metric for metric in metrics}


METRICS: dict[str, Metric] = _registry()
