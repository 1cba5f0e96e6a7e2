"""The seed lottery: where a printed number lies among our seeds, and how many draws make it likely as a best of k.

A run *reaches* the printed number if it would print as high: value >= printed - half a unit of its last decimal. Two
accounts, always named: *counted* (our runs as they are) and *modelled* (runs are normal around an unknown mean with an
unknown spread). For measures where lower is better, pass negated values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dmd_repro.stats.summary import LEVEL, mean_and_std

MODEL = "runs are normal, mean and spread estimated from the seeds at hand"
MOST = 20


@dataclass(frozen=True, slots=True)
class BestOf:
    """The expected best of k runs."""

    k: int
    counted: float | None  # over all ways to draw k of our runs; None for k > n
    modelled: float
    extrapolated: bool  # k > n: beyond what was run


@dataclass(frozen=True, slots=True)
class Lottery:
    """What n seeds say about reaching a printed number."""

    n: int
    reached: int  # of our runs
    counted_limits: tuple[float, float]  # Clopper-Pearson interval of the chance, from the count alone
    chance: float  # that one run reaches it, modelled with mean and spread as estimated
    chance_limits: tuple[float, float]  # its exact confidence interval under the model
    even: float  # k that makes it an even bet at `chance`; inf where the chance is 0
    even_limits: tuple[float, float]  # k at the upper and the lower limit of the chance
    best: tuple[BestOf, ...]  # k = 1 ... MOST
    level: float


def lottery(values: Sequence[float], printed: float, *, cell: float = 0.0, level: float = LEVEL) -> Lottery | None:
    """Return the lottery of values against a printed number known to ± `cell`; None for n < 2 or equal values."""
    from scipy.special import ndtr

    n = len(values)
    if n < 2:
        return None
    mean, std = mean_and_std(values)
    if std == 0:
        return None
    edge, tail = printed - cell, (1 - level) / 2
    reached = sum(value >= edge for value in values)
    # sqrt(n) (edge - mean) / std is noncentral t with noncentrality sqrt(n) times the true standardised distance
    t = math.sqrt(n) * (edge - mean) / std
    far, near = (noncentrality(n - 1, p, t) / math.sqrt(n) for p in (tail, 1 - tail))
    limits = float(ndtr(-far)), float(ndtr(-near))
    chance = float(ndtr(-(edge - mean) / std))
    return Lottery(
        n=n,
        reached=reached,
        counted_limits=clopper_pearson(reached, n, level),
        chance=chance,
        chance_limits=limits,
        even=even_bet(chance),
        even_limits=(even_bet(limits[1]), even_bet(limits[0])),
        best=best_of(values),
        level=level,
    )


def best_of(values: Sequence[float]) -> tuple[BestOf, ...]:
    """Return the expected best of k = 1 ... MOST runs; needs no printed number. ValueError for n < 2."""
    n = len(values)
    if n < 2:
        raise ValueError("best of k needs two runs")
    mean, std = mean_and_std(values)
    return tuple(
        BestOf(k, counted_best(values, k) if k <= n else None, mean + std * normal_best(k), k > n)
        for k in range(1, MOST + 1)
    )


def noncentrality(df: int, p: float, t: float) -> float:
    """Return the noncentrality at which a statistic `t` lies at the quantile `p` of the noncentral t law.

    scipy's inverse is good to six digits; bisection around it makes it exact.
    """
    from scipy.special import nctdtr, nctdtrinc

    start, width = float(nctdtrinc(df, p, t)), 1e-3
    low = high = start
    while nctdtr(df, low, t) < p:  # the share below t falls as the noncentrality grows
        low, width = low - width, 2 * width
    width = 1e-3
    while nctdtr(df, high, t) > p:
        high, width = high + width, 2 * width
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if nctdtr(df, middle, t) > p else (low, middle)
    return (low + high) / 2


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def even_bet(chance: float) -> float:
    """Return the number of draws k with 1 - (1 - chance)^k = 1/2; infinite for a chance of 0, at least 1."""
    if chance <= 0:
        return math.inf
    return 1.0 if chance >= 0.5 else math.log(0.5) / math.log1p(-chance)


def counted_best(values: Sequence[float], k: int) -> float:
    """Return the mean, over all ways to draw k different ones of the values, of the highest drawn."""
    ordered, n = sorted(values), len(values)
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} of {n} values")
    return math.fsum(value * math.comb(i, k - 1) for i, value in enumerate(ordered)) / math.comb(n, k)


@cache
def normal_best(k: int) -> float:
    """Return the expected highest of k standard normal draws."""
    import numpy as np
    from scipy.special import ndtr

    x = np.linspace(0.0, 12.0, 12001)
    # E max = integral of x d(F^k); by parts, the integral of 1 - F^k above 0 less that of F^k below 0
    return float(np.trapezoid((1 - ndtr(x) ** k) - ndtr(-x) ** k, x))
