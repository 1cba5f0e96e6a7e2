"""What is told of an epoch; no torch is loaded, so that who only watches a training needs none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What a progress display is told after each epoch."""

    seed: int
    epoch: int
    max_epochs: int
    seconds: float  # the run's share, in a stack
    valid_loss: float
    best_epoch: int
    best_valid_loss: float
    stopped: bool
