"""MFM: one factor that predicts, three that generate their modality, kept near a normal distribution by MMD.

Source: pliang279/factorized (mfm_model.py, class MFM), equal bit for bit to MMSA's. Aligned sequences of one length;
nothing reads lengths, so padded steps run through the recurrences and count in the reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn.memory import TwoLayerMaps, run_memory
from dmd_repro.nn.recurrent import lstm_over, lstm_states
from dmd_repro.shapes import MODALITIES

FACTORS = ("y", *MODALITIES)  # the predicting factor, then a generating one for each modality


@dataclass(frozen=True, slots=True)
class MFMSizes:
    """Widths and dropout rates of the net; `h` by modality, `z` and `f` by factor; att1, att2, gamma1, gamma2, out."""

    h: Mapping[str, int]
    z: Mapping[str, int]
    f: Mapping[str, int]
    memory: int
    hidden: Mapping[str, int]
    hidden_dropout: Mapping[str, float]
    factor_dropout: Mapping[str, float]  # z -> f, by factor
    output_dropout: float


class LastState(nn.Module):
    """The last hidden state of an LSTM through a linear map: the encoder of one generating factor."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lstm, self.fc1 = nn.LSTMCell(width, hidden), nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H)."""
        _, h, _ = lstm_over(self.lstm, x)
        out: Tensor = self.fc1(h)
        return out


class Generator(nn.Module):
    """An LSTM that is shown its factors once, then its own hidden state, and a linear map to each step's features."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.lstm, self.fc1 = nn.LSTMCell(width, width), nn.Linear(width, out)

    def forward(self, factors: Tensor, steps: int) -> Tensor:
        """(B, Q) -> (T, B, D)."""
        cell = self.lstm
        h, c = cell(factors)
        states = h.unsqueeze(1)
        if steps > 1:  # input and recurrent path see the same state, so their weights add up and no input is left
            weight, bias = cell.weight_ih + cell.weight_hh, cell.bias_ih
            empty = h.new_zeros(h.shape[0], steps - 1, 1)
            rest, _, _ = torch.lstm(
                empty, (h.unsqueeze(0), c.unsqueeze(0)),
                (torch.zeros_like(bias).unsqueeze(1), weight, bias, cell.bias_hh), True, 1, 0.0, self.training, False,
                True,
            )  # fmt: skip
            states = torch.cat([states, rest], dim=1)
        out: Tensor = self.fc1(states.transpose(0, 1))
        return out


class MemoryFusion(TwoLayerMaps):
    """MFN: an LSTM a modality, attention over the cell states of two neighbouring steps, a gated memory."""

    def __init__(self, dims: Mapping[str, int], sizes: MFMSizes) -> None:
        super().__init__()
        for m in MODALITIES:
            self.add_module(f"lstm_{m}", nn.LSTMCell(dims[m], sizes.h[m]))
        total, memory = sum(sizes.h.values()), sizes.memory
        hidden, drop = sizes.hidden, sizes.hidden_dropout
        for name, n_in, n_out in (
            ("att1", 2 * total, 2 * total), ("att2", 2 * total, memory),
            ("gamma1", 2 * total + memory, memory), ("gamma2", 2 * total + memory, memory),
            ("out", total + memory, 1),  # the reference builds it and never calls it
        ):  # fmt: skip
            self.add_maps(name, n_in, hidden[name], n_out, drop[name])

    def forward(self, x: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (B, T, D_m) to (B, sum H + M): last hidden states and memory; and what lies between by name."""
        runs = [lstm_states(getattr(self, f"lstm_{m}"), x[m]) for m in MODALITIES]
        cells = torch.cat([c for _, c in runs], dim=2)  # (T, B, S)
        before = torch.cat([torch.zeros_like(cells[:1]), cells[:-1]])
        window = torch.cat([before, cells], dim=2)
        scores = self.maps("att1", window)
        attended = torch.softmax(scores, dim=2) * window
        proposal = self.maps("att2", attended)
        memory, between = run_memory(attended, proposal, partial(self.maps, "gamma1"), partial(self.maps, "gamma2"))
        last = torch.cat([*(h[-1] for h, _ in runs), memory], dim=1)
        return last, {"att1": scores, "attended": attended, "att2": proposal, **between, "last": last}


