"""Chances of a printed number against known answers and an independent computation."""

import numpy as np
import pytest
from scipy import integrate, stats

from dmd_repro.stats.chances import RUNS, chance_or_more

CASE = {"edge": 85.95, "mean": 84.4, "std": 1.1, "n": 5}


def independent(hypothesis, k, edge, mean, std, n):
    """The predictive tail, integrated over the value printed instead of over the posterior."""
    away, root = (edge - mean) / std, np.sqrt(n)

    def below(q):
        return stats.nct.sf(root * away, n - 1, root * q)

    def printed(q):
        if hypothesis == "mean":
            return stats.norm.pdf(q, scale=1 / np.sqrt(k)) * below(q)
        return k * stats.norm.pdf(q) * stats.norm.cdf(q) ** (k - 1) * below(q)

    return integrate.quad(printed, -9, 9, epsabs=1e-12, epsrel=1e-11, limit=400)[0]


@pytest.mark.parametrize(
    ("hypothesis", "k", "percent"), [("mean", 5, 4), ("mean", 1, 13), ("best", 5, 43), ("best", 20, 74)]
)
def test_known(hypothesis, k, percent):
    """84.4 with STD 1.1 over five seeds, beside a printed 86.0, gives the known percentages."""
    assert round(100 * chance_or_more(hypothesis, k, **CASE).value) == percent


@pytest.mark.parametrize("k", RUNS)
@pytest.mark.parametrize("hypothesis", ["mean", "best"])
def test_independent(hypothesis, k):
    """Each chance agrees with another way of integrating it to 1e-9."""
    assert chance_or_more(hypothesis, k, **CASE).value == pytest.approx(independent(hypothesis, k, **CASE), abs=1e-9)


def test_interval_is_the_posteriors():
    """The 90 % interval agrees with draws from the posterior of mean and spread."""
    rng = np.random.default_rng(0)
    sigma = 1.1 * np.sqrt(4 / rng.chisquare(4, 200_000))
    z = (85.95 - rng.normal(84.4, sigma / np.sqrt(5))) / sigma
    want = np.quantile(1 - stats.norm.cdf(z) ** 5, [0.05, 0.95])
    got = chance_or_more("best", 5, **CASE)
    assert [got.low, got.high] == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize("bad", [{"n": 1}, {"std": 0.0}, {"mean": float("nan")}])
def test_no_model_no_chance(bad):
    """One seed, equal seeds or a value that is not finite get no chance instead of a made-up one."""
    with pytest.raises(ValueError, match="chances need"):
        chance_or_more("best", 5, **(CASE | bad))
