"""What an epoch is made of and judged by: its batches, the limit on a gradient's norm, the loss it is selected by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dmd_repro.data.batches import batch_slices
from dmd_repro.systems.config import TrainConfig


def selection_loss(error: NDArray[np.float32], order: NDArray[np.int64], config: TrainConfig) -> float:
    """Return the validation loss an epoch is selected by: the mean absolute error over clips, or over batches of them.

    DMD's loader shuffles validation clips too, so which clips share the last, smaller batch is part of its mean.
    """
    size = config.batch_size if config.selection_mean == "batches" else len(order)
    means = [float(error[order[piece]].mean(dtype=np.float64)) for piece in batch_slices(len(order), size)]
    return round(float(np.mean(means)), config.selection_digits)


def training_batches(clips: int, config: TrainConfig) -> list[slice]:
    """Return the batches of an epoch: the last one left out where it is not full, or too small to be trained on."""
    pieces = list(batch_slices(clips, config.batch_size))
    last = pieces[-1].stop - pieces[-1].start
    if (config.drop_last and last < config.batch_size) or last < config.least_batch:
        pieces.pop()
    return pieces


def clip_norm_(parameters: Sequence[nn.Parameter], limit: float, stack: int = 1) -> None:
    """Scale the gradients so that their L2 norm over all parameters is at most `limit`, each stacked seed on its own.

    For one seed this is torch's clip_grad_norm_, its 1e-6 included; with `stack` seeds parameters are (S, ...).
    """
    if not (grads := [p.grad for p in parameters if p.grad is not None]):
        return
    norm = torch.stack([g.reshape(stack, -1).norm(dim=1) for g in grads]).norm(dim=0)  # (S,)
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(factor if stack == 1 else factor.view(-1, *[1] * (g.dim() - 1)))
