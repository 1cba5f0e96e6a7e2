"""PMR as we read it: a common message that reinforces each modality, and is made anew of the reinforced ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn import compiled
from dmd_repro.nn.encoder import position_table
from dmd_repro.nn.sequence import Attention, FeedForward, SelfLayer, add_and_feed, feed_lanes, kernels, through
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems.pmr.config import PMRConfig

MESSAGE = ("l", "v", "a")  # the order in time of the first message, and of what is read at the end
LEAST_READ_LAYERS = 3  # of the last encoder, as MulT's


class Reinforce(nn.Module):
    """A target that reads a source: filtered against what it reads of itself, or as in MulT's block."""

    def __init__(self, c: PMRConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c.d), nn.LayerNorm(c.d)
        self.across = Attention(c.d, c.heads, 0.0)
        self.feed, self.drop = FeedForward(c.d, c.relu_dropout, c.res_dropout), nn.Dropout(c.res_dropout)
        self.gated = c.unit == "gated"
        if self.gated:
            self.within, self.filter = Attention(c.d, c.heads, 0.0), nn.Linear(2 * c.d, c.d)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """(B, T, d), (B, T', d) -> (B, T, d)."""
        library = kernels(target, (self.drop, self.feed.drop_inner, self.feed.drop), self.across.heads)
        if library is not None:
            return self._in_lanes(library, target, source)
        t, s = self.norm1(target), self.norm1(source)
        read = self.across(t, s)
        if self.gated:
            own = self.within(t, t)
            share = torch.sigmoid(self.filter(torch.cat([read, own], dim=2)))
            read = share * read + (1 - share) * own
        return add_and_feed(target, read, drop=self.drop, norm=self.norm2, feed=self.feed)

    def _in_lanes(self, library: compiled.Library, target: Tensor, source: Tensor) -> Tensor:
        """`forward` by compiled code."""
        steps, d = (target.shape[1], source.shape[1]), target.shape[2]
        x = compiled.to_lanes(library, target.unsqueeze(0))
        s = compiled.to_lanes(library, F.layer_norm(source, (d,)).unsqueeze(0))
        read = self.across.in_lanes(library, x, s, self.norm1, steps)
        if self.gated:
            own = self.within.in_lanes(library, x, None, self.norm1, (steps[0], steps[0]))
            weight, bias = self.filter.weight, self.filter.bias.unsqueeze(1)
            read = torch.lerp(own, read, torch.sigmoid(weight[:, :d] @ read + weight[:, d:] @ own + bias))
        return feed_lanes(library, x, read, steps[0], drop=self.drop, norm=self.norm2, feed=self.feed)


class Update(nn.Module):
    """One message of three: weighed at every step and clip by a softmax over the modalities."""

    def __init__(self, c: PMRConfig) -> None:
        super().__init__()
        self.score1, self.score2 = nn.Linear(c.d, c.d), nn.Linear(c.d, 1, bias=False)
        self.norm, self.feed = nn.LayerNorm(c.d), FeedForward(c.d, c.relu_dropout, c.res_dropout)

    def forward(self, messages: Tensor) -> Tensor:
        """(B, 3, T, d) -> (B, T, d)."""
        shares = self.score2(torch.tanh(self.score1(messages))).softmax(1)
        return add_and_feed((shares * messages).sum(1), None, drop=None, norm=self.norm, feed=self.feed)


class Layer(nn.Module):
    """Message to modalities, modalities to message."""

    def __init__(self, c: PMRConfig) -> None:
        super().__init__()
        self.updated = c.source == "updated"
        self.to_modality = nn.ModuleDict({m: Reinforce(c) for m in MODALITIES})
        self.to_message = nn.ModuleDict({m: Reinforce(c) for m in MODALITIES})
        self.update = Update(c)

    def forward(self, z: Mapping[str, Tensor], message: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """l, a, v -> (B, T_m, d), and the message (B, T_l + T_v + T_a, d), to both anew."""
        new = {m: self.to_modality[m](z[m], message) for m in MODALITIES}
        read = new if self.updated else z
        return new, self.update(torch.stack([self.to_message[m](message, read[m]) for m in MODALITIES], dim=1))


class MessageNet(nn.Module):
    """Convolutions, layers, and an encoder over message and modalities whose last step predicts."""

    def __init__(self, dims: Mapping[str, int], c: PMRConfig) -> None:
        super().__init__()
        self.d = c.d
        self.project = nn.ModuleDict(
            {m: nn.Conv1d(dims[m], c.d, getattr(c, f"kernel_{m}"), bias=False) for m in MODALITIES}
        )
        self.drop_text, self.drop_embedded = nn.Dropout(c.embed_dropout), nn.Dropout(c.embed_dropout)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        rates = {"attention": c.res_dropout, "relu": c.relu_dropout, "residual": c.res_dropout}
        self.read = nn.ModuleList(SelfLayer(c.d, c.heads, **rates) for _ in range(max(c.layers, LEAST_READ_LAYERS)))
        self.norm = nn.LayerNorm(c.d)
        self.proj1, self.proj2, self.out = nn.Linear(c.d, c.d), nn.Linear(c.d, c.d), nn.Linear(c.d, 1)
        self.drop_out = nn.Dropout(c.output_dropout)

    def embed(self, x: Tensor) -> Tensor:
        """(B, T, d) -> the same, scaled and with positions, as MulT's encoders begin."""
        out: Tensor = self.drop_embedded(math.sqrt(self.d) * x + position_table(x.shape[1], self.d, x.dtype, x.device))
        return out

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1)."""
        z = {m: self.drop_text(x[m]) if m == "l" else x[m] for m in MODALITIES}
        z = {m: self.embed(self.project[m](z[m].transpose(1, 2)).transpose(1, 2)) for m in MODALITIES}
        message = torch.cat([z[m] for m in MESSAGE], dim=1)
        for layer in self.layers:
            z, message = layer(z, message)
        h = self.embed(torch.cat([message, *(z[m] for m in MESSAGE)], dim=1))
        h = through([cast(SelfLayer, layer) for layer in self.read[:-1]], h)
        last = self.norm(self.read[-1].last_step(h))  # type: ignore[operator]
        hidden = self.proj2(self.drop_out(torch.relu(self.proj1(last))))
        out: Tensor = self.out(hidden + last)
        return out
