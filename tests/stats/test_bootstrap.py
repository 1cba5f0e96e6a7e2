"""Bootstrap intervals over clips: the metrics themselves on every resample, reproducible, honest where undefined."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.metrics.registry import METRICS
from dmd_repro.stats.bootstrap import intervals, resampled, scores

GRID = st.integers(-15, 15).map(lambda k: k / 5)


def stream(seed: int = 0) -> np.random.Generator:
    """Return a generator of its own."""
    return np.random.Generator(np.random.PCG64(seed))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(GRID, GRID, st.integers(0, 3)), min_size=2, max_size=12))
def test_a_resample_scores_as_its_clips_repeated(clips: list[tuple[float, float, int]]) -> None:
    """Protects: the matrix products are METRICS, on any labels, ties, missing classes and constants."""
    true, pred = (np.array([c[i] for c in clips], np.float32).astype(np.float64) for i in (0, 1))
    counts = np.array([c[2] for c in clips])
    if counts.sum() == 0:
        counts[0] = 1
    found = scores(true, pred, counts[None])
    for name, metric in METRICS.items():
        wanted, got = metric(np.repeat(true, counts), np.repeat(pred, counts)), found[name][0]
        assert (math.isnan(wanted) and math.isnan(got)) or abs(wanted - got) < 1e-9, name


def test_equal_generators_give_equal_intervals_around_the_value() -> None:
    """Protects: intervals are reproducible, contain the value, and narrow as clips are added."""
    true = stream(1).normal(0, 1.5, 400)
    pred = 0.7 * true + stream(2).normal(0, 1, 400)
    found = intervals(true, pred, stream(), resamples=500)
    assert found == intervals(true, pred, stream(), resamples=500)
    for name, metric in METRICS.items():
        assert found[name].low <= metric(true, pred) <= found[name].high, name
    few = intervals(true[:40], pred[:40], stream(), resamples=500)
    assert few["mae"].high - few["mae"].low > found["mae"].high - found["mae"].low


def test_the_spread_is_the_textbooks() -> None:
    """Protects: the resampling is over clips: the spread of an accuracy is sqrt(p (1 - p) / n)."""
    true = np.array([1.0] * 300)
    pred = np.array([1.0] * 240 + [-1.0] * 60)
    values = resampled(true, pred, stream(), resamples=4000)["acc2_non0"]
    assert abs(values.std() - math.sqrt(0.8 * 0.2 / 300)) < 0.001
    assert abs(values.mean() - 0.8) < 0.002


def test_what_is_undefined_has_no_interval() -> None:
    """Protects: a constant prediction has no correlation, a diverged run no number at all."""
    true = np.linspace(-3, 3, 20)
    found = intervals(true, np.full(20, 0.3), stream(), resamples=100)
    assert (found["corr"].low, found["corr"].undefined) == (None, 100)
    assert found["mae"].low is not None
    assert all(i.low is None for i in intervals(true, np.full(20, np.nan), stream(), resamples=100).values())
