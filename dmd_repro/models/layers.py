"""Layers with a leading group axis G = S * E: S stacked seeds times E maps of one shape, as one batched product.

Every parameter is stored as (S, E, ...). Each (seed, map) slice has the name the authors' code gives it and is
initialised from that name and that seed alone, so neither a mask, nor a neighbour, nor a stack moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod, sqrt
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.seeds import seed_for

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Uniform:
    """Initialise from the uniform distribution on [-bound, bound]."""

    bound: float


@dataclass(frozen=True, slots=True)
class Constant:
    """Initialise every element to one value."""

    value: float


def made_once(size: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function of plain values returns. Whoever asks first, its tensors serve training too.

    Made under `torch.inference_mode`, as an evaluation would, they could not be saved for a backward pass.
    """

    def keep(function: Callable[P, T]) -> Callable[P, T]:
        return lru_cache(maxsize=size)(torch.inference_mode(mode=False)(function))  # type: ignore[return-value]

    return keep


@made_once(256)
def positions(places: tuple[int, ...], device: torch.device) -> Tensor:
    """Return an index on the device, made once: a list would be copied there at every step; no capture allows that."""
    return torch.tensor(places, device=device)


class Layer(nn.Module):
    """Base of the layers that own parameters: E names, and for each parameter its initialisation."""

    def __init__(self, names: Sequence[str], stack: int, separator: str = ".") -> None:
        super().__init__()
        self.names = tuple(names)
        self.stack = stack
        self.separator = separator
        self.inits: dict[str, Uniform | Constant] = {}

    def add(self, local: str, shape: Sequence[int], init: Uniform | Constant) -> None:
        """Register a parameter of shape (S, E, *shape)."""
        self.register_parameter(local, nn.Parameter(torch.empty(self.stack, len(self.names), *shape)))
        self.inits[local] = init

    def group(self, local: str, members: Sequence[int] | None) -> Tensor:
        """Return a parameter as (G, *shape), all maps or the chosen members of the E axis."""
        p: Tensor = getattr(self, local)
        if members is not None and len(members) != p.shape[1]:
            p = p.index_select(1, positions(tuple(members), p.device))
        return p.flatten(0, 1)


def named_slices(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, int]]:
    """Yield (the authors' name, parameter, position on its E axis) for every single map of a model."""
    for layer in module.modules():
        if isinstance(layer, Layer):
            for local in layer.inits:
                for e, name in enumerate(layer.names):
                    yield f"{name}{layer.separator}{local}", getattr(layer, local), e


def initialise(module: nn.Module, seeds: Sequence[int]) -> None:
    """Fill every parameter, each slice from its own stream `seed_for(seed, "init", name)`."""
    with torch.no_grad():
        for layer in module.modules():
            if not isinstance(layer, Layer):
                continue
            for local, init in layer.inits.items():
                p = getattr(layer, local)
                if isinstance(init, Constant):
                    p.fill_(init.value)
                    continue
                for e, name in enumerate(layer.names):
                    for s, seed in enumerate(seeds):
                        stream = torch.Generator().manual_seed(
                            seed_for(seed, "init", f"{name}{layer.separator}{local}")
                        )
                        p[s, e].copy_(torch.empty(p.shape[2:]).uniform_(-init.bound, init.bound, generator=stream))


class Linear(Layer):
    """E linear maps of one shape: (G, ..., n_in) -> (G, ..., n_out), G = S * E."""

    def __init__(
        self,
        names: Sequence[str],
        n_in: int,
        n_out: int,
        *,
        stack: int,
        bias: bool = True,
        xavier: bool = False,
        separator: str = ".",
        kernel: int = 0,
    ) -> None:
        """`xavier`: xavier-uniform weights and zero biases (the encoders); else PyTorch's default for nn.Linear.

        `kernel` > 0 stores the weight of a Conv1d, (n_out, n_in, kernel), read as the same linear map of its windows.
        """
        super().__init__(names, stack, separator)
        fan_in = n_in * max(kernel, 1)
        bound = sqrt(6 / (n_in + n_out)) if xavier else 1 / sqrt(fan_in)
        self.add("weight", (n_out, n_in, kernel) if kernel else (n_out, n_in), Uniform(bound))
        self.has_bias = bias
        if bias:
            self.add("bias", (n_out,), Constant(0.0) if xavier else Uniform(bound))

    def forward(self, x: Tensor, members: Sequence[int] | None = None, *, relu: bool = False) -> Tensor:
        """Apply map g to x[g], and a ReLU where asked."""
        weight = self.group("weight", members).flatten(2)
        return affine(x, weight, self.group("bias", members) if self.has_bias else None, relu=relu)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool = False, add: Tensor | None = None) -> Tensor:
    """(G, ..., i), (G, o, i), (G, o) -> (G, ..., o) as one batched product, a ReLU or `add` (G, ..., o) with it."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])  # (G, N, i)
    turned = weight.transpose(1, 2)
    if bias is None:
        out = torch.bmm(flat, turned)
    elif add is None:
        out = torch.baddbmm(bias.unsqueeze(1), flat, turned)
    else:
        out = torch.baddbmm(add.reshape(add.shape[0], -1, add.shape[-1]), flat, turned).add_(bias.unsqueeze(1))
    return (torch.relu_(out) if relu else out).view(*x.shape[:-1], weight.shape[1])


class _FeedForward(torch.autograd.Function):
    """Linear, ReLU, Linear; the widest tensor's gradient goes through the ReLU in place, which autograd would copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, add: Tensor) -> Tensor:
        hidden = torch.baddbmm(b1.unsqueeze(1), x, w1.transpose(1, 2)).relu_()
        ctx.save_for_backward(x, hidden, w1, w2)
        return torch.baddbmm(add, hidden, w2.transpose(1, 2)).add_(b2.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (x, hidden, w1, w2), out = ctx.saved_tensors, grads[0]
        inner = torch.bmm(out, w2)
        torch.ops.aten.threshold_backward.grad_input(inner, hidden, 0, grad_input=inner)
        turned = inner.transpose(1, 2)
        return (
            torch.bmm(inner, w1), torch.bmm(turned, x), inner.sum(1), torch.bmm(out.transpose(1, 2), hidden),
            out.sum(1), out,
        )  # fmt: skip


def feed_forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *, add: Tensor) -> Tensor:
    """(G, ..., i) -> (G, ..., o): two linear maps with a ReLU between them, and `add` (G, ..., o)."""
    flat = [t.reshape(t.shape[0], -1, t.shape[-1]) for t in (x, add)]
    return _FeedForward.apply(flat[0], w1, b1, w2, b2, flat[1]).view(add.shape)


