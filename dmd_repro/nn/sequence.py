"""Layers of plain systems: (B, T, d), dropout as modules, attention without a matrix of weights in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn import compiled
from dmd_repro.nn.compiled import attention as compiled_attention
from dmd_repro.nn.compiled import layer as compiled_layer
from dmd_repro.nn.dropout import StreamDropout


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

    def in_lanes(
        self, library: compiled.Library, x: Tensor, source: Tensor | None, norm: nn.LayerNorm, steps: tuple[int, int]
    ) -> Tensor:
        """What `forward` makes of norm(x) and norm(source), by compiled code and before dropout: (1, B, d, Tq filled).

        In lanes: x as it is, `source` normalised without scale and shift, None for x. `steps`: of x and source.
        """
        parameters = [p.unsqueeze(0) for p in self.parameters_in(norm)]
        return compiled_layer.attend(library, x, source, parameters, heads=self.heads, queries=steps[0], keys=steps[1])

    def parameters_in(self, norm: nn.LayerNorm) -> tuple[Tensor, ...]:
        """Return what compiled code reads of it behind a LayerNorm: the first half of a layer's."""
        maps = [torch.cat([getattr(one, name) for one in (self.q, self.k, self.v)]) for name in ("weight", "bias")]
        return norm.weight, norm.bias, *maps, self.out.weight, self.out.bias


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

    def parameters_in(self, norm: nn.LayerNorm) -> tuple[Tensor, ...]:
        """Return what compiled code reads of it behind a LayerNorm: the second half of a layer's."""
        return norm.weight, norm.bias, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias


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

    def _compiled(self, x: Tensor) -> compiled.Library | None:
        """Return the compiled kernels if they compute this layer, without padding, on (B, T, d)."""
        return kernels(x, self._drops(), self.attend.heads)

    def _drops(self) -> tuple[nn.Module, ...]:
        return self.attend.drop, self.feed.drop_inner, self.feed.drop

    def in_lanes(self, library: compiled.Library, x: Tensor, steps: int) -> Tensor:
        """`forward` by compiled code, on activations in lanes: (1, B, d, T filled) -> the same shape."""
        parameters = (*self.attend.parameters_in(self.norm1), *self.feed.parameters_in(self.norm2))
        drops = _drawn(self._drops(), x.shape[1] * steps * x.shape[2])
        return compiled_layer.layer(
            library, x, None, [p.unsqueeze(0) for p in parameters], heads=self.attend.heads, queries=steps, keys=steps,
            offset=None, encoders=1, bias=None, masks=None, drops=drops,
        )  # fmt: skip


def kernels(x: Tensor, drops: Sequence[nn.Module | None], heads: int = 0) -> compiled.Library | None:
    """Return the compiled kernels if they compute with (B, T, d), and a run's stream serves what dropout draws.

    `heads` of attention, if there is any.
    """
    if any(isinstance(drop, nn.Dropout) and drop.training and drop.p > 0 for drop in drops):
        return None  # torch's own generator draws
    return compiled.compiled_kernels(x) if not heads or compiled.fits(x.shape[2] // heads, None) else None


def _drawn(drops: Sequence[nn.Module | None], n: int) -> compiled_layer.MapDrops | None:
    """Take the draws of three dropouts behind maps from the run's stream; n elements behind the first."""
    served = [drop.inner if isinstance(drop, StreamDropout) else None for drop in drops]
    streams = [drop.stream for drop in served if drop is not None]
    rates = [drop.rate if drop is not None and drop.active else 0.0 for drop in served]
    return compiled_layer.MapDrops.drawn(streams[0], n, rates) if streams else None


def add_and_feed(
    x: Tensor, read: Tensor | None, *, drop: nn.Module | None, norm: nn.LayerNorm, feed: FeedForward
) -> Tensor:
    """(B, T, d) -> y + feed(norm(y)) with y = x + drop(read); None: without dropout, without anything read."""
    library = kernels(x, (drop, feed.drop_inner, feed.drop))
    if library is None:
        if read is not None:
            x = x + (read if drop is None else drop(read))
        out: Tensor = x + feed(norm(x))
        return out
    lanes = [None if t is None else compiled.to_lanes(library, t.unsqueeze(0)) for t in (x, read)]
    assert lanes[0] is not None
    return feed_lanes(library, lanes[0], lanes[1], x.shape[1], drop=drop, norm=norm, feed=feed)


def feed_lanes(
    library: compiled.Library, x: Tensor, read: Tensor | None, steps: int, *, drop: nn.Module | None,
    norm: nn.LayerNorm, feed: FeedForward,
) -> Tensor:  # fmt: skip
    """`add_and_feed` by compiled code, of activations in lanes: (1, B, d, T filled) -> (B, T, d)."""
    drops = _drawn((drop, feed.drop_inner, feed.drop), x.shape[1] * steps * x.shape[2])
    parameters = [p.unsqueeze(0) for p in feed.parameters_in(norm)]
    out = compiled_layer.feed(library, x, read, parameters, steps=steps, drops=drops)
    return compiled.from_lanes(library, out, steps)[0]


def through(layers: Sequence[SelfLayer], x: Tensor) -> Tensor:
    """(B, T, d) -> (B, T, d) behind all layers: compiled ones hand activations on as they compute with them."""
    library = layers[0]._compiled(x) if layers else None
    if library is None or any(layer._compiled(x) is None for layer in layers):
        for layer in layers:
            x = layer(x)
        return x
    steps = x.shape[1]
    x = compiled.to_lanes(library, x.unsqueeze(0))
    for layer in layers:
        x = layer.in_lanes(library, x, steps)
    return compiled.from_lanes(library, x, steps)[0]
