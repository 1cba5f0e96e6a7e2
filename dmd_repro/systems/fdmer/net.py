"""FDMER as we read its abstract: shared and private codes, a judge of modalities, attention over six tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn.encoder import position_table
from dmd_repro.nn.sequence import Attention, SelfLayer
from dmd_repro.shapes import MODALITIES


class Reversed(torch.autograd.Function):
    """Itself forward, its gradient times -1 backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the input."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Turn the gradient round."""
        return -grads[0]


class Disentangled(nn.Module):
    """Encoders of the sequences, of what modalities share and of what each has alone; the judge; the fusion."""

    def __init__(self, dims: Mapping[str, int], d: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.d = d
        rates = {"attention": dropout, "relu": dropout, "residual": dropout}
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], d) for m in MODALITIES})
        self.encode = nn.ModuleDict(
            {m: nn.ModuleList(SelfLayer(d, heads, **rates) for _ in range(layers)) for m in MODALITIES}
        )
        self.settle = nn.ModuleDict({m: nn.LayerNorm(d) for m in MODALITIES})  # raw acoustic scales saturate a sigmoid
        self.private = nn.ModuleDict({m: nn.Linear(d, d) for m in MODALITIES})
        self.common = nn.Linear(d, d)
        self.judge1, self.judge2, self.drop_judge = nn.Linear(d, d // 2), nn.Linear(d // 2, 3), nn.Dropout(dropout)
        self.attend, self.norm = Attention(d, heads, dropout), nn.LayerNorm(d)
        self.fuse1, self.fuse2, self.drop = nn.Linear(6 * d, 3 * d), nn.Linear(3 * d, 1), nn.Dropout(dropout)

    def judge(self, x: Tensor) -> Tensor:
        """(B, d) -> scores of the three modalities (B, 3)."""
        out: Tensor = self.judge2(self.drop_judge(torch.relu(self.judge1(x))))
        return out

    def forward(self, x: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (B, T, D_m) and true steps (B, T) to the prediction (B, 1), and the codes by name."""
        found: dict[str, Tensor] = {}
        for m in MODALITIES:
            h = self.project[m](x[m])
            h = h + position_table(h.shape[1], self.d, h.dtype, h.device)
            for layer in self.encode[m]:  # type: ignore[attr-defined]
                h = layer(h, valid[m])
            h = self.settle[m](h)
            weights = valid[m].unsqueeze(2).to(h.dtype)
            u = (h * weights).sum(1) / weights.sum(1)
            found[f"common_{m}"], found[f"private_{m}"] = (
                torch.sigmoid(self.common(u)),
                torch.sigmoid(self.private[m](u)),
            )
        tokens = torch.stack([found[f"{kind}_{m}"] for kind in ("private", "common") for m in MODALITIES], dim=1)
        fused = self.norm(tokens + self.attend(tokens, tokens)).flatten(1)
        out: Tensor = self.fuse2(self.drop(torch.relu(self.fuse1(fused))))
        return out, found

    def adversary(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Return the judge's cross entropy: on shared codes behind a reversed gradient, on private ones directly."""
        losses = []
        for place, m in enumerate(MODALITIES):
            for code in (Reversed.apply(codes[f"common_{m}"]), codes[f"private_{m}"]):
                target = torch.full((code.shape[0],), place, dtype=torch.long, device=code.device)
                losses.append(F.cross_entropy(self.judge(code), target))
        return torch.stack(losses).sum() / len(MODALITIES)


PAIRS = (("l", "a"), ("l", "v"), ("a", "v"))


def consistency(codes: Mapping[str, Tensor]) -> Tensor:
    """Return how far the clips' similarities in one modality's shared codes are from those in another's: ()."""
    unit = {m: F.normalize(codes[f"common_{m}"], dim=1) for m in MODALITIES}
    alike = {m: x @ x.T for m, x in unit.items()}
    clips = unit["l"].shape[0]
    return torch.stack([(alike[m] - alike[n]).square().sum() / clips**2 for m, n in PAIRS]).sum()


def independence(x: Tensor, y: Tensor) -> Tensor:
    """(B, d), (B, d) -> (): the Hilbert-Schmidt independence criterion with linear kernels; 0 of one clip.

    tr(R K_x R K_y) / (B - 1)^2 with R the centring is the squared norm of the two centred codes' product.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    return (x.T @ y).square().sum() / max(x.shape[0] - 1, 1) ** 2


def orthogonality(x: Tensor, y: Tensor) -> Tensor:
    """(B, d), (B, d) -> (): MISA's difference: centred codes of unit rows, the mean of their squared products."""
    x, y = (F.normalize(z - z.mean(0), dim=1) for z in (x, y))
    return (x.T @ y).square().mean()


def disparity(codes: Mapping[str, Tensor], kind: str) -> Tensor:
    """Return how much private codes tell of the shared ones of their modality and of each other: ()."""
    measure = independence if kind == "hsic" else orthogonality
    own = [measure(codes[f"common_{m}"], codes[f"private_{m}"]) for m in MODALITIES]
    return torch.stack([*own, *(measure(codes[f"private_{m}"], codes[f"private_{n}"]) for m, n in PAIRS)]).sum()
