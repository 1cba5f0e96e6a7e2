"""Does a run's checkpoint still predict what the run recorded: a check that no hash can make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmd_repro.records.run import PREDICTED_SPLITS, Predictions, RunRecord

NEAR = 1e-3  # of a label's unit: as far as another device or number of threads moves a prediction


@dataclass(frozen=True, slots=True)
class Stored:
    """How far predictions made now are from those the run recorded."""

    largest: float  # over the clips; inf where one of the two is no number

    @property
    def agrees(self) -> bool:
        """Whether they are the same but for rounding."""
        return self.largest <= NEAR

    @property
    def words(self) -> str:
        """What is printed of it."""
        if self.largest == 0:
            return "the recorded predictions: equal, bit for bit"
        if self.agrees:
            return f"the recorded predictions: within {self.largest:.1g} (another device, threads or versions round so)"
        return (
            f"the recorded predictions: NOT those of these weights (they differ by up to {self.largest:.3g}). "
            "One of the two was replaced: do not use this run"
        )


def compare_stored(record: RunRecord | None, digest: str, split: str, now: Predictions) -> Stored | None:
    """Compare with what a run recorded; None where it recorded nothing of this split, or predicts other data."""
    if record is None or split not in PREDICTED_SPLITS or record.data["digest"] != digest:
        return None
    then = record.predictions(split)
    if then.ids != now.ids:
        return Stored(float("inf"))
    if np.array_equal(then.y_pred, now.y_pred, equal_nan=True):
        return Stored(0.0)
    gap = np.abs(then.y_pred.astype(np.float64) - now.y_pred)
    return Stored(float(gap.max()) if np.isfinite(gap).all() else float("inf"))
