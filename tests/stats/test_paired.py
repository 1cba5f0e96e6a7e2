"""Between rows: paired and crossed errors equal to libraries and to simulation, McNemar to its exact law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from dmd_repro.stats.paired import crossed, mcnemar, mcnemar_counts, most_discordant, paired

PAIRS = st.lists(
    st.tuples(st.floats(80, 90), st.floats(80, 90)).map(lambda p: (round(p[0], 2), round(p[1], 2))),
    min_size=3,
    max_size=10,
)


@settings(deadline=None)
@given(PAIRS)
def test_paired_equals_scipy(pairs: list[tuple[float, float]]) -> None:
    """t, p, interval and correlation are those of scipy's paired test."""
    gaps = [a - b for a, b in pairs]
    assume(max(gaps) - min(gaps) > 0.05)
    for side in range(2):
        assume(len({pair[side] for pair in pairs}) > 1)
    ours = paired({i: p[0] for i, p in enumerate(pairs)}, {i: p[1] for i, p in enumerate(pairs)})
    theirs = scipy_stats.ttest_rel([p[0] for p in pairs], [p[1] for p in pairs])
    assert ours.test is not None
    assert (ours.test.t, ours.test.p) == pytest.approx((theirs.statistic, theirs.pvalue), abs=1e-7)
    interval = theirs.confidence_interval()
    assert ours.summary.interval == pytest.approx((interval.low, interval.high), abs=1e-7)
    assert ours.correlation == pytest.approx(np.corrcoef(np.transpose(pairs))[0, 1], abs=1e-7)
    assert ours.effect == pytest.approx(np.mean(gaps) / np.std(gaps, ddof=1), abs=1e-7)


def test_only_shared_seeds_are_paired() -> None:
    """A seed one row lacks has no partner; pairing by position would compare different seeds."""
    found = paired({1: 80.0, 2: 81.0, 3: 99.0}, {2: 80.0, 1: 80.5})
    assert found.seeds == (1, 2)
    assert found.summary.mean == pytest.approx(0.25)
    assert found.correlation is None


def test_crossed_finds_the_components_it_was_made_with() -> None:
    """On simulated tables of known seed and clip variance the squared errors are right on average."""
    generator = np.random.Generator(np.random.PCG64(3))
    seeds, clips, sigma = 6, 40, (0.5, 1.0, 0.7)
    found = []
    for _ in range(600):
        table = (
            generator.normal(0, sigma[0], (seeds, 1))
            + generator.normal(0, sigma[1], (1, clips))
            + generator.normal(0, sigma[2], (seeds, clips))
        )
        found.append(crossed(table))
    seed, clip, rest = sigma[0] ** 2 / seeds, sigma[1] ** 2 / clips, sigma[2] ** 2 / (seeds * clips)
    assert np.mean([one.error_seeds**2 for one in found]) == pytest.approx(seed + rest, rel=0.1)
    assert np.mean([one.error_clips**2 for one in found]) == pytest.approx(clip + rest, rel=0.1)
    assert np.mean([one.error**2 for one in found]) == pytest.approx(seed + clip + rest, rel=0.1)
    covered = np.mean([one.interval is not None and one.interval[0] <= 0 <= one.interval[1] for one in found])
    assert 0.90 <= covered <= 0.98  # an approximation, and its docstring says so


def test_crossed_seed_error_is_that_of_the_plain_t_interval() -> None:
    """With the clips held fixed the error is the familiar one over seeds."""
    generator = np.random.Generator(np.random.PCG64(4))
    table = generator.integers(0, 2, (5, 30)).astype(float)
    by_seed = table.mean(axis=1)
    assert crossed(table).error_seeds == pytest.approx(np.std(by_seed, ddof=1) / math.sqrt(5))


def test_crossed_refuses_what_it_cannot_estimate() -> None:
    """One seed shows no seed variance; equal entries no error and no interval."""
    with pytest.raises(ValueError, match="at least 2 seeds"):
        crossed(np.ones((1, 30)))
    assert crossed(np.ones((3, 30))).interval is None


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_statsmodels(only_a: int, only_b: int) -> None:
    """The exact p-value is the library's."""
    theirs = statsmodels_mcnemar([[5, only_a], [only_b, 5]], exact=True).pvalue
    assert mcnemar_counts(only_a, only_b).p == pytest.approx(min(1.0, theirs), abs=1e-9)


def test_mcnemar_counts_disagreements() -> None:
    """Only clips one run gets right and the other wrong enter."""
    found = mcnemar([1, 1, 0, 0, 1], [1, 0, 1, 0, 0])
    assert (found.only_a, found.only_b) == (2, 1)
    assert mcnemar([1, 0], [1, 0]).p == 1.0


@given(st.integers(0, 60))
def test_most_discordant_is_the_last_significant_count(gap: int) -> None:
    """At that many discordant clips the gap is significant, at two more it is not; gaps under 6 never are."""
    most = most_discordant(gap)
    if gap < 6:
        assert most == 0
        return
    assert mcnemar_counts((most + gap) // 2, (most - gap) // 2).p <= 0.05
    assert mcnemar_counts((most + 2 + gap) // 2, (most + 2 - gap) // 2).p > 0.05
