"""From a sequence to what a pooled system reads: its last steps, a scale from the training split, one mean a clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def last_steps(x: Tensor, most: int) -> Tensor:
    """(B, T, D) -> (B, min(T, most), D): the last steps; all of them where `most` is 0."""
    return x[:, -most:] if most and x.shape[1] > most else x


def mean_of_steps(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, T, D) -> (B, D): the mean over all steps, padding included, so that it grows with the clip's length.

    `dtype` is the precision of the sum: TFN-J's is float64. NaN becomes 0 behind the mean, as in MMSA: one NaN step
    makes that feature of the clip 0.
    """
    return torch.nan_to_num(x.to(torch.promote_types(x.dtype, dtype)).mean(1), nan=0.0).to(x.dtype)


class TrainScale(nn.Module):
    """Division of each feature by its largest absolute value in the training split, which is saved with the weights.

    Source: MFN's loader (max |x| over clips and steps; a feature that is 0 throughout is left as it is).
    """

    largest: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("largest", torch.ones(width))

    def fit(self, largest: Tensor) -> None:
        """Take (D,) max |x| of the training split."""
        self.largest.copy_(torch.where(largest == 0, torch.ones_like(largest), largest))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the same shape."""
        return x / self.largest
