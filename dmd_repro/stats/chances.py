"""Chances that a method prints a given number: as the mean of k runs, as one run, or as the best of k runs.

The seeds' values are taken as normal with unknown mean and spread: with the usual reference prior, sigma^2 is
(n-1) s^2 / chi2(n-1) and mu is N(mean, sigma^2/n). They explain a word, they never decide it, and are no p-values.

Higher is better here: turn the sign of a measure of which less is better. Where some seeds did not learn, the model
holds for those that did, and a run is drawn from a mixture: `share` of the runs learn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from scipy import optimize, special

Hypothesis = Literal["mean", "one run", "best", "best by validation"]
Direction = Literal["better", "worse"]
RUNS = (1, 3, 5, 10, 20)
DRAWS, NODES = 4096, 128  # of the posterior, and of the best selection score, for the best by validation
PAIRS_NEEDED = 10
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_LEGENDRE, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(200)
Floats = np.ndarray


@dataclass(frozen=True)
class Chance:
    """One chance, in [0, 1], with the 90 % posterior interval of the chance given the true mean and spread.

    ``direction``: of printing the number or better, or the number or worse.
    """

    hypothesis: Hypothesis
    k: int
    value: float
    low: float
    high: float
    direction: Direction = "better"


@dataclass(frozen=True)
class Mixture:
    """Of how many runs the model holds, and the values of the others, which are taken as they are.

    One run is a draw from the mixture, the best of k the best of k such draws. A mean of k holds some of each kind, by
    the binomial law; those of the others count with their mean.
    """

    learned: int
    others: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        """The share of the runs that learned."""
        return self.learned / (self.learned + len(self.others))

    @property
    def share_limits(self) -> tuple[float, float]:
        """Clopper-Pearson's 90 % interval of the share."""
        lost = len(self.others)
        if not lost:
            return 1.0, 1.0
        low = float(special.betaincinv(self.learned, lost + 1, 0.05)) if self.learned else 0.0
        return low, float(special.betaincinv(self.learned + 1, lost, 0.95))

    def reach(self, edge: float, direction: Direction) -> float:
        """The share of the others that print the number or better, or worse."""
        hits = [value >= edge if direction == "better" else value <= edge for value in self.others]
        return sum(hits) / len(hits) if hits else 0.0

    def kinds(self, k: int, share: float) -> list[tuple[int, float]]:
        """Return how many of k runs did not learn, and how likely that is."""
        return [(j, comb(k, j) * share ** (k - j) * (1 - share) ** j) for j in range(k + 1)]

    def edge_of_rest(self, edge: float, k: int, j: int) -> float:
        """What the mean of the k - j that learned has to be for the mean of all k to be `edge`."""
        return (k * edge - j * sum(self.others) / len(self.others)) / (k - j)


ALL_LEARNED = Mixture(1)


def chances(
    edges: tuple[float, float], mean: float, std: float, n: int, mixture: Mixture = ALL_LEARNED
) -> list[Chance]:
    """Return every chance by hypothesis and k of ``RUNS``: of the number or better, then of the number or worse.

    ``edges``: the printed number less, and plus, half a rounding cell. ``mean`` and ``std`` are of the ``n`` seeds that
    learned. Raises ValueError as ``chance_or_more`` does.
    """
    asked: list[tuple[Hypothesis, int]] = [("one run", 1)]
    asked += [("mean", k) for k in RUNS if k > 1] + [("best", k) for k in RUNS if k > 1]
    better = [_chance(h, k, "better", edges[0], mean, std, n, mixture) for h, k in asked]
    return better + [_chance(h, k, "worse", edges[1], mean, std, n, mixture) for h, k in asked]


def chance_or_more(hypothesis: Hypothesis, k: int, edge: float, mean: float, std: float, n: int) -> Chance:
    """The chance that a mean, or the best, of ``k`` further runs is ``edge`` or more.

    ``edge`` is the printed number less half a rounding cell; ``mean`` and ``std`` (with n - 1) are of ``n`` seeds.

    Raises:
        ValueError: fewer than two seeds, ``k`` below 1, or a spread that is zero or not finite (no normal model).
    """
    return _chance(hypothesis, k, "better", edge, mean, std, n, ALL_LEARNED)


