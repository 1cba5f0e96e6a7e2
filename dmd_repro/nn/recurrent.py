"""Recurrent layers of the earlier systems, always as one fused call over all steps, never a Python loop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lstm_over(cell: nn.LSTMCell, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM cell from zero states: (B, T, D) -> hidden states of all steps (B, T, H), last h and c (B, H).

    The references hold an `nn.LSTMCell` and loop over the steps; its parameters keep their names, the fused kernel of
    `nn.LSTM` computes the same numbers.
    """
    bias = (cell.bias_ih, cell.bias_hh) if cell.bias else ()
    zero = x.new_zeros(1, x.shape[0], cell.hidden_size)
    states, h, c = torch.lstm(
        x, (zero, zero), (cell.weight_ih, cell.weight_hh, *bias), cell.bias, 1, 0.0, cell.training, False, True
    )
    return states, h[0], c[0]


def lstm_states(cell: nn.LSTMCell, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run an LSTM cell from zero states: (B, T, D) -> hidden AND cell states of all steps, each (T, B, H).

    The fused kernel returns no cell state but the last, so this one loops; the products with the input are made at
    once. For aligned sequences of some fifty steps.
    """
    gates = F.linear(x, cell.weight_ih, cell.bias_ih).unbind(1)
    h = c = x.new_zeros(x.shape[0], cell.hidden_size)
    hidden, cells = [], []
    for given in gates:
        i, f, g, o = (given + F.linear(h, cell.weight_hh, cell.bias_hh)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        hidden.append(h)
        cells.append(c)
    return torch.stack(hidden), torch.stack(cells)


class SubNet(nn.Module):
    """Three linear maps with ReLU behind batch normalisation and dropout: (B, D) -> (B, H).

    Source: TFN-J and LMF-J (model.py, SubNet); the same in MMSA.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.linear_1 = nn.Linear(width, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)
        self.linear_3 = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, H)."""
        hidden = torch.relu(self.linear_1(self.drop(self.norm(x))))
        return torch.relu(self.linear_3(torch.relu(self.linear_2(hidden))))


class TextSubNet(nn.Module):
    """The last hidden state of an LSTM through dropout and one linear map: (B, T, D) -> (B, out).

    Source: TFN-J and LMF-J (model.py, TextSubNet). MMSA's never drops anything: its rate is 0 for one layer.
    """

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, hidden, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.linear_1 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, out)."""
        _, (h, _) = self.rnn(x)
        out: Tensor = self.linear_1(self.drop(h[0]))
        return out


def with_one(x: Tensor) -> Tensor:
    """(B, H) -> (B, 1 + H): a constant 1 before the features, so that products keep each alone too."""
    return torch.cat([x.new_ones(x.shape[0], 1), x], dim=1)


def start_norms(module: nn.Module, start: str) -> None:
    """Start every BatchNorm weight at 1, or uniform in [0, 1] as torch before 1.2 did."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.uniform_(part.weight) if start == "uniform" else nn.init.ones_(part.weight)


def bilstm_over(lstm: nn.LSTM, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run one bidirectional layer over the first `count` (B,) steps of each clip, as it runs over a packed sequence.

    (B, T, D) -> states (B, T, 2H), the last forward state and the last backward state (B, H). What stands in later
    steps, of x and of the states, is of no meaning. No length leaves the device: each direction is one fused call, the
    backward one over the true steps turned round.
    """
    places = torch.arange(x.shape[1], device=x.device)
    turn = torch.where(places < count.unsqueeze(1), count.unsqueeze(1) - 1 - places, places).unsqueeze(2)  # (B, T, 1)
    zero = x.new_zeros(1, x.shape[0], lstm.hidden_size)
    end = (count - 1).view(-1, 1, 1).expand(-1, 1, lstm.hidden_size)
    states, last = [], []
    for suffix in ("", "_reverse"):
        weights = [getattr(lstm, f"{n}_l0{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        given = x.gather(1, turn.expand_as(x)) if suffix else x
        said = torch.lstm(given, (zero, zero), weights, True, 1, 0.0, lstm.training, False, True)[0]
        last.append(said.gather(1, end)[:, 0])
        states.append(said.gather(1, turn.expand_as(said)) if suffix else said)
    return torch.cat(states, dim=2), last[0], last[1]
