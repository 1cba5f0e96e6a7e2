"""The measures: equal to the authors' code on the reference vectors, to scikit-learn anywhere, NaN where undefined."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dmd_repro.metrics.registry import METRICS

REFERENCE = {  # the authors' name -> ours
    "Acc_2": "acc2_non0",
    "F1_score": "f1_non0",
    "Acc_7": "acc7",
    "Acc_5": "acc5",
    "Acc_3": "acc3",
    "MAE": "mae",
    "Corr": "corr",
    "has0_acc2": "acc2_has0",
    "has0_f1": "f1_has0",
}
NOT_OURS = {"has0_acc2_gt"}  # an extra of the reference (> 0 on all clips) that no table uses
GRID = st.one_of(
    st.sampled_from([-3.0, -2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 3.0]),
    st.floats(-4, 4, width=32, allow_nan=False),
)
PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(hnp.arrays(np.float32, n, elements=GRID), hnp.arrays(np.float32, n, elements=GRID))
)
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def _same(a: float, b: float, tolerance: float = 1e-12) -> bool:
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance


def test_parity_with_the_authors_metrics(shared: Path) -> None:
    """Every value of the reference file is reproduced; a measure that drifts would shift every table."""
    z = np.load(shared / "reference" / "E_metrics.npz")
    compared = 0
    for key in z.files:
        vector, _, rest = key.partition("/")
        kind, _, name = rest.partition("/")
        if kind not in ("full", "official") or name in NOT_OURS:
            assert kind in ("pred", "label", "n_nonzero", "") or name in NOT_OURS, key
            continue
        ours = METRICS[REFERENCE[name]](z[f"{vector}/label"], z[f"{vector}/pred"])
        if kind == "official":
            assert _same(round(ours, 4), float(z[key])), key
        else:  # the authors sum the error in single precision
            assert _same(ours, float(z[key]), 1e-6 if name == "MAE" else 1e-12), key
        compared += 1
    assert compared == 6 * (4 + 9)


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_binary_measures_equal_scikit_learn(pair: Pair) -> None:
    """Both readings and both argument orders agree with the library everybody quotes."""
    from sklearn.metrics import accuracy_score, f1_score

    y, p = pair
    kept = y != 0
    for zero, true, call in (("non0", y[kept] > 0, p[kept] > 0), ("has0", y >= 0, p >= 0)):
        if not true.size:
            assert math.isnan(METRICS[f"acc2_{zero}"](y, p))
            continue
        assert _same(METRICS[f"acc2_{zero}"](y, p), accuracy_score(true, call))
        f1 = f1_score(true, call, average="weighted", zero_division=0)
        assert _same(METRICS[f"f1_{zero}"](y, p), f1)
        swapped = f1_score(call, true, average="weighted", zero_division=0)
        assert _same(METRICS[f"f1_{zero}_swapped"](y, p), swapped)


@given(PAIRS)
def test_class_measures_equal_their_definition(pair: Pair) -> None:
    """Clip, round half to even, compare: checked clip by clip with Python's own rounding."""
    y, p = pair
    for count, limit in ((7, 3), (5, 2), (3, 1)):
        hits = [
            round(min(limit, max(-limit, float(a)))) == round(min(limit, max(-limit, float(b))))
            for a, b in zip(y, p, strict=True)
        ]
        assert _same(METRICS[f"acc{count}"](y, p), sum(hits) / len(hits))


@given(PAIRS, st.randoms(use_true_random=False))
def test_order_of_clips_does_not_matter(pair: Pair, random: object) -> None:
    """Records may store clips in any order; no measure may depend on it."""
    y, p = pair
    order = np.arange(len(y))
    random.shuffle(order)  # type: ignore[attr-defined]
    for metric in METRICS.values():
        assert _same(metric(y, p), metric(y[order], p[order]), 1e-9)


def test_undefined_measures_are_nan() -> None:
    """Nothing left to score, a constant vector and a diverged run give NaN, never an invented number or a warning."""
    zeros, constant = np.zeros(3), np.full(3, 0.1)
    assert math.isnan(METRICS["acc2_non0"](zeros, constant))
    assert math.isnan(METRICS["f1_non0"](zeros, constant))
    assert METRICS["acc2_has0"](zeros, constant) == 1.0
    assert math.isnan(METRICS["corr"]([1, 2, 3], constant))
    for metric in METRICS.values():
        assert math.isnan(metric([], []))
        assert math.isnan(metric([1, -1, 2], [1, np.nan, 2]))
        assert math.isnan(metric([1, -1, 2], [1, 1e300, 2]))


def test_heads_of_shape_b_1_are_read_as_b() -> None:
    """A head stored as (B, 1) must not broadcast against (B,) labels into B x B comparisons."""
    y = np.array([1.0, -1.0, 2.0])
    assert METRICS["mae"](y, y[:, None]) == 0.0
    with pytest.raises(ValueError, match="3 clips"):
        METRICS["mae"](y, y[:2])


def test_percent_metrics_are_shown_times_100() -> None:
    """Tables print percent; mae and corr stay on their own scale."""
    y = np.array([1.0, -1.0, 2.0, 0.5])
    assert METRICS["acc2_non0"].shown(y, y) == 100.0
    assert METRICS["corr"].shown(y, y) == pytest.approx(1.0)
    assert not METRICS["mae"].higher_is_better