def chance_or_less(hypothesis: Hypothesis, k: int, edge: float, mean: float, std: float, n: int) -> Chance:
    """The chance that it is ``edge`` or less, ``edge`` being half a cell above the printed number; raises likewise."""
    return _chance(hypothesis, k, "worse", edge, mean, std, n, ALL_LEARNED)


def even_bet_of_best(edge: float, mean: float, std: float, n: int, most: int = 100_000) -> int | None:
    """Return the fewest k for which the best of k further runs is ``edge`` or more at even odds; None beyond ``most``.

    Raises ValueError as ``chance_or_more`` does.
    """
    _check(1, edge, mean, std, n)
    away = (edge - mean) / std

    def even(k: int) -> bool:
        return _posterior_mean(lambda z: _given("best", k, "better", z), away, n) >= 0.5

    low, high = 0, 1
    while not even(high):
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if even(middle) else (middle, high)
    return high


def _check(k: int, edge: float, mean: float, std: float, n: int) -> None:
    if n < 2 or k < 1:
        raise ValueError(f"chances need two seeds and k of at least 1, got n = {n} and k = {k}")
    if not (np.isfinite([edge, mean, std]).all() and std > 0):
        raise ValueError(f"chances need finite values and a spread above 0, got {edge}, {mean} and {std}")


def _chance(
    hypothesis: Hypothesis, k: int, direction: Direction, edge: float, mean: float, std: float, n: int, mixture: Mixture
) -> Chance:
    _check(k, edge, mean, std, n)
    away, shares = (edge - mean) / std, mixture.share_limits
    others = mixture.reach(edge, direction)
    near, far = _quantile(0.05, away, n), _quantile(0.95, away, n)
    if hypothesis == "mean" and mixture.others:

        def tail(e: float, runs: int) -> float:
            return _tail((e - mean) / std / np.sqrt(1 / n + 1 / runs), n - 1, direction)

        def given(z: float) -> Callable[[float, int], float]:
            return lambda e, runs: _normal_tail(np.sqrt(runs) * (z + (e - edge) / std), direction)

        value = _mean_of_kinds(edge, k, mixture, mixture.share, others, tail)
        ends = [_mean_of_kinds(edge, k, mixture, share, others, given(z)) for z in (near, far) for share in shares]
        return _of(hypothesis, k, value, ends, direction)
    if hypothesis == "best" and k > 1:
        value = _posterior_mean(lambda z: _given("best", k, direction, z, mixture.share, others), away, n)
    else:
        value = _tail(away / np.sqrt(1 / n + 1 / k), n - 1, direction)
        value = mixture.share * value + (1 - mixture.share) * others
    ends = [
        float(_given(hypothesis, k, direction, np.asarray(z), share, others)) for z in (near, far) for share in shares
    ]
    return _of(hypothesis, k, value, ends, direction)


def _of(hypothesis: Hypothesis, k: int, value: float, ends: Sequence[float], direction: Direction) -> Chance:
    """A chance from its parts; a sum of many kinds can pass 1 by a rounding error."""
    return Chance(hypothesis, k, min(1.0, value), min(ends), min(1.0, max(ends)), direction)


def _tail(t: float, df: int, direction: Direction) -> float:
    return float(special.stdtr(df, -t if direction == "better" else t))


def _normal_tail(z: float, direction: Direction) -> float:
    return float(special.ndtr(-z if direction == "better" else z))


def _mean_of_kinds(
    edge: float, k: int, mixture: Mixture, share: float, others: float, tail: Callable[[float, int], float]
) -> float:
    """The chance of a mean of k runs of two kinds; `tail` is that of a mean of so many runs that learned."""
    total = 0.0
    for j, weight in mixture.kinds(k, share):
        total += weight * (others if j == k else tail(mixture.edge_of_rest(edge, k, j), k - j))
    return total


def _given(
    hypothesis: Hypothesis, k: int, direction: Direction, z: Floats, share: float = 1.0, others: float = 0.0
) -> Floats:
    """The chance given z = (edge - mu) / sigma; of a mean, where all learned."""
    if hypothesis == "mean":
        return np.asarray(special.ndtr((-z if direction == "better" else z) * np.sqrt(k)))
    if share == 1.0:  # to the last digit in the tails
        log = k * special.log_ndtr(z)
        return np.asarray(np.exp(log) if direction == "worse" else -np.expm1(log))
    drawn = share * special.ndtr(z if direction == "worse" else -z) + (1 - share) * others
    return np.asarray(drawn**k if direction == "worse" else 1 - (1 - drawn) ** k)


