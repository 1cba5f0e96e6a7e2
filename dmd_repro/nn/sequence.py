"""Attention of plain systems: (B, T, d), dropout as modules, computed without a matrix of weights in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention; the dropout is on what it returns, not on its weights."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.drop = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, Tq, d), (B, Tk, d), true source steps (B, Tk) -> (B, Tq, d)."""

        def split(x: Tensor) -> Tensor:
            return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

        mask = None if valid is None else valid[:, None, None, :]
        read = F.scaled_dot_product_attention(split(self.q(target)), split(self.k(source)), split(self.v(source)), mask)
        out: Tensor = self.drop(self.out(read.transpose(1, 2).flatten(2)))
        return out


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
