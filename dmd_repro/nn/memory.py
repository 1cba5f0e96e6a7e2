"""The gated multi-view memory of MFN and Graph-MFN: one vector that every step may keep or rewrite."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class TwoLayerMaps(nn.Module):
    """A module that owns nets of two linear maps under the references' names: `NAME_fc1`, `NAME_fc2`."""

    def add_maps(self, name: str, n_in: int, hidden: int, n_out: int, dropout: float) -> None:
        """Register a net n_in -> hidden -> n_out with ReLU and dropout between its maps."""
        self.add_module(f"{name}_fc1", nn.Linear(n_in, hidden))
        self.add_module(f"{name}_fc2", nn.Linear(hidden, n_out))
        self.add_module(f"{name}_dropout", nn.Dropout(dropout))

    def maps(self, name: str, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out); no activation behind the second map."""
        hidden = torch.relu(getattr(self, f"{name}_fc1")(x))
        out: Tensor = getattr(self, f"{name}_fc2")(getattr(self, f"{name}_dropout")(hidden))
        return out


def run_memory(
    views: Tensor, proposals: Tensor, keep: Callable[[Tensor], Tensor], write: Callable[[Tensor], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the memory behind the last step (B, M), and what lies between by name, each (T, B, .).

    u_t = sigmoid(keep([view_t, u_t-1])) * u_t-1 + sigmoid(write([view_t, u_t-1])) * tanh(proposal_t), u_0 = 0; `views`
    (T, B, V), `proposals` (T, B, M) before the tanh. Source: MFN (test_mosi.py, class MFN); Graph-MFN in MMSA.
    """
    u = torch.zeros_like(proposals[0])
    between: dict[str, list[Tensor]] = {"both": [], "gamma1": [], "gamma2": []}
    for view, proposal in zip(views.unbind(0), torch.tanh(proposals).unbind(0), strict=True):
        both = torch.cat([view, u], dim=1)
        first, second = keep(both), write(both)
        u = torch.sigmoid(first) * u + torch.sigmoid(second) * proposal
        for name, value in (("both", both), ("gamma1", first), ("gamma2", second)):
            between[name].append(value)
    return u, {name: torch.stack(values) for name, values in between.items()}
