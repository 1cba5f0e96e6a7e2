"""Chances of a printed number against known answers and an independent computation."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from dmd_repro.stats.chances import (
    RUNS,
    Mixture,
    best_by_validation,
    chance_or_less,
    chance_or_more,
    chances,
    even_bet_of_best,
)

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


@pytest.mark.parametrize("hypothesis", ["mean", "best"])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_or_less(hypothesis, k):
    """The chance of the number or less is what is left of that of more, at the upper end of its rounding cell."""
    less = chance_or_less(hypothesis, k, 86.05, 84.4, 1.1, 5)
    assert less.value == pytest.approx(1 - independent(hypothesis, k, 86.05, 84.4, 1.1, 5), abs=1e-9)
    more = chance_or_more(hypothesis, k, 86.05, 84.4, 1.1, 5)
    assert (less.low, less.high) == pytest.approx((1 - more.high, 1 - more.low), abs=1e-9)


SPREADS = st.floats(0.2, 5)


@settings(deadline=None, max_examples=40)
@given(st.floats(-8, 8), SPREADS, st.integers(2, 60))
def test_the_table_of_chances_is_one(away, std, n):
    """Chances lie in [0, 1] with their intervals; better and worse overlap by the cell; a best gains with its draws."""
    found = {(c.hypothesis, c.k, c.direction): c for c in chances((away - 0.05, away + 0.05), 0.0, std, n)}
    assert len(found) == 18
    for chance in found.values():
        assert 0 <= chance.low <= chance.high <= 1
        assert -1e-12 <= chance.value <= 1 + 1e-12
    for (hypothesis, k, direction), chance in found.items():
        if direction == "better":
            assert chance.value + found[hypothesis, k, "worse"].value >= 1 - 1e-9
    bests = [found["one run", 1, "better"].value, *(found["best", k, "better"].value for k in (3, 5, 10, 20))]
    assert all(a <= b + 1e-9 for a, b in pairwise(bests))
    assert found["best", 5, "worse"].value <= found["one run", 1, "worse"].value + 1e-9


def test_an_even_bet_is_the_first_k_with_even_odds():
    """84.4 with STD 1.1 of five: the best of seven prints 86.0 as likely as not."""
    k = even_bet_of_best(85.95, 84.4, 1.1, 5)
    values = [independent("best", k, **CASE) for k in (k - 1, k)]
    assert values[0] < 0.5 <= values[1]
    assert k == 7
    assert even_bet_of_best(80.0, 84.4, 1.1, 5) == 1
    assert even_bet_of_best(1e6, 84.4, 1.1, 50) is None


@pytest.mark.parametrize("direction", ["better", "worse"])
def test_runs_of_two_kinds_are_a_mixture(direction):
    """One run: share learned x chance among the learned, and the others as they are; best of k: of k such draws."""
    mixture = Mixture(4, (80.0,))
    edges = (85.95, 86.05)
    found = {(c.hypothesis, c.k): c for c in chances(edges, 84.4, 1.1, 4, mixture) if c.direction == direction}
    rng = np.random.default_rng(1)
    sigma = 1.1 * np.sqrt(3 / rng.chisquare(3, 400_000))
    z = (edges[direction == "worse"] - rng.normal(84.4, sigma / 2)) / sigma
    one = 0.8 * stats.norm.sf(z) if direction == "better" else 0.8 * stats.norm.cdf(z) + 0.2
    whole = stats.t.sf((edges[0] - 84.4) / 1.1 / np.sqrt(1.25), 3)
    if direction == "better":
        assert found["one run", 1].value == pytest.approx(0.8 * whole, abs=1e-9)
        assert found["best", 5].value == pytest.approx(np.mean(1 - (1 - one) ** 5), abs=0.003)
        kinds = rng.binomial(5, 0.2, 400_000)
        learned = np.maximum(5 - kinds, 1)
        of_learned = rng.normal(edges[0] - z * sigma, sigma / np.sqrt(learned))
        means = (kinds * 80.0 + (5 - kinds) * of_learned) / 5
        assert found["mean", 5].value == pytest.approx(np.mean(means >= edges[0]), abs=0.002)
    else:
        assert found["best", 5].value == pytest.approx(np.mean(one**5), abs=0.003)
    assert found["one run", 1].low < found["one run", 1].value < found["one run", 1].high
    assert Mixture(5).share_limits == (1.0, 1.0)


def test_the_best_by_validation():
    """Without correlation it is one run, with a perfect one the best by test; under ten seeds it is not told."""
    rng = np.random.default_rng(3)
    test = rng.normal(84.4, 1.1, 200)
    alike = {c.k: c.value for c in best_by_validation((85.95, 86.05), test, test) if c.direction == "better"}
    alone = {
        c.k: c.value for c in best_by_validation((85.95, 86.05), rng.permutation(test), test) if c.direction == "better"
    }
    mean, std = test.mean(), test.std(ddof=1)
    for k in (3, 5, 10, 20):
        assert alike[k] == pytest.approx(chance_or_more("best", k, 85.95, mean, std, 200).value, abs=0.01)
    assert alone[5] == pytest.approx(chance_or_more("one run", 1, 85.95, mean, std, 200).value, abs=0.08)
    assert best_by_validation((85.95, 86.05), test[:9], test[:9]) == []
    assert best_by_validation((85.95, 86.05), np.ones(12), test[:12]) == []
