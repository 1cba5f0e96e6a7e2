"""How the groups behind the earlier systems trained: settings that several presets share, each with its source."""

from __future__ import annotations

from typing import Any

NEVER = 10**6  # epochs of patience of a plateau that is not there

# yaohungt/Multimodal-Transformer, src/train.py: Adam, gradient norm clipped per module, plateau 0.1 after 20 epochs,
# all epochs run, the strictly lowest validation loss (mean over clips) is kept. Batch, clip and epochs are its Table 5
# (MOSI, MOSEI aligned) and the defaults of its main.py (MOSEI unaligned): for no other system was a value published.
MULT: dict[str, Any] = {
    "learning_rate": 1e-3, "plateau_patience": 20, "plateau_factor": 0.1, "early_stop": 0, "selection_mean": "clips",
    "selection_digits": 15,
}  # fmt: skip
MULT_SIZES: dict[tuple[str, bool], dict[str, Any]] = {
    ("mosi", True): {"batch_size": 128, "clip_norm": 0.8, "max_epochs": 100},
    ("mosi", False): {"batch_size": 128, "clip_norm": 0.8, "max_epochs": 100},
    ("mosei", True): {"batch_size": 16, "clip_norm": 1.0, "max_epochs": 20},
    ("mosei", False): {"batch_size": 24, "clip_norm": 0.8, "max_epochs": 40},
}

# thuiar/MMSA, trains/singleTask: L1, Adam with weight decay, no clip, no schedule, stop 8 epochs behind the best, the
# validation loss a mean of batch means rounded to 4 digits, better means lower by 1e-6. No limit of epochs: 200 ours.
MMSA: dict[str, Any] = {
    "plateau_patience": NEVER, "early_stop": 8, "max_epochs": 200, "selection_mean": "batches", "selection_digits": 4,
    "selection_margin": 1e-6, "pad_side": "none",
}  # fmt: skip

# Justin1904's ports of TFN and LMF: L1 summed over the batch, Adam, no clip, no schedule, strictly lower validation L1
# over the whole split.
JUSTIN: dict[str, Any] = {
    "plateau_patience": NEVER, "early_stop": 20, "selection_mean": "clips", "selection_digits": 15, "reduction": "sum",
}  # fmt: skip

# pliang279/factorized and MFN, train_mfm: Adam at torch's 1e-3, clips shuffled once, incomplete batches dropped, all
# epochs run, the lowest validation L1 over the whole split, of equal ones the later.
FACTORIZED: dict[str, Any] = {
    "learning_rate": 1e-3, "order": "once", "drop_last": True, "early_stop": 0, "selection_mean": "clips",
    "selection_digits": 15, "selection_ties": "later",
}  # fmt: skip

# ours: a small net and few epochs, so that a demonstration of minutes learns something
DEMONSTRATION: dict[str, Any] = {"batch_size": 16, "learning_rate": 3e-3, "max_epochs": 12, "early_stop": 6}
