"""EF-LSTM: the three modalities concatenated step by step, one LSTM over them, two linear maps.

Two public nets carry the name. `EarlyFusion` is pliang279/MFN's (class EFLSTM): the group of MulT's authors, whose
tables print the row and whose own net was never released. `EarlyFusionMMSA` is thuiar/MMSA's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmd_repro.nn.recurrent import lstm_over


class EarlyFusion(nn.Module):
    """One LSTM over (language, acoustic, visual) of each step, its last hidden state, fc1, ReLU, dropout, fc2."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(width, hidden)
        self.fc1 = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) -> the prediction (B, 1), and the last hidden and cell state and fc1's output, each (B, H)."""
        _, h, c = lstm_over(self.lstm, x)
        before = self.fc1(h)
        return self.fc2(self.drop(torch.relu(before))), {"hidden": h, "cell": c, "fc1": before}


class EarlyFusionMMSA(nn.Module):
    """Batch normalisation over the TIME axis, a stack of LSTM layers, one hidden linear map.

    The norm has one mean and variance a step, over clips and the features of all three modalities together. A step that
    is padding in every training clip has variance 0 there, and its running variance decays: a longer clip that reaches
    it in validation is multiplied by up to 316.
    """

    def __init__(self, width: int, steps: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(steps)
        self.lstm = nn.LSTM(width, hidden, num_layers=layers, batch_first=True)
        self.between = nn.Dropout(dropout)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) -> the prediction (B, 1), and the norm's output, the top layer's states and linear's output."""
        normed = states = self.norm(x)
        h, c = [], []
        for layer in range(self.lstm.num_layers):  # one call a layer: dropout between layers is the run's own stream's
            weights = [getattr(self.lstm, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            zero = x.new_zeros(1, x.shape[0], self.lstm.hidden_size)
            states, last_h, last_c = torch.lstm(states, (zero, zero), weights, True, 1, 0.0, self.training, False, True)
            h.append(last_h)
            c.append(last_c)
            if layer + 1 < self.lstm.num_layers:
                states = self.between(states)
        before = self.linear(self.drop(h[-1][0]))
        said = self.out(self.drop(torch.relu(before)))
        return said, {"norm": normed, "states": states, "hidden": torch.cat(h), "cell": torch.cat(c), "linear": before}
