"""Statistics of a measured cell: values of one metric over seeds, beside one printed number.

Nothing here invents a number: where a quantity does not exist (one run has no spread, equal values have no test) the
result is None and `why` says so in words. scipy does the distributions; `scipy.special` alone, because importing
`scipy.stats` takes longer than printing a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
Bounds = tuple[float, float]
EVERYWHERE: Bounds = (-math.inf, math.inf)

TOO_FEW = "one run has no spread"
CONSTANT = "all runs give the same value"
NO_RUNS = "no run"


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean, spread and interval of n values."""

    n: int
    mean: float | None  # None for n = 0
    std: float | None  # sample STD, divisor n - 1; None for n < 2
    interval: tuple[float, float] | None  # Student t interval of the mean; None for n < 2 or equal values
    level: float  # of the interval
    why: str | None  # why there is no interval


@dataclass(frozen=True, slots=True)
class TTest:
    """Two-sided one-sample t test."""

    t: float
    df: int
    p: float


def t_quantile(probability: float, df: float) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def t_two_sided(t: float, df: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return float(2.0 * stdtr(df, -abs(t)))


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample STD (divisor n - 1; 0 exactly if all values are equal) of n >= 2 values."""
    if min(values) == max(values):  # a sum of equal numbers can miss the number by a rounding error
        return float(values[0]), 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def clipped(interval: tuple[float, float], bounds: Bounds) -> tuple[float, float]:
    """Return an interval that ends where the scale does: a percentage lies in [0, 100]."""
    return max(interval[0], bounds[0]), min(interval[1], bounds[1])


def summarise(
    values: Sequence[float], level: float = LEVEL, *, bounds: Bounds = EVERYWHERE, mixed: str | None = None
) -> Summary:
    """Return mean, sample STD and the t interval of the mean at `level`; None for what n or equal values rule out.

    `bounds`: what a value can be; the interval ends there. `mixed`: why the values are of two kinds, so that no normal
    interval describes them. Raises ValueError on a value that is not finite: a diverged run is not a number to average.
    """
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a value is not finite")
    n = len(values)
    if n == 0:
        return Summary(0, None, None, None, level, NO_RUNS)
    if n == 1:
        return Summary(1, float(values[0]), None, None, level, TOO_FEW)
    mean, std = mean_and_std(values)
    if std == 0:
        return Summary(n, mean, 0.0, None, level, CONSTANT)
    if mixed is not None:
        return Summary(n, mean, std, None, level, mixed)
    half = t_quantile(0.5 + level / 2, n - 1) * std / math.sqrt(n)
    return Summary(n, mean, std, clipped((mean - half, mean + half), bounds), level, None)


def one_sample_t(values: Sequence[float], expected: float) -> TTest | None:
    """Test whether the mean of the values is `expected`; None for n < 2 or equal values (`summarise` says why)."""
    if len(values) < 2:
        return None
    mean, std = mean_and_std(values)
    if std == 0:
        return None
    t = (mean - expected) / (std / math.sqrt(len(values)))
    return TTest(t, len(values) - 1, t_two_sided(t, len(values) - 1))


def prediction_interval(
    values: Sequence[float], level: float = LEVEL, *, bounds: Bounds = EVERYWHERE
) -> tuple[float, float] | None:
    """Return the t interval that holds the value of ONE more run at `level`; None for n < 2 or equal values."""
    if len(values) < 2:
        return None
    mean, std = mean_and_std(values)
    if std == 0:
        return None
    half = t_quantile(0.5 + level / 2, len(values) - 1) * std * math.sqrt(1 + 1 / len(values))
    return clipped((mean - half, mean + half), bounds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given: rejecting those <= alpha keeps the family's error <= alpha.

    Holm, Scandinavian Journal of Statistics 6 (1979), in the adjusted form.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
