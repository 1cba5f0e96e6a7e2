"""RAVEN's net: a word LSTM over word vectors, each moved by what was seen and heard while the word was said.

Source: victorywys/RAVEN at c276657 (model.py), whose parameter names are kept; the paper's equations are a choice of
gate and scale (arXiv 1811.09362).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmd_repro.nn.recurrent import lstm_over


class Windows(NamedTuple):
    """What is seen or heard of each word: K windows, of which the first `true` are no padding."""

    x: Tensor  # (B, T, K, D), zeros behind
    true: Tensor  # (B, T) int64, 0 allowed


class Shifted(nn.Module):
    """The net. `normFacet` is in the reference and never called."""

    def __init__(
        self,
        dims: dict[str, int],
        steps: int,
        *,
        norm: int,
        cell: int,
        hidden: int,
        dropout: float,
        scale: float,
        sigmoid: bool,
        capped: bool,
        attached: bool,
    ) -> None:
        """`sigmoid` gates and the `capped` scale are the paper's; not `attached`: no gradient behind the shift."""
        super().__init__()
        self.scale, self.sigmoid, self.capped, self.attached = scale, sigmoid, capped, attached
        self.normcovarep = nn.BatchNorm2d(steps, track_running_stats=False)  # over word positions; always the batch's
        self.fc_rszcovarep = nn.Linear(dims["a"], norm)
        self.covarepLSTM = nn.LSTM(norm, cell, batch_first=True)
        self.covarepW = nn.Linear(cell + dims["l"], 1)
        self.normFacet = nn.BatchNorm2d(steps, track_running_stats=False)
        self.fc_rszFacet = nn.Linear(dims["v"], norm)
        self.facetLSTM = nn.LSTM(norm, cell, batch_first=True)
        self.facetW = nn.Linear(cell + dims["l"], 1)
        self.calcAddon = nn.Linear(2 * cell, dims["l"])
        self.lstm1 = nn.ModuleDict({"layer_1": nn.ModuleDict({"lstm": nn.LSTMCell(dims["l"], hidden)})})
        self.fc_afterLSTM = nn.Linear(hidden, 1)
        self.drop_a, self.drop_v, self.drop_words = (nn.Dropout(dropout) for _ in range(3))
        for name, p in self.named_parameters():
            trained = name.startswith(("lstm1.", "fc_afterLSTM.")) or (attached and not name.startswith("normFacet."))
            p.requires_grad_(trained)

    def forward(
        self, words: Tensor, acoustic: Windows, visual: Windows, count: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """words (B, T, E), `count` (B,) of them true, to the prediction (B, 1) and what lies between."""
        normed = self.normcovarep(acoustic.x)
        h_a = _states(self.covarepLSTM, self.fc_rszcovarep(self.drop_a(normed)), acoustic.true)
        h_v = _states(self.facetLSTM, self.fc_rszFacet(self.drop_v(visual.x)), visual.true)
        in_a, in_v = torch.cat([h_a, words], dim=2), torch.cat([h_v, words], dim=2)
        gate_a, gate_v = self.covarepW(in_a), self.facetW(in_v)  # (B, T, 1)
        if self.sigmoid:
            gate_a, gate_v = torch.sigmoid(gate_a), torch.sigmoid(gate_v)
        joined = torch.cat([gate_a * h_a, gate_v * h_v], dim=2)
        shift = self.calcAddon(joined)
        length, size = (x.norm(dim=2, keepdim=True) for x in (words, shift))
        if self.capped:
            alpha = (self.scale * length / size.clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=1.0)
        else:
            alpha = length * self.scale / size.clamp(min=1.0)
        moved = alpha * shift
        shifted = words + (moved if self.attached else moved.detach())
        states, _, _ = lstm_over(self.lstm1["layer_1"]["lstm"], self.drop_words(shifted))  # type: ignore[index]
        last = states[torch.arange(len(states), device=states.device), count - 1]
        between = {
            "normed": normed, "gate_in_a": in_a, "gate_in_v": in_v, "gate_a": gate_a, "gate_v": gate_v,
            "joined": joined, "shift": shift, "alpha": alpha, "shifted": shifted, "states": states, "last": last,
        }  # fmt: skip
        return self.fc_afterLSTM(last), between


def _states(lstm: nn.LSTM, x: Tensor, count: Tensor) -> Tensor:
    """(B, T, K, D), (B, T) -> (B, T, H): the state of each word after its true windows, zero where it has none."""
    b, t, k, d = x.shape
    states = lstm(x.reshape(b * t, k, d))[0]
    n = count.reshape(-1)
    last = states[torch.arange(b * t, device=x.device), (n - 1).clamp(min=0)]
    return (last * (n > 0).unsqueeze(1).to(x.dtype)).view(b, t, -1)
