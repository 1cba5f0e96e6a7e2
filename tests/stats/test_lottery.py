"""The seed lottery: best-of-k equal to brute force, limits that cover, and no claim where nothing can be said."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from dmd_repro.stats.lottery import MOST, clopper_pearson, counted_best, even_bet, lottery, normal_best

VALUES = st.lists(st.floats(80, 90).map(lambda x: round(x, 2)), min_size=2, max_size=7)


@given(VALUES)
def test_counted_best_equals_brute_force(values: list[float]) -> None:
    """The expected best of k of our runs is the mean over every way to draw them."""
    for k in range(1, len(values) + 1):
        draws = [max(draw) for draw in combinations(values, k)]
        assert counted_best(values, k) == pytest.approx(sum(draws) / len(draws), abs=1e-9)


def test_normal_best_equals_closed_forms() -> None:
    """Known: 0, 1/sqrt(pi), 3/(2 sqrt(pi)) for one, two and three draws."""
    known = [0.0, 1 / math.sqrt(math.pi), 1.5 / math.sqrt(math.pi)]
    assert [normal_best(k) for k in (1, 2, 3)] == pytest.approx(known, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(VALUES, st.floats(78, 92))
def test_the_lottery_is_consistent(values: list[float], printed: float) -> None:
    """The estimate lies within its limits, a higher number is never easier, and k > n is marked."""
    assume(max(values) - min(values) > 0.05)
    found, harder = lottery(values, printed), lottery(values, printed + 1)
    assert found is not None
    assert harder is not None
    low, high = found.chance_limits
    assert low - 1e-9 <= found.chance <= high + 1e-9
    assert harder.chance <= found.chance
    assert found.reached == sum(value >= printed for value in values)
    assert [best.extrapolated for best in found.best] == [k > len(values) for k in range(1, MOST + 1)]
    assert [best.counted is None for best in found.best] == [best.extrapolated for best in found.best]
    assert found.even_limits[0] <= found.even + 1e-9
    assert found.even <= found.even_limits[1] + 1e-9


@settings(deadline=None, max_examples=30)
@given(VALUES, st.floats(82, 88))
def test_the_limits_of_the_chance_solve_the_noncentral_t(values: list[float], printed: float) -> None:
    """At each limit the observed statistic sits exactly at the 2.5 % tail of its distribution."""
    assume(max(values) - min(values) > 0.3)
    found = lottery(values, printed)
    assert found is not None
    n = len(values)
    t = math.sqrt(n) * (printed - np.mean(values)) / np.std(values, ddof=1)
    assume(abs(t) < 15)
    assume(max(found.chance_limits) < 1 - 1e-7)  # nearer to 1 a double no longer tells the quantile
    shares = [
        scipy_stats.nct.cdf(t, n - 1, -math.sqrt(n) * scipy_stats.norm.ppf(limit)) for limit in found.chance_limits
    ]
    assert shares == pytest.approx([0.025, 0.975], abs=1e-8)


@given(st.integers(0, 20), st.integers(1, 20))
def test_clopper_pearson_equals_statsmodels(hits: int, n: int) -> None:
    """The interval from the count alone is the library's."""
    assume(hits <= n)
    assert clopper_pearson(hits, n) == pytest.approx(proportion_confint(hits, n, 0.05, "beta"), abs=1e-9)


def test_the_rounding_cell_counts_as_reached() -> None:
    """A run of 84.46 prints as 84.5: it has reached 84.5."""
    found = lottery([84.46, 84.0, 83.0], 84.5, cell=0.05)
    assert found is not None
    assert found.reached == 1


def test_an_even_bet() -> None:
    """One in two needs one draw, one in twenty about 13.5, no chance no number of draws."""
    assert even_bet(0.5) == 1
    assert even_bet(0.05) == pytest.approx(13.513407)
    assert even_bet(0.0) == math.inf


def test_nothing_is_said_without_a_spread() -> None:
    """One run, or equal runs, say nothing about the next."""
    assert lottery([84.0], 84.0) is None
    assert lottery([84.0, 84.0], 85.0) is None
