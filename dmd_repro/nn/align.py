"""Bringing acoustic and visual sequences to the text's number of steps: MulT's CTC module, and average pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CTCAligner(nn.Module):
    """Soft alignment of one modality with `steps` text steps: (B, T, D) -> (B, L, D).

    A two-layer LSTM gives each frame L + 1 scores, of which class 0 is the blank. An aligned step is the sum of all raw
    frames, weighed by its softmax probability; it is not divided by the sum of the weights. Since the scores are hidden
    states in (-1, 1), no alignment gets sharp. Source: MulT (src/ctc.py, CTCModule).
    """

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.pred_output_position_inclu_blank = nn.LSTM(width, steps + 1, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the aligned steps (B, L, D) and the scores (B, T, L + 1) that the CTC loss reads."""
        scores, _ = self.pred_output_position_inclu_blank(x)
        weights = torch.softmax(scores, dim=2)[:, :, 1:]
        return torch.bmm(weights.transpose(1, 2), x), scores


def ctc_cost(scores: Tensor) -> Tensor:
    """(B, T, L + 1) -> (): the CTC cost of the target 1, 2, ..., L of every clip, summed over the batch.

    All T frames count, padding too. Equal to warp-ctc with its binding's defaults (MulT, src/train.py); it needs
    T >= L, which `CTCAligner`'s owner checks.
    """
    clips, frames, classes = scores.shape
    log_probabilities = F.log_softmax(scores, dim=2).transpose(0, 1)  # (T, B, L + 1)
    target = torch.arange(1, classes, device=scores.device).expand(clips, -1)
    lengths = torch.full((clips,), frames, dtype=torch.long, device=scores.device)
    sizes = torch.full((clips,), classes - 1, dtype=torch.long, device=scores.device)
    return F.ctc_loss(log_probabilities, target, lengths, sizes, blank=0, reduction="sum")


def pool_to(x: Tensor, steps: int) -> Tensor:
    """(B, T, D) -> (B, steps, D): means of consecutive groups of frames; T > steps.

    Where `steps` does not divide T, the groups are one frame longer than T // steps and the last frame is repeated
    `steps - T % steps` times at the end. Source: MMSA (AlignNets.py, average pooling).
    """
    frames = x.shape[1]
    if frames == steps:
        return x
    if frames % steps:
        x = torch.cat([x, x[:, -1:].expand(-1, steps - frames % steps, -1)], dim=1)
    return x.reshape(x.shape[0], steps, x.shape[1] // steps, x.shape[2]).mean(2)
