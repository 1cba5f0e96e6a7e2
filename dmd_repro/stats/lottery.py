"""The seed lottery: where a printed number lies among our seeds, and how many draws make it likely as a best of k.

A run *reaches* the printed number if it would print as high: value >= printed - half a unit of its last decimal. Up to
k = n everything is exact: counted over all ways to draw k of our runs. Beyond that it is modelled, and marked so: runs
are normal around an unknown mean with an unknown spread. Runs of two kinds (some did not learn) have no such model. For
measures where lower is better, pass negated values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dmd_repro.stats.summary import EVERYWHERE, LEVEL, Bounds, mean_and_std

MODEL = "runs are normal around an unknown mean with an unknown spread"
MOST = 20


@dataclass(frozen=True, slots=True)
class BestOf:
    """The expected best of k runs, and the chance that it reaches the printed number."""

    k: int
    value: float | None  # exact for k <= n, else modelled; None beyond n where no model holds
    chance: float | None  # the same of reaching; None without a printed number too
    exact: bool


@dataclass(frozen=True, slots=True)
class Lottery:
    """What n seeds say about reaching a printed number."""

    n: int
    reached: int  # of our runs
    counted_limits: tuple[float, float]  # Clopper-Pearson interval of the chance, from the count alone
    chance: float | None  # that one further run reaches it, modelled; None: no model
    chance_limits: tuple[float, float] | None  # 90 % posterior, which is the exact confidence interval too
    even: int | None  # fewest runs whose best reaches it at even odds; None: no number does
    even_exact: bool
    even_limits: tuple[float, float] | None  # k at the upper and the lower limit of the chance
    best: tuple[BestOf, ...]  # k = 1 ... MOST
    level: float  # of the counted limits


def lottery(
    values: Sequence[float],
    printed: float,
    *,
    cell: float = 0.0,
    level: float = LEVEL,
    model: bool = True,
    bounds: Bounds = EVERYWHERE,
) -> Lottery | None:
    """Return the lottery of values against a printed number known to ± `cell`; None for n < 2 or equal values."""
    from dmd_repro.stats.chances import chance_or_more

    n = len(values)
    if n < 2 or min(values) == max(values):
        return None
    edge, (mean, std) = printed - cell, mean_and_std(values)
    reached = sum(value >= edge for value in values)
    one = chance_or_more("one run", 1, edge, mean, std, n) if model else None
    even, exact = even_bet(values, edge, model=model)
    return Lottery(
        n=n,
        reached=reached,
        counted_limits=clopper_pearson(reached, n, level),
        chance=one.value if one else None,
        chance_limits=(one.low, one.high) if one else None,
        even=even,
        even_exact=exact,
        even_limits=(draws_for_even(one.high), draws_for_even(one.low)) if one else None,
        best=best_of(values, edge, model=model, bounds=bounds),
        level=level,
    )


def best_of(
    values: Sequence[float], edge: float | None = None, *, model: bool = True, bounds: Bounds = EVERYWHERE
) -> tuple[BestOf, ...]:
    """Return the expected best of k = 1 ... MOST runs, and how likely it is `edge` or more. ValueError for n < 2.

    Expected bests do not fall with k: beyond n the model's counts where it is above the best of all n.
    """
    from dmd_repro.stats.chances import chance_or_more

    n = len(values)
    if n < 2:
        raise ValueError("best of k needs two runs")
    mean, std = mean_and_std(values)
    model = model and std > 0
    reached = None if edge is None else sum(value >= edge for value in values)
    out = []
    for k in range(1, MOST + 1):
        value = chance = None
        if k <= n:
            value = counted_best(values, k)
            chance = None if reached is None else counted_chance(reached, n, k)
        elif model:
            # the model may lie below what was counted over all n, and the best of more runs is no worse
            value = min(max(mean + std * normal_best(k), max(values)), bounds[1])
            chance = None if edge is None else chance_or_more("best", k, edge, mean, std, n).value
        out.append(BestOf(k, value, chance, k <= n))
    return tuple(out)


def even_bet(values: Sequence[float], edge: float, *, model: bool = True) -> tuple[int | None, bool]:
    """Return the fewest runs whose best is `edge` or more at even odds, and whether that is exact.

    Exact for k <= n: over all ways to draw k of the runs. Beyond, by the model; None where that has none either.
    """
    from dmd_repro.stats.chances import even_bet_of_best

    n, reached = len(values), sum(value >= edge for value in values)
    for k in range(1, n + 1):
        if counted_chance(reached, n, k) >= 0.5:
            return k, True
    mean, std = mean_and_std(values)
    if not model or std == 0:
        return None, False
    found = even_bet_of_best(edge, mean, std, n)
    # the model may call it even within k <= n, where the count is exact and says that it is not
    return (None if found is None else max(found, n + 1)), False


def counted_chance(reached: int, n: int, k: int) -> float:
    """Return the share of all ways to draw k of n runs that hold one of the `reached`."""
    return 1.0 - math.comb(n - reached, k) / math.comb(n, k)


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def draws_for_even(chance: float) -> float:
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