def _posterior_mean(given: Callable[[Floats], Floats], away: float, n: int) -> float:
    """The mean of a function of z under the posterior: z is away * chi / sqrt(n-1) + N(0, 1/n)."""
    centres, weights = _centres(away, n)
    return float(weights @ (given(centres[:, None] + _NODES / np.sqrt(n)) @ _WEIGHTS))


def _centres(away: float, n: int) -> tuple[Floats, Floats]:
    """away * chi / sqrt(n-1) at the nodes of a quadrature over chi, and their weights."""
    df = n - 1
    low, high = np.sqrt(special.chdtri(df, [1 - 1e-14, 1e-14]))
    chi = (low + high) / 2 + (high - low) / 2 * _LEGENDRE
    log_density = (df - 1) * np.log(chi) - chi**2 / 2 - (df / 2 - 1) * np.log(2) - special.gammaln(df / 2)
    return away * chi / np.sqrt(df), (high - low) / 2 * _LEGENDRE_WEIGHTS * np.exp(log_density)


def _quantile(p: float, away: float, n: int) -> float:
    """The posterior p-quantile of z.

    P(z <= q) is a noncentral t's upper tail (df n-1, shift q sqrt(n)); scipy's is NaN far from the centre.
    """
    root, (centres, weights) = np.sqrt(n), _centres(away, n)

    def miss(q: float) -> float:
        return float(weights @ special.ndtr(root * (q - centres))) - p

    width = 6 / root + 3 * abs(away)
    return float(optimize.brentq(miss, away - width, away + width, xtol=1e-12))


def best_by_validation(edges: tuple[float, float], selection: Sequence[float], test: Sequence[float]) -> list[Chance]:
    """Return the chances that the run with the best ``selection`` score of k prints a number, by its ``test`` score.

    Both scores are over the seeds, higher is better, taken as bivariate normal under the reference prior that gives the
    test scores the posterior of the other chances; k of ``RUNS`` above 1. [] for fewer than ten seeds, or where either
    score is constant. Computed from seeded draws, good to about half a percent.
    """
    x, y, n = np.asarray(selection, float), np.asarray(test, float), len(test)
    if n < PAIRS_NEEDED or np.ptp(x) == 0 or np.ptp(y) == 0:
        return []
    draw = np.random.Generator(np.random.PCG64(0))
    chi_t, chi_v = draw.chisquare(n - 1, DRAWS), draw.chisquare(n - 2, DRAWS)
    centre, slope = draw.standard_normal(DRAWS), draw.standard_normal(DRAWS)
    std_y, slope_hat = y.std(ddof=1), float(np.cov(x, y)[0, 1] / y.var(ddof=1))
    rest = float(((x - x.mean() - slope_hat * (y - y.mean())) ** 2).sum())
    sigma = std_y * np.sqrt((n - 1) / chi_t)
    mu = y.mean() + centre * sigma / np.sqrt(n)
    noise = np.sqrt(rest / chi_v)
    beta = slope_hat + slope * noise / (std_y * np.sqrt(n - 1))
    total = np.hypot(beta * sigma, noise)
    rho = np.divide(beta * sigma, total, out=np.ones(DRAWS), where=total > 0)
    own = np.sqrt(np.maximum(1 - rho**2, 1e-12))
    out = []
    for direction, edge in zip(("better", "worse"), edges, strict=True):
        z = (edge - mu) / sigma
        for k in RUNS[1:]:
            best = special.ndtri(((np.arange(NODES) + 0.5) / NODES) ** (1 / k))  # of k selection scores
            below = special.ndtr((z[:, None] - rho[:, None] * best) / own[:, None]).mean(axis=1)
            given = 1 - below if direction == "better" else below
            low, high = np.quantile(given, (0.05, 0.95))
            side: Direction = "better" if direction == "better" else "worse"
            out.append(Chance("best by validation", k, float(given.mean()), float(low), float(high), side))
    return out
