"""Whether a recorded run learned, from its own validation predictions; never asked of a single-modality head."""

from __future__ import annotations

import numpy as np

from dmd_repro.datasets import DATASETS
from dmd_repro.records.folder import Predictions, RunRecord
from dmd_repro.stats.learned import Learned, did_it_learn

WIDEST = (-3.0, 3.0)  # of a data set whose range is not known here


def learned(record: RunRecord) -> Learned:
    """Judge a run by the validation split at its selected epoch.

    The median of the training labels is in the provenance of records of this version; older ones are judged by that of
    the validation labels, which no constant beats by more.
    """
    said = record.predictions("valid")
    noted = record.provenance.get("train_median")
    median = float(noted) if isinstance(noted, int | float) else float(np.median(said.y_true))
    return judged(said, record.data["dataset"], median)


def judged(said: Predictions, dataset: str, train_median: float) -> Learned:
    """Judge predictions of whatever clips beside a constant: a checkpoint has no validation split of its own."""
    facts = DATASETS.get(dataset)
    span = facts.label_range if facts is not None and facts.label_range is not None else WIDEST
    return did_it_learn(said.y_pred, said.y_true, train_median, span)
