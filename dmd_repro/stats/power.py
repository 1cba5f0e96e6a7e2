"""How many runs tell two rows apart: the power of the two-sample t test, and its inverse."""

from __future__ import annotations

import math

from dmd_repro.stats.summary import t_quantile

MOST_RUNS = 1_000_000


def power_two_samples(n: int, gap: float, std: float, alpha: float = 0.05) -> float:
    """Return the chance that a two-sided t test on n runs of each row finds a true gap (equal spreads `std`)."""
    from scipy.special import nctdtr

    if n < 2 or std <= 0:
        raise ValueError("power needs n >= 2 and a positive spread")
    if gap == 0:
        return alpha
    df, shift = 2 * n - 2, abs(gap) / (std * math.sqrt(2 / n))
    t = t_quantile(1 - alpha / 2, df)
    if shift > 37:  # the noncentral t law underflows, and the power is 1 to every digit
        return 1.0
    return float(1 - nctdtr(df, shift, t) + nctdtr(df, shift, -t))


def seeds_for_gap(gap: float, std: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return the fewest runs of each row with which a true gap is found with `power`; at most MOST_RUNS."""
    if gap == 0:
        return MOST_RUNS
    low, high = 1, 2
    while high < MOST_RUNS and power_two_samples(high, gap, std, alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_two_samples(middle, gap, std, alpha) >= power else (middle, high)
    return min(high, MOST_RUNS)


def break_even_std(n: int, gap: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the spread over runs at which n runs of each row find a true gap with just `power`.

    The power depends on gap / std alone, and falls as the spread grows: found by bisection, to twelve digits.
    """
    if gap == 0:
        return 0.0
    low, high = 1e-6 * abs(gap), 1e3 * abs(gap)
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if power_two_samples(n, gap, middle, alpha) >= power else (low, middle)
    return low
