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

from dmd_repro.stats.stages import STAGES, Stage, stages_of
from dmd_repro.stats.summary import holm, prediction_interval
from dmd_repro.stats.verdict import (
    Compared,
    RowVerdict,
    difference,
    half_cell,
    judge_row,
    one_run_interval,
    power_different,
    power_of_row,
    power_reproduced,
    runs_to_tell,
)

SEEDS = st.lists(st.floats(80, 90).map(lambda x: round(x, 2)), min_size=5, max_size=10)


def _one(values: list[float], printed: float, margin: float = 1.0, alpha: float = 0.05) -> RowVerdict:
    return judge_row([Compared(tuple(values), printed, 0.05)], margin=margin, alpha=alpha)


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
    d = found.cells[0].difference
    assert d is not None
    low, high = d.interval
    assume(min(abs(low + margin), abs(high - margin), abs(high + margin), abs(low - margin)) > 1e-9)
    want = (
        "reproduced"
        if -margin < low and high < margin
        else "worse"
        if high < -margin
        else "better"
        if low > margin
        else "inconclusive"
    )
    assert found.word == want
    turned = judge_row([Compared(tuple(values), printed, 0.05, higher_is_better=False)], margin=margin).word
    assert turned == {"worse": "better", "better": "worse"}.get(want, want)  # of MAE, less is better


@settings(deadline=None)
@given(SEEDS, st.floats(80, 90), st.floats(0.1, 4), st.floats(0, 4))
def test_a_wider_margin_keeps_reproduced(values: list[float], printed: float, margin: float, more: float) -> None:
    """As the margin grows, reproduced stays and worse / better may only turn inconclusive or reproduced."""
    assume(max(values) - min(values) > 0.05)
    before, after = _one(values, printed, margin).word, _one(values, printed, margin + more).word
    allowed = {
        "reproduced": {"reproduced"},
        "inconclusive": {"inconclusive", "reproduced"},
        "worse": {"worse", "inconclusive", "reproduced"},
        "better": {"better", "inconclusive", "reproduced"},
    }
    assert after in allowed[before]
    least = _one(values, printed, margin).smallest_margin
    assert least is not None
    assert _one(values, printed, least + 1e-9).word == "reproduced"
    assert _one(values, printed, least - 1e-9).word != "reproduced"


@settings(deadline=None, max_examples=15)  # the library's function takes its time
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    """The correction over the family is the library's."""
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)
    assert holm([]) == []


NEAR, FAR, ON_TOP = [-0.6, -0.1, 0.2, 0.5, 0.9], [-3.2, -2.9, -2.6, -3.0, -2.8], [2.8, 2.9, 3.1, 3.0, 2.7]
LINE = [-2.6, -1.0, -1.9, -1.2, -1.8]  # past the margin alone, not among many


def _cells(*shifts: list[float]) -> list[Compared]:
    return [Compared(tuple(84.0 + x for x in shift), 84.0, 0.05) for shift in shifts]


@pytest.mark.parametrize(
    ("cells", "word", "kind"),
    [
        (_cells(NEAR, NEAR, NEAR), "reproduced", None),
        (_cells(NEAR, FAR), "worse", None),
        (_cells(NEAR, ON_TOP), "better", None),
        (_cells(FAR, NEAR, ON_TOP), "mixed", None),
        (_cells(NEAR, [2.0, -2.0, 0.3, 1.0, -0.4]), "inconclusive", "straddles"),
        (_cells(LINE), "worse", None),
        (_cells(LINE, NEAR, NEAR, NEAR), "inconclusive", "not after Holm"),
        (_cells(NEAR, [0.0] * 5), "inconclusive", "no spread"),
    ],
)
def test_the_word_of_a_row(cells: list[Compared], word: str, kind: str | None) -> None:
    """Protects: all cells must pass for reproduced, uncorrected; one past the margin after Holm decides against."""
    found = judge_row(cells)
    assert (found.word, found.kind) == (word, kind)


