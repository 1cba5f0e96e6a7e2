"""LF-LSTM: one LSTM a modality over its own sequence, the three last states concatenated, two linear maps.

No code of MulT's authors is public for the row they print; the construction is ours: MFN's net without its memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmd_repro.shapes import MODALITIES


class LateFusion(nn.Module):
    """Three LSTMs, sizes by modality; lengths of the modalities need not agree."""

    def __init__(self, dims: Mapping[str, int], hidden: Mapping[str, int], head: int, dropout: float) -> None:
        super().__init__()
        for m in MODALITIES:
            self.add_module(f"lstm_{m}", nn.LSTM(dims[m], hidden[m], batch_first=True))
        self.fc1 = nn.Linear(sum(hidden.values()), head)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(head, 1)

    def forward(self, x: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1), and the joined states (B, sum H) and fc1's output."""
        last = torch.cat([getattr(self, f"lstm_{m}")(x[m])[1][0][0] for m in MODALITIES], dim=1)
        before = self.fc1(last)
        return self.fc2(self.drop(torch.relu(before))), {"hidden": last, "fc1": before}
