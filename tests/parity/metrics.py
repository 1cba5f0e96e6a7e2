"""File E: the authors' metrics on six vectors of 686 predictions."""

from __future__ import annotations

from functools import cache

import numpy as np

from dmd_repro.metrics.registry import METRICS
from parity.loading import Computed, arrays

NAMES = {
    "Acc_2": "acc2_non0", "F1_score": "f1_non0", "Acc_7": "acc7", "MAE": "mae", "Acc_5": "acc5", "Acc_3": "acc3",
    "Corr": "corr", "has0_acc2": "acc2_has0", "has0_f1": "f1_has0",
}  # fmt: skip
NOT_COMPARED = {
    "versions": "a note on what computed the file",
    "*/pred": "given to both implementations",
    "*/label": "given to both implementations",
    "*/full/has0_acc2_gt": "an extra of the reference (> 0 on both sides, zeros kept) that no table uses",
}


@cache
def computed(name: str) -> Computed:
    """Return our metrics under the reference's names: unrounded, and rounded to four digits as the authors return."""
    z, found = arrays(name), Computed()
    for vector in {k.partition("/")[0] for k in z if "/" in k}:
        label, pred = z[f"{vector}/label"], z[f"{vector}/pred"]
        found[f"{vector}/n_nonzero"] = (int((label != 0).sum()), 0, 0)
        for theirs, ours in NAMES.items():
            value = METRICS[ours].function(label, pred)
            found[f"{vector}/full/{theirs}"] = (value, 1e-6, 1e-7)
            found[f"{vector}/official/{theirs}"] = (np.round(value, 4), 0, 1e-9)
    return found
