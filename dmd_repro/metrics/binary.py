"""ACC2 and F1 of the sign of the sentiment, in every way of counting that is in use.

Three readings of "binary accuracy" differ by 1 to 4 points: `non0` (negative / positive, clips labelled 0 left out),
`has0` (negative / non-negative, all clips) and, on data in [-1, 1], `neg0` (non-positive / positive, all clips). Some
systems also call the weighted F1 with its two arguments swapped, which weighs the classes by their predicted instead of
their true counts; `..._swapped` is that number.
Source of the definitions: the authors' metricsTop.py (`eval_mosei_regression`, `eval_sims_regression`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.metrics.metric import NAN, Floats, Metric, PerClip, Resample, paired

Zero = Literal["non0", "has0", "neg0"]
Bools = NDArray[np.bool_]

ZERO_WORDS: dict[Zero, str] = {
    "non0": "negative / positive, clips labelled 0 left out",
    "has0": "negative / non-negative, all clips",
    "neg0": "non-positive / positive, all clips",
}
NARROW_WORDS: dict[Zero, str] = {
    "non0": "negative / positive, zeros left out",
    "has0": "negative / non-negative",
    "neg0": "non-positive / positive",
}
SWAPPED_WORDS = "its two arguments swapped: classes weighted by their predicted counts"


def split_signs(true: Floats, pred: Floats, zero: Zero) -> tuple[Bools, Bools, Bools]:
    """Return "is positive" of labels and predictions under one reading, and which clips count, (B,) each."""
    if zero == "has0":
        return true >= 0, pred >= 0, np.ones(true.shape, bool)
    return true > 0, pred > 0, true != 0 if zero == "non0" else np.ones(true.shape, bool)


def _signs(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero) -> tuple[Bools, Bools] | None:
    pair = paired(y_true, y_pred)
    if pair is None:
        return None
    truth, call, kept = split_signs(*pair, zero)
    return (truth[kept], call[kept]) if kept.any() else None


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero) -> float:
    """Return the share of clips whose sign is called right; NaN if no clip is left."""
    signs = _signs(y_true, y_pred, zero)
    return NAN if signs is None else float(np.mean(signs[0] == signs[1]))


def weighted_f1(truth: Bools, call: Bools) -> float:
    """Return the F1 of both classes averaged by their share of `truth` (scikit-learn's average="weighted")."""
    total = 0.0
    for kind in (False, True):
        in_truth, in_call = truth == kind, call == kind
        support = int(in_truth.sum())
        if support:  # then the denominator is at least `support`, never 0
            total += support * 2.0 * int((in_truth & in_call).sum()) / (support + int(in_call.sum()))
    return total / truth.size


def binary_f1(y_true: ArrayLike, y_pred: ArrayLike, zero: Zero, *, swapped: bool = False) -> float:
    """Return the weighted F1 of the sign; `swapped` passes (prediction, label) as if they were (label, prediction)."""
    signs = _signs(y_true, y_pred, zero)
    if signs is None:
        return NAN
    true, pred = signs
    return weighted_f1(pred, true) if swapped else weighted_f1(true, pred)


def _right(zero: Zero) -> PerClip:
    def values(true: Floats, pred: Floats) -> Floats:
        truth, call, kept = split_signs(true, pred, zero)
        return np.where(kept, truth == call, np.nan)

    return values


def _pseudo_f1(zero: Zero, swapped: bool) -> PerClip:
    """Jackknife pseudo-values: n F1 - (n - 1) F1 without that clip; their mean is F1 but for a bias of order 1/n."""

    def values(true: Floats, pred: Floats) -> Floats:
        truth, call, kept = split_signs(true, pred, zero)
        found = np.full(true.shape, np.nan)
        if kept.sum() > 1:
            found[kept] = _jackknife(*((call, truth) if swapped else (truth, call)), kept)
        return found

    return values


def _jackknife(first: Bools, second: Bools, kept: Bools) -> Floats:
    """Clips of one kind (label, call) have one pseudo-value: four scores without a clip, not as many as there are."""
    first, second = first[kept], second[kept]
    n, score, out = first.size, weighted_f1(first, second), np.empty(first.size)
    for one in (False, True):
        for other in (False, True):
            here = np.flatnonzero((first == one) & (second == other))
            if here.size:
                without = np.delete(first, here[0]), np.delete(second, here[0])
                out[here] = n * score - (n - 1) * weighted_f1(*without)
    return out


def _resampled_f1(zero: Zero, swapped: bool) -> Resample:
    def scores(true: Floats, pred: Floats, counts: Floats) -> Floats:
        truth, call, kept = split_signs(true, pred, zero)
        weights = counts if kept.all() else counts * kept
        tp, fn, fp, tn = (weights @ (t & c).astype(np.float64) for t in (truth, ~truth) for c in (call, ~call))
        n = tp + fn + fp + tn
        with np.errstate(invalid="ignore", divide="ignore"):
            # 2 tp / (2 tp + fp + fn) is 0 / 0 only for a class in neither truth nor call, whose weight is 0 as well
            f1 = [np.nan_to_num(2 * hit / (2 * hit + fp + fn)) for hit in (tp, tn)]
            positive, negative = (tp + fp, fn + tn) if swapped else (tp + fn, fp + tn)
            found: Floats = (positive * f1[0] + negative * f1[1]) / n
        return found

    return scores


def _metrics() -> Iterator[Metric]:
    for zero in ZERO_WORDS:
        right = _right(zero)
        yield Metric(
            id=f"acc2_{zero}", heading="ACC2", words=NARROW_WORDS[zero], convention=ZERO_WORDS[zero],
            function=partial(binary_accuracy, zero=zero), unit="%", higher_is_better=True, column="acc2",
            reading=(zero,), short=f"ACC2 {zero}", per_clip=right, right=right,
            prominence="comparison" if zero == "has0" else "line", always=False,
        )  # fmt: skip
        for swapped in (False, True):
            yield Metric(
                id=f"f1_{zero}" + ("_swapped" if swapped else ""), heading="F1",
                words=f"weighted F1, {NARROW_WORDS[zero].removeprefix('negative / positive, ')}",
                convention=f"weighted F1, {ZERO_WORDS[zero]}" + (f", {SWAPPED_WORDS}" if swapped else ""),
                function=partial(binary_f1, zero=zero, swapped=swapped), unit="%", higher_is_better=True,
                column="f1", reading=(zero, "swapped") if swapped else (zero,),
                short=f"{zero} swapped" if swapped else f"F1 {zero}", per_clip=_pseudo_f1(zero, swapped),
                resample=_resampled_f1(zero, swapped), right=right,
                prominence="all" if swapped else "run" if zero == "has0" else "comparison", always=False,
            )  # fmt: skip


METRICS = tuple(_metrics())
