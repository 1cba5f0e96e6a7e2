"""Attention of plain systems: (B, T, d), dropout as modules, computed without a matrix of weights in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn import compiled
from dmd_repro.nn.compiled import attention as compiled_attention


class Attention(nn.Module):
    """Multi-head attention; the dropout is on what it returns, not on its weights."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.drop = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, Tq, d), (B, Tk, d), true source steps (B, Tk) -> (B, Tq, d)."""

        out: Tensor = self.drop(self.out(self._read(self.q(target), self.k(source), self.v(source), valid)))
        return out

    def _read(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None) -> Tensor:
        """Return what each query reads of the values, (B, Tq, d)."""
        width = q.shape[2] // self.heads
        library = compiled.compiled_kernels(q)
        if library is not None and valid is None and compiled_attention.fits(width, None):
            q, k, v = (x.unsqueeze(0) for x in (q * width**-0.5, k, v))
            return compiled_attention.attention(
                library, q, k, v, heads=self.heads, encoders=1, offset=None, bias=None, masks=None
            )[0]

        def split(x: Tensor) -> Tensor:
            return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

        mask = None if valid is None else valid[:, None, None, :]
        return F.scaled_dot_product_attention(split(q), split(k), split(v), mask).transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two linear maps, 4d between, with ReLU."""

    def __init__(self, d: int, relu_dropout: float, res_dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.drop_inner, self.drop = nn.Dropout(relu_dropout), nn.Dropout(res_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> the same shape."""
        out: Tensor = self.drop(self.fc2(self.drop_inner(torch.relu(self.fc1(x)))))
        return out


class SelfLayer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, d: int, heads: int, *, attention: float, relu: float, residual: float) -> None:
        """The dropout rates of attention, behind ReLU and before each sum."""
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attend, self.feed = Attention(d, heads, attention), FeedForward(d, relu, residual)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, T, d), true steps (B, T) -> (B, T, d)."""
        normed = self.norm1(x)
        x = x + self.attend(normed, normed, valid)
        out: Tensor = x + self.feed(self.norm2(x))
        return out

    def last_step(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, d): the last step alone, which is all that a prediction from it needs of a last layer."""
        normed = self.norm1(x)
        last = x[:, -1:] + self.attend(normed[:, -1:], normed)
        out: Tensor = (last + self.feed(self.norm2(last)))[:, 0]
        return out