class FactorizedModel(nn.Module):
    """The whole of MFM."""

    def __init__(self, dims: Mapping[str, int], sizes: MFMSizes) -> None:
        super().__init__()
        for m in MODALITIES:
            self.add_module(f"encoder_{m}", LastState(dims[m], sizes.z[m]))
        for m in MODALITIES:
            self.add_module(f"decoder_{m}", Generator(sizes.f["y"] + sizes.f[m], dims[m]))
        self.mfn_encoder = MemoryFusion(dims, sizes)
        self.last_to_zy_fc1 = nn.Linear(sum(sizes.h.values()) + sizes.memory, sizes.z["y"])
        for k in FACTORS:
            self.add_module(f"z{k}_to_f{k}_fc1", nn.Linear(sizes.z[k], sizes.f[k]))
            self.add_module(f"z{k}_to_f{k}_fc2", nn.Linear(sizes.f[k], sizes.f[k]))
            self.add_module(f"z{k}_to_f{k}_dropout", nn.Dropout(sizes.factor_dropout[k]))
        self.fy_to_y_fc1 = nn.Linear(sizes.f["y"], sizes.f["y"])
        self.fy_to_y_fc2 = nn.Linear(sizes.f["y"], 1)
        self.fy_to_y_dropout = nn.Dropout(sizes.output_dropout)

    def forward(self, x: Mapping[str, Tensor], *, generate: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (B, T, D_m) to the prediction (B, 1), and z, f and, if asked for, what is generated (T, B, D_m).

        The prediction depends on z_y alone, so evaluation leaves the decoders out.
        """
        last, between = self.mfn_encoder(x)
        z = {"y": self.last_to_zy_fc1(last), **{m: getattr(self, f"encoder_{m}")(x[m]) for m in MODALITIES}}
        f = {k: self._factor(k, z[k]) for k in FACTORS}
        said = self.fy_to_y_fc2(self.fy_to_y_dropout(torch.relu(self.fy_to_y_fc1(f["y"]))))
        found = {**{f"mfn/{n}": v for n, v in between.items()}, **{f"z{k}": v for k, v in z.items()}}
        found |= {f"f{k}": v for k, v in f.items()}
        if generate:
            steps = x["l"].shape[1]
            for m in MODALITIES:
                found[f"xhat_{m}"] = getattr(self, f"decoder_{m}")(torch.cat([f["y"], f[m]], dim=1), steps)
        return said, found

    def _factor(self, k: str, z: Tensor) -> Tensor:
        hidden = torch.relu(getattr(self, f"z{k}_to_f{k}_fc1")(z))
        dropped = getattr(self, f"z{k}_to_f{k}_dropout")(hidden)
        return torch.relu(getattr(self, f"z{k}_to_f{k}_fc2")(dropped))


def reconstruction(generated: Tensor, x: Tensor) -> Tensor:
    """(T, B, D), (B, T, D) -> (): the mean squared error over every element, padding included."""
    return F.mse_loss(generated, x.transpose(0, 1))


def maximum_mean_discrepancy(z: Tensor, draw: Tensor) -> Tensor:
    """(B, D), normal samples (B, D) -> (): the biased MMD under exp(-|x - y|^2 / D^2), pairs with themselves included.

    The width is divided out twice, as the reference does: once by the mean over features, once more by D.
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        square = (x.unsqueeze(1) - y.unsqueeze(0)).square().mean(2) / x.shape[1]
        return torch.exp(-square).mean()

    return kernel(draw, draw) + kernel(z, z) - 2.0 * kernel(draw, z)
