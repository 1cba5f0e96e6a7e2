"""A run that did not learn is told from one that did."""

import numpy as np
import pytest

from dmd_repro.stats.learned import did_it_learn

RNG = np.random.default_rng(3)
LABELS = RNG.uniform(-3, 3, 60)


def judge(predictions, labels=LABELS):
    return did_it_learn(predictions, labels, 0.0, (-3.0, 3.0))


@pytest.mark.parametrize(
    ("predictions", "reason"),
    [
        (np.where(np.arange(60) == 7, np.nan, LABELS), "1 of 60 predictions are not finite"),
        (np.full(60, 0.4), "a constant"),
        (1.0 + 0.1 * LABELS, "one call for 100 %"),
        (-LABELS, "no better than the train median"),
    ],
)
def test_not_learned(predictions, reason):
    """Each of the four ways of not learning is found and named."""
    got = judge(predictions)
    assert got.outcome == "not learned"
    assert reason in got.reason


def test_learned():
    """Poor but real predictions count as learned, whatever their MAE."""
    assert judge(0.5 * LABELS).outcome == "learned"
    assert judge(4 * LABELS).outcome == "learned"


def test_one_call_is_right_where_the_labels_have_one():
    """One call for all clips is no fault where the labels themselves have almost one sign."""
    labels = np.abs(LABELS) + 0.1
    assert judge(labels, labels).outcome == "learned"


def test_cannot_be_told():
    """Few clips or no predictions give no judgement; values that are not finite are a fault at any size."""
    assert judge(LABELS[:29], LABELS[:29]).outcome == "cannot be told"
    assert judge(None).outcome == "cannot be told"
    assert judge(np.full(3, np.nan), LABELS[:3]).outcome == "not learned"


def test_shapes():
    """Predictions of other clips than the labels' are refused."""
    with pytest.raises(ValueError, match="shape"):
        judge(LABELS[:40])
