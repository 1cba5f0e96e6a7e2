"""Whether a run learned: its final predictions on the validation split against what a constant would say."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Outcome = Literal["learned", "not learned", "cannot be told"]
CLIPS_NEEDED = 30


@dataclass(frozen=True)
class Learned:
    """The outcome and, unless it is "learned", the reason in words."""

    outcome: Outcome
    reason: str = ""


def did_it_learn(
    predictions: np.ndarray | None, labels: np.ndarray, train_median: float, label_range: tuple[float, float]
) -> Learned:
    """Judge the validation predictions of the selected epoch; not meant for heads of one modality.

    ``predictions`` and ``labels`` are of shape (clips,), in label units. Not learned: a prediction that is not finite;
    an STD below a thousandth of the label range; at least 99 % of the predictions on one side of zero (zero counts as
    positive) while the labels' majority is below 95 %; or an MAE no better than the train median's with no positive
    correlation (one-sided p above 0.05). Fewer than 30 clips, or no predictions, cannot be told.

    Raises:
        ValueError: predictions and labels differ in shape.
    """
    if predictions is None:
        return Learned("cannot be told", "no validation predictions")
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"predictions of shape {predictions.shape} for labels of shape {labels.shape}")
    bad = int(np.count_nonzero(~np.isfinite(predictions)))
    if bad:
        return Learned("not learned", f"{bad} of {len(labels)} predictions are not finite")
    if len(labels) < CLIPS_NEEDED:
        return Learned("cannot be told", f"{len(labels)} validation clips, {CLIPS_NEEDED} needed")
    predictions, labels = predictions.astype(np.float64), labels.astype(np.float64)
    if predictions.std() < 1e-3 * (label_range[1] - label_range[0]):
        return Learned("not learned", "the predictions are a constant")
    one_call, majority = _share(predictions), _share(labels)
    if one_call >= 0.99 and majority < 0.95:
        return Learned("not learned", f"one call for {100 * one_call:.0f} % of the clips")
    if np.abs(predictions - labels).mean() >= np.abs(train_median - labels).mean() and not _correlates(
        predictions, labels
    ):
        return Learned("not learned", "no better than the train median, and no correlation")
    return Learned("learned")


def _share(values: np.ndarray) -> float:
    """The share of the more frequent sign."""
    positive = float((values >= 0).mean())
    return max(positive, 1 - positive)


def _correlates(predictions: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the correlation is positive at a one-sided 0.05; labels that are all equal correlate with nothing."""
    if np.ptp(labels) == 0:
        return False
    from scipy import stats  # takes longer to load than all else here, and few runs come this far

    return bool(stats.pearsonr(predictions, labels, alternative="greater").pvalue <= 0.05)
