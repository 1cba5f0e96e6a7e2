"""Chances that a method prints a given number: as the mean of k runs, as one run, or as the best of k runs by test.

The seeds' values are taken as normal with unknown mean and spread: with the usual reference prior, sigma^2 is
(n-1) s^2 / chi2(n-1) and mu is N(mean, sigma^2/n). They explain a word, they never decide it, and are no p-values.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import integrate, optimize, stats

Hypothesis = Literal["mean", "best"]
RUNS = (1, 3, 5, 10, 20)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Chance:
    """One chance, in [0, 1], with the 90 % posterior interval of the chance given the true mean and spread.

    ``hypothesis`` "mean" with ``k`` 1 is one run; so is "best" with ``k`` 1: the two are equal.
    """

    hypothesis: Hypothesis
    k: int
    value: float
    low: float
    high: float


def chance_or_more(hypothesis: Hypothesis, k: int, edge: float, mean: float, std: float, n: int) -> Chance:
    """The chance that a mean, or the best, of ``k`` further runs is ``edge`` or more.

    ``edge`` is the printed number less half a rounding cell; ``mean`` and ``std`` (with n - 1) are of ``n`` seeds.
    For "or less", of a mean or where lower is better, ``edge`` is half a cell above; negate it and ``mean``.

    Raises:
        ValueError: fewer than two seeds, ``k`` below 1, or a spread that is zero or not finite (no normal model).
    """
    if n < 2 or k < 1:
        raise ValueError(f"chances need two seeds and k of at least 1, got n = {n} and k = {k}")
    if not (np.isfinite([edge, mean, std]).all() and std > 0):
        raise ValueError(f"chances need finite values and a spread above 0, got {edge}, {mean} and {std}")
    away = (edge - mean) / std
    if hypothesis == "mean" or k == 1:
        value = float(stats.t.sf(away / np.sqrt(1 / n + 1 / k), n - 1))
    else:
        value = _best(k, away, n)
    low, high = (float(_given(hypothesis, k, _quantile(p, away, n))) for p in (0.95, 0.05))
    return Chance(hypothesis, k, value, low, high)


def _given(hypothesis: Hypothesis, k: int, z: np.ndarray | float) -> np.ndarray:
    """The chance given z = (edge - mu) / sigma; it falls with z."""
    if hypothesis == "mean":
        return np.asarray(stats.norm.sf(np.sqrt(k) * np.asarray(z)))
    return np.asarray(-np.expm1(k * stats.norm.logcdf(z)))


def _best(k: int, away: float, n: int) -> float:
    """The posterior mean of 1 - Phi(z)^k: z is away * chi / sqrt(n-1) + N(0, 1/n)."""
    df = n - 1

    def inner(chi: float) -> float:
        z = away * chi / np.sqrt(df) + _NODES / np.sqrt(n)
        return float(_WEIGHTS @ _given("best", k, z)) * float(stats.chi.pdf(chi, df))

    low, high = stats.chi.ppf([1e-13, 1 - 1e-13], df)
    return float(integrate.quad(inner, low, high, epsabs=1e-12, epsrel=1e-11, limit=200)[0])


def _quantile(p: float, away: float, n: int) -> float:
    """The posterior p-quantile of z: P(z <= q) is a noncentral t's upper tail (df n-1, shift q sqrt(n))."""
    root = np.sqrt(n)

    def miss(q: float) -> float:
        return float(stats.nct.sf(root * away, n - 1, root * q)) - p

    width = 6 / root + 3 * abs(away)
    return float(optimize.brentq(miss, away - width, away + width, xtol=1e-11))