def normalise(x: Tensor) -> Tensor:
    """(..., d) -> the same shape: a LayerNorm without its scale and shift."""
    return F.layer_norm(x, x.shape[-1:])


def folded(norm: LayerNorm, linear: Linear, members: Sequence[int] | None) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the linear map that takes `normalise(x)` to `linear(norm(x))`.

    Scale and shift go into the map, where they cost a product of parameters instead of a pass over every step.
    """
    weight = linear.group("weight", members)
    shift = torch.bmm(weight, norm.group("bias", members).unsqueeze(2)).squeeze(2)
    return weight * norm.group("weight", members).unsqueeze(1), linear.group("bias", members) + shift


class Conv1d(Linear):
    """E temporal convolutions without bias: (G, B, T, D) -> (G, B, T', d), T' = T - kernel + 1, or T with `same`.

    A padded step that is exactly zero under the whole window stays exactly zero, as in the authors' code.
    """

    def __init__(
        self, names: Sequence[str], n_in: int, n_out: int, *, kernel: int, stack: int, same: bool = False
    ) -> None:
        """`same` adds zero steps at both ends, so that the length is kept."""
        super().__init__(names, n_in, n_out, stack=stack, bias=False, kernel=kernel)
        self.kernel, self.same = kernel, same

    def forward(self, x: Tensor, members: Sequence[int] | None = None, *, relu: bool = False) -> Tensor:
        """Apply convolution g to x[g]."""
        if self.kernel > 1:
            if self.same:
                x = F.pad(x, (0, 0, (self.kernel - 1) // 2, self.kernel // 2))
            x = x.unfold(2, self.kernel, 1).flatten(3)  # (G, B, T', D * kernel), channel-major like the weight
        return super().forward(x, members, relu=relu)


class LayerNorm(Layer):
    """E layer normalisations over the last axis, eps 1e-5."""

    def __init__(self, names: Sequence[str], width: int, *, stack: int) -> None:
        super().__init__(names, stack)
        self.width = width
        self.add("weight", (width,), Constant(1.0))
        self.add("bias", (width,), Constant(0.0))

    def forward(self, x: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """(G, ..., width) -> the same shape."""
        shape = (x.shape[0], *([1] * (x.dim() - 2)), self.width)
        weight, bias = self.group("weight", members).view(shape), self.group("bias", members).view(shape)
        return torch.addcmul(bias, F.layer_norm(x, (self.width,)), weight)


NOISE = 1 << 20  # 32-bit words every mask is cut from, mixed with the keys of its draw
KEYS = 512  # keys of draws that are made at a time


@made_once(8)
def noise(device: torch.device) -> Tensor:
    """Return (NOISE,) int32, random and the same on every machine: what the keys of a draw are mixed into."""
    drawn = np.random.Generator(np.random.PCG64(NOISE)).integers(-(2**31), 2**31, NOISE, dtype=np.int32)
    return torch.from_numpy(drawn).to(device)


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
        starts = [seed_for(seed, "dropout", epoch) for seed, epoch in zip(self.seeds, epochs, strict=True)]
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
        keys = self.take(max(1, -(-n // (2 * NOISE))))
        pieces = [draw_lanes(keys[:, i], min(2 * NOISE, n - 2 * NOISE * i)) for i in range(keys.shape[1])]
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)).view(-1, *shape)

    def keep(self, shape: Sequence[int], rates: Tensor | float, like: Tensor) -> Tensor:
        """Return a scaled keep-mask of shape (S, *shape): 0 with probability `rates`, else 1 / (1 - rate).

        `rates` is a number or a tensor that broadcasts against (S, *shape); a rate is met to 1/65536.
        """
        lanes = self.lanes(shape)
        if isinstance(rates, Tensor):
            threshold = (rates * 65536).round().to(torch.int32) - 32768
            return (lanes >= threshold).to(like.dtype) / (1 - rates)
        kept = torch.ge(lanes, lane_threshold(rates), out=like.new_empty(lanes.shape))
        return kept.mul_(1 / (1 - rates))


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
        shape = (x.shape[0] // stack, *x.shape[1:])
        return x * self.stream.keep(shape, self.rate, x).view(x.shape)
