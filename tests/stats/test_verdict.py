"""The verdict: the stated rule, equal to libraries called directly, monotone in the margin, honest in its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from dmd_repro.stats.summary import holm, prediction_interval
from dmd_repro.stats.verdict import Verdict, difference, half_cell, power_different, power_reproduced, verdicts

SEEDS = st.lists(st.floats(80, 90).map(lambda x: round(x, 2)), min_size=5, max_size=10)


def _one(values: list[float], printed: float, margin: float = 1.0, failed: int = 0) -> Verdict:
    return verdicts([values], [printed], cells=[0.05], failed=[failed], margin=margin)[0]


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.floats(80, 90), st.floats(0.2, 5), st.sampled_from([0.0, 0.05, 0.5]))
def test_tost_and_one_sided_tests_equal_statsmodels(
    values: list[float], printed: float, margin: float, cell: float
) -> None:
    """p-values agree with statsmodels on the margins that the rounding cell leaves."""
    assume(max(values) - min(values) > 0.05)
    ours = difference(values, printed, cell=cell, margin=margin)
    assert ours is not None
    gaps = DescrStatsW([value - printed for value in values])
    # TOST between the narrowed margins (where something is left of them), one-sided tests at the widened ones
    if margin > cell:
        assert ours.p_equivalence == pytest.approx(gaps.ttost_mean(cell - margin, margin - cell)[0], abs=1e-9)
    assert ours.p_below == pytest.approx(gaps.ttest_mean(-margin - cell, "smaller")[1], abs=1e-9)
    assert ours.p_above == pytest.approx(gaps.ttest_mean(margin + cell, "larger")[1], abs=1e-9)


@settings(deadline=None)
@given(SEEDS, st.floats(80, 90), st.floats(0.2, 5))
def test_the_word_follows_from_the_interval(values: list[float], printed: float, margin: float) -> None:
    """For one cell the p-values and the printed 90 % interval say the same: a reader can check the word by eye."""
    assume(max(values) - min(values) > 0.05)
    found = _one(values, printed, margin)
    assert found.difference is not None
    low, high = found.difference.interval
    assume(min(abs(low + margin), abs(high - margin), abs(high + margin), abs(low - margin)) > 1e-9)
    want = (
        "reproduced"
        if -margin < low and high < margin
        else "below"
        if high < -margin
        else "above"
        if low > margin
        else "inconclusive"
    )
    assert found.word == want


@settings(deadline=None)
@given(SEEDS, st.floats(80, 90), st.floats(0.1, 4), st.floats(0, 4))
def test_a_wider_margin_keeps_reproduced(values: list[float], printed: float, margin: float, more: float) -> None:
    """As the margin grows, reproduced stays and below / above may only turn inconclusive or reproduced."""
    assume(max(values) - min(values) > 0.05)
    before, after = _one(values, printed, margin).word, _one(values, printed, margin + more).word
    allowed = {
        "reproduced": {"reproduced"},
        "inconclusive": {"inconclusive", "reproduced"},
        "below": {"below", "inconclusive", "reproduced"},
        "above": {"above", "inconclusive", "reproduced"},
    }
    assert after in allowed[before]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    """The correction over the family is the library's."""
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)
    assert holm([]) == []


def test_the_family_makes_a_verdict_harder() -> None:
    """A borderline cell that stands alone may not stand among nine others; cells without a verdict do not count."""
    base = [-0.6, -0.1, 0.2, 0.5, 0.9]
    alone = _one([84.0 + x for x in base], 84.0)
    assert alone.word == "reproduced"
    many = verdicts([[84.0 + x for x in base]] * 10, [84.0] * 10, cells=[0.05] * 10, failed=[0] * 10)
    assert {one.word for one in many} == {"inconclusive"}
    lone = verdicts([[84.0 + x for x in base], [1.0, 2.0]], [84.0, 1.5], cells=[0.05] * 2, failed=[0, 0])
    assert lone[0].word == "reproduced"