@settings(deadline=None, max_examples=20)
@given(st.lists(SEEDS, min_size=1, max_size=5), st.floats(0.3, 3), st.sampled_from([0.05, 0.02, 0.005]))
def test_a_row_is_its_cells_together(family: list[list[float]], margin: float, alpha: float) -> None:
    """Protects: the word of a row, against statsmodels' TOST and Holm put together by hand."""
    assume(all(max(values) - min(values) > 0.05 for values in family))
    found = judge_row([Compared(tuple(values), 84.5, 0.05) for values in family], margin=margin, alpha=alpha)
    gaps = [DescrStatsW([value - 84.5 for value in values]) for values in family]
    worse = np.array([g.ttest_mean(-margin - 0.05, "smaller")[1] for g in gaps])
    better = np.array([g.ttest_mean(margin + 0.05, "larger")[1] for g in gaps])
    past = multipletests(np.minimum(worse, better), alpha=alpha, method="holm")[1] <= alpha
    ways = {"worse" if w < b else "better" for w, b, p in zip(worse, better, past, strict=True) if p}
    want = "mixed" if len(ways) == 2 else ways.pop() if ways else "inconclusive"
    if not past.any() and all(g.ttost_mean(0.05 - margin, margin - 0.05)[0] <= alpha for g in gaps):
        want = "reproduced"
    assert found.word == want


def test_stages_spend_five_percent_in_all() -> None:
    """Protects: the levels sum to 0.05, so a union bound holds at any looking times; one look spends it at once."""
    assert [(stage.n, stage.level) for stage in STAGES] == [(5, 0.020), (10, 0.015), (20, 0.010), (50, 0.005)]
    assert sum(stage.level for stage in STAGES) == pytest.approx(0.05)
    assert stages_of(13) == (Stage(13, 0.05),)


def test_the_interval_of_one_run_allows_for_the_cells_of_the_row() -> None:
    """Protects: 1 - 0.05 / cells, widened by the rounding cell, against scipy."""
    cell = _cells(NEAR)[0]
    spread, mean = np.std(NEAR, ddof=1) * math.sqrt(1.2), 84.0 + np.mean(NEAR)
    low, high = scipy_stats.t.interval(1 - 0.05 / 3, 4, mean, spread)
    assert one_run_interval(cell, 3) == pytest.approx((low - 0.05, high + 0.05), abs=1e-9)


def test_how_many_runs_would_tell() -> None:
    """Protects: the stage at which the row's mean and spread would give a word with 80 % power; None at the margin."""
    wide = [2.0, -2.0, 0.3, 1.0, -0.4]
    more = runs_to_tell(_cells(wide), STAGES)
    gaps = [(float(np.mean(wide)), float(np.std(wide, ddof=1)), 0.05)]
    assert more is not None
    level = next((stage.level for stage in STAGES if stage.n == more), 0.05)
    assert power_of_row(gaps, more, alpha=level) >= 0.8
    assert all(power_of_row(gaps, s.n, alpha=s.level) < 0.8 for s in STAGES if s.n < more)
    assert runs_to_tell(_cells([0.5, 1.5, 0.9, 1.1, 1.0]), STAGES) is None
    assert runs_to_tell(_cells([0.0] * 5), STAGES) is None


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
        word = "better" if true > 0 else "worse"
        share = words.count(word) / len(words)
        assert power_different(5, std, true=true, cell=0.05) == pytest.approx(share, abs=tolerance)


def test_errors_stay_at_their_stated_rate() -> None:
    """At the edge of the margin, where a wrong word is likeliest, each word errs in at most about 5 %."""
    assert power_reproduced(5, 0.3, true=-1.0) <= 0.0501
    assert power_reproduced(8, 1.0, true=1.0) <= 0.0501
    assert power_different(5, 0.8, true=1.0) == pytest.approx(0.05, abs=1e-9)
    assert power_reproduced(50, 0.3) > 0.999
