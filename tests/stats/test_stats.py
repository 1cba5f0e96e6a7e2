"""The statistics of a cell: equal to scipy's own, invariant where they must be, absent where they do not exist."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dmd_repro.stats.summary import CONSTANT, NO_RUNS, TOO_FEW, one_sample_t, summarise

VALUES = st.lists(st.floats(0, 100).map(lambda x: round(x, 3)), min_size=2, max_size=12)


@settings(deadline=None, max_examples=60)
@given(VALUES, st.floats(0, 100), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_and_test_equal_scipy(values: list[float], expected: float, level: float) -> None:
    """Mean, sample STD, interval and p agree with scipy.stats called directly."""
    assume(max(values) - min(values) > 1e-3)
    ours = summarise(values, level)
    assert ours.mean is not None
    assert ours.std is not None
    assert ours.interval is not None
    interval = scipy_stats.t.interval(level, len(values) - 1, ours.mean, scipy_stats.sem(values))
    assert ours.interval == pytest.approx(interval, abs=1e-9)
    assert ours.std == pytest.approx(scipy_stats.tstd(values), rel=1e-9)
    test, theirs = one_sample_t(values, expected), scipy_stats.ttest_1samp(values, expected)
    assert test is not None
    assert (test.t, test.p, test.df) == pytest.approx((theirs.statistic, theirs.pvalue, theirs.df), rel=1e-9, abs=1e-12)


@given(VALUES, st.floats(-50, 50), st.randoms(use_true_random=False))
def test_a_shift_moves_the_interval_and_order_changes_nothing(values: list[float], by: float, random: object) -> None:
    """Adding a constant to every seed shifts mean and interval alone; the order of the seeds is irrelevant."""
    assume(max(values) - min(values) > 1e-3)
    base, moved = summarise(values), summarise([value + by for value in values])
    assert base.interval is not None
    assert moved.interval == pytest.approx([end + by for end in base.interval], abs=1e-6)
    assert moved.std == pytest.approx(base.std, abs=1e-6)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summarise(shuffled) == base


def test_a_known_answer() -> None:
    """Five values worked out by hand: mean 3, STD sqrt(2.5), t(0.975, 4) = 2.776445."""
    summary = summarise([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451051977987 * math.sqrt(2.5 / 5)
    assert summary.mean == 3.0
    assert summary.interval == pytest.approx((3 - half, 3 + half), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "mean", "std", "why"),
    [([], None, None, NO_RUNS), ([83.1], 83.1, None, TOO_FEW), ([0.1] * 3, 0.1, 0.0, CONSTANT)],
)
def test_what_does_not_exist_is_none_with_the_reason(
    values: list[float], mean: float | None, std: float | None, why: str
) -> None:
    """No run, one run and equal runs have no interval and no p-value; a 0 or a NaN there would be read as a result."""
    summary = summarise(values)
    assert (summary.mean, summary.std, summary.interval, summary.why) == (mean, std, None, why)
    assert one_sample_t(values, 80.0) is None


def test_a_diverged_value_is_refused() -> None:
    """NaN never enters a mean unseen."""
    with pytest.raises(ValueError, match="not finite"):
        summarise([1.0, float("nan")])