@pytest.mark.parametrize(
    ("values", "failed", "says"),
    [
        ([], 0, "no run"),
        ([84.0], 0, "one run has no spread"),
        ([84.0, 84.1, 84.2, 83.9], 0, "a verdict needs 5"),
        ([84.0] * 5, 0, "all runs give the same value"),
        ([84.0, 84.1, 84.2, 83.9, 84.0], 1, "1 of 6 runs failed"),
    ],
)
def test_no_verdict_without_its_premises(values: list[float], failed: int, says: str) -> None:
    """Too few, equal or failed runs are inconclusive with the reason, however close they look."""
    found = _one(values, 84.0, failed=failed)
    assert found.word == "inconclusive"
    assert found.why is not None
    assert says in found.why


def test_half_cell_is_half_a_unit_of_the_last_decimal() -> None:
    """84.5 may have been anything from 84.45 to 84.55, 84 from 83.5 to 84.5."""
    assert [half_cell(n) for n in (0, 1, 2)] == pytest.approx([0.5, 0.05, 0.005])


@given(SEEDS, st.floats(-20, 20))
def test_prediction_interval_equals_its_formula_and_shifts(values: list[float], by: float) -> None:
    """One more run lies in mean ± t s sqrt(1 + 1/n); a constant added to all moves it by that constant."""
    assume(max(values) - min(values) > 0.05)
    interval = prediction_interval(values)
    scale = np.std(values, ddof=1) * math.sqrt(1 + 1 / len(values))
    want = scipy_stats.t.interval(0.95, len(values) - 1, np.mean(values), scale)
    assert interval == pytest.approx(want, abs=1e-9)
    assert prediction_interval([value + by for value in values]) == pytest.approx([x + by for x in want], abs=1e-6)
    assert prediction_interval([1.0]) is None
    assert prediction_interval([1.0, 1.0]) is None


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_what_they_say(n: int) -> None:
    """Over 4000 simulated rows the 95 % t and prediction intervals hold the truth in 93-97 % of them."""
    generator = np.random.Generator(np.random.PCG64(n))
    draws = generator.normal(84.0, 1.1, size=(4000, n + 1))
    means, spreads = draws[:, :n].mean(axis=1), draws[:, :n].std(axis=1, ddof=1)
    t = scipy_stats.t.ppf(0.975, n - 1)
    some = draws[:50]
    for row in some:  # the functions themselves are the formulas below
        low, high = prediction_interval(list(row[:n])) or (0, 0)
        mean, spread = row[:n].mean(), row[:n].std(ddof=1)
        assert (high - low) / 2 == pytest.approx(t * spread * math.sqrt(1 + 1 / n))
        assert (high + low) / 2 == pytest.approx(mean)
    of_mean = np.abs(means - 84.0) <= t * spreads / math.sqrt(n)
    of_next = np.abs(means - draws[:, n]) <= t * spreads * math.sqrt(1 + 1 / n)
    assert 0.93 <= of_mean.mean() <= 0.97
    assert 0.93 <= of_next.mean() <= 0.97


@pytest.mark.parametrize(("true", "std"), [(0.0, 0.4), (0.3, 0.6), (0.0, 1.1), (2.0, 0.8), (-2.5, 1.1)])
def test_power_equals_a_simulation(true: float, std: float) -> None:
    """The power the plan prints is the share of simulated tables that get the verdict."""
    generator = np.random.Generator(np.random.PCG64(5))
    rows = generator.normal(84.0 + true, std, size=(2000, 5))
    words = [_one(list(row), 84.0).word for row in rows]
    tolerance = 3 * math.sqrt(0.25 / len(words))
    assert power_reproduced(5, std, true=true, cell=0.05) == pytest.approx(
        words.count("reproduced") / len(words), abs=tolerance
    )
    if true:
        word = "above" if true > 0 else "below"
        share = words.count(word) / len(words)
        assert power_different(5, std, true=true, cell=0.05) == pytest.approx(share, abs=tolerance)


def test_errors_stay_at_their_stated_rate() -> None:
    """At the edge of the margin, where a wrong word is likeliest, each word errs in at most about 5 %."""
    assert power_reproduced(5, 0.3, true=-1.0) <= 0.0501
    assert power_reproduced(8, 1.0, true=1.0) <= 0.0501
    assert power_different(5, 0.8, true=1.0) == pytest.approx(0.05, abs=1e-9)
    assert power_reproduced(50, 0.3) > 0.999
