"""Dropout masks as a function of seed, epoch, step and place: the same bits on every device, drawn again at will.

A place is counted within the batch as it is computed, so a batch that is cut (`training/feed.py`) has other masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.nn.kernels import gpu_kernels
from dmd_repro.nn.once import made_once
from dmd_repro.seeds import seed_for

NOISE = 1 << 20  # 32-bit words every mask is cut from, mixed with the keys of its draw
KEYS = 512  # keys of draws that are made at a time


@made_once(8)
def noise(device: torch.device) -> Tensor:
    """Return (NOISE,) int32, random and the same on every machine: what the keys of a draw are mixed into."""
    drawn = np.random.Generator(np.random.PCG64(NOISE)).integers(-(2**31), 2**31, NOISE, dtype=np.int32)
    return torch.from_numpy(drawn).to(device)


@made_once(1)
def noise_and_more() -> Tensor:
    """Return `noise` on a CPU, with 64 words behind it that compiled code may read and never uses."""
    return torch.cat([noise(torch.device("cpu")), torch.zeros(64, dtype=torch.int32)])


def _mixed(x: Tensor) -> Tensor:
    """Scramble int64 (the finalizer of splitmix64, its shifts filled with the sign): neighbours become unrelated."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ (x >> shift)) * factor
    return x ^ (x >> 31)


def draw_lanes(keys: Tensor, n: int) -> Tensor:
    """Return n uniform int16 for the keys of one draw, (..., 2) int32 -> (..., n): two lanes of each mixed word.

    Counter-based: equal keys give equal lanes on every device, so a backward pass draws a mask again instead of
    keeping it, and a captured GPU graph needs no generator. `n` is at most 2 * NOISE.
    """
    words = noise(keys.device)[: (n + 1) // 2]
    x = words ^ keys[..., :1]
    x *= keys[..., 1:] | 1
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= 0x2C1B3C6D
    return x.view(torch.int16)[..., :n]


class DropoutStream:
    """The one source of dropout masks of a model: a stream per seed, restarted at every epoch and every step.

    A mask depends on its seed, epoch, step and place in the step alone, so a stacked seed draws what it would alone.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)
        self.restart([0] * len(self.seeds), torch.device("cpu"))

    def restart(self, epochs: Sequence[int], device: torch.device) -> None:
        """Begin the streams of an epoch, one for each seed: what a resumed run needs instead of a saved generator."""
        self._start([seed_for(seed, "dropout", epoch) for seed, epoch in zip(self.seeds, epochs, strict=True)], device)

    def restart_split(self, split: str, device: torch.device) -> None:
        """Begin the streams of a split that is predicted: what is drawn in evaluation is of seed, split and batch."""
        self._start([seed_for(seed, "evaluation", split) for seed in self.seeds], device)

    def _start(self, starts: Sequence[int], device: torch.device) -> None:
        self.starts = torch.tensor(starts, dtype=torch.int64, device=device)
        self.begin(0)

    def begin(self, step: int | Tensor) -> None:
        """Begin the draws of a step; on a GPU its number may be a tensor, so that a captured step draws anew."""
        number = torch.as_tensor(step, dtype=torch.int64, device=self.starts.device)
        self.step = _mixed(self.starts ^ _mixed(number + 1))  # (S,)
        self.drawn = self.made = 0

    def take(self, count: int) -> Tensor:
        """Return the keys of the next `count` draws, (S, count, 2) int32."""
        if self.drawn + count > self.made:
            places = torch.arange(self.drawn, self.drawn + max(count, KEYS), device=self.step.device)
            self.table = _mixed(self.step.unsqueeze(1) ^ _mixed(places + 1)).view(torch.int32)
            self.table = self.table.view(len(self.seeds), -1, 2)
            self.first, self.made = self.drawn, self.drawn + max(count, KEYS)
        at = self.drawn - self.first
        self.drawn += count
        return self.table[:, at : at + count]

    def lanes(self, shape: Sequence[int]) -> Tensor:
        """Return uniform int16 of shape (S, *shape)."""
        n = prod(shape)
        keys = self.take(draws_of(n))
        pieces = [draw_lanes(keys[:, i], min(2 * NOISE, n - 2 * NOISE * i)) for i in range(keys.shape[1])]
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)).view(-1, *shape)

    def normals(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return (S, *shape) samples of the standard normal distribution, of the type and on the device of `like`.

        Keyed as the masks are, by seed, epoch, step and place in the step: equal on every machine up to the rounding of
        its logarithm and cosine.
        """
        n = prod(shape)
        first, second = (self._uniform(n) for _ in range(2))
        drawn = (-2.0 * first.log()).sqrt() * (2.0 * math.pi * second).cos()
        return drawn.to(like.dtype).view(-1, *shape)

    def _uniform(self, n: int) -> Tensor:
        """Return (S, n) float64 in (0, 1), of 32 random bits each."""
        words = self.lanes((2 * n,)).view(torch.int32).to(torch.float64)
        return (words + 2.0**31 + 0.5) / 2.0**32

    def keep(self, shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
        """Return a scaled keep-mask (S, *shape): 0 with probability `rate` (met to 1/65536), else 1 / (1 - rate)."""
        lanes = self.lanes(shape)
        return torch.ge(lanes, lane_threshold(rate), out=like.new_empty(lanes.shape)).mul_(1 / (1 - rate))


def draws_of(n: int) -> int:
    """Return how many draws mask n elements."""
    return max(1, -(-n // (2 * NOISE)))


def lane_threshold(rate: float) -> int:
    """Return the least lane that is kept under a dropout rate."""
    return round(rate * 65536) - 32768


class Dropout(nn.Module):
    """Element-wise dropout at one rate on (S, ...) or (S * E, ...), drawing from the model's stream."""

    def __init__(self, rate: float, stream: DropoutStream) -> None:
        super().__init__()
        self.rate = rate
        self.stream = stream

    @property
    def active(self) -> bool:
        """Whether a forward pass draws at all."""
        return self.training and self.rate > 0

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped and the rest scaled; x itself in evaluation or at rate 0."""
        if not self.active:
            return x
        stack = len(self.stream.seeds)
        kernels = gpu_kernels(x.device)
        if kernels is not None and x.dtype != torch.float64:
            keys = self.stream.take(draws_of(x.numel() // stack))
            return kernels.dropout(x, keys, noise(x.device), lane_threshold(self.rate), 1 / (1 - self.rate))
        shape = (x.shape[0] // stack, *x.shape[1:])
        return x * self.stream.keep(shape, self.rate, x).view(x.shape)


class StreamDropout(nn.Module):
    """`nn.Dropout` with its masks from the run's stream: (B, ...) -> the same shape."""

    def __init__(self, rate: float, stream: DropoutStream) -> None:
        super().__init__()
        self.inner = Dropout(rate, stream)

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements in training."""
        out: Tensor = self.inner(x.unsqueeze(0)).squeeze(0)
        return out
