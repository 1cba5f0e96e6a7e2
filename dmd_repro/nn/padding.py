"""Which steps of a sequence are padding, told from the features themselves: the side does not matter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def valid_steps(x: Tensor) -> Tensor:
    """(S, B, T, D) -> (S, B, T) bool: from the first to the last step that is not exactly zero in every channel.

    A zero step between two others is data. A clip of zeros alone keeps its last step, so that nothing is empty.
    """
    some = (x != 0).any(-1)
    begun, not_over = some.cummax(-1).values, some.flip(-1).cummax(-1).values.flip(-1)
    valid = begun & not_over
    last = valid[..., -1:] | ~some.any(-1, keepdim=True)
    return F.pad(valid[..., :-1], (0, 1)) | F.pad(last, (valid.shape[-1] - 1, 0))


def after_convolution(valid: Tensor, kernel: int) -> Tensor:
    """(S, B, T) -> (S, B, T - kernel + 1): a window is valid if any of its steps is."""
    return valid if kernel == 1 else valid.unfold(2, kernel, 1).any(-1)


def mean_over_steps(x: Tensor, valid: Tensor | None) -> Tensor:
    """(S, B, T, d) -> (S, B, d): the mean over all steps, or over the valid ones."""
    if valid is None:
        return x.mean(2)
    weights = valid.unsqueeze(3).to(x.dtype)
    return (x * weights).sum(2) / weights.sum(2)


def first_and_count(valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) bool, one run of true steps a clip -> its first step and how many there are, each (B,) int64."""
    return valid.to(torch.int8).argmax(1), valid.sum(1)


def to_front(x: Tensor, first: Tensor, count: Tensor) -> Tensor:
    """(B, T, D) -> the same shape: the `count` steps from `first` on come first, zeros follow."""
    places = torch.arange(x.shape[1], device=x.device)
    index = (places + first.unsqueeze(1)) % x.shape[1]
    moved = x.gather(1, index.unsqueeze(2).expand_as(x))
    return moved * (places < count.unsqueeze(1)).unsqueeze(2).to(x.dtype)
