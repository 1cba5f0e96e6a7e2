"""Layers with a leading group axis G = S * E: S stacked seeds times E maps of one shape, as one batched product.

Every parameter is stored as (S, E, ...). Each (seed, map) slice has the name the authors' code gives it and is
initialised from that name and that seed alone, so neither a mask, nor a neighbour, nor a stack moves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn.kernels import gpu_kernels
from dmd_repro.seeds import seed_for

FULL = 0.8  # share of threads that `product` wants busy
FEW, MANY, PIECES = 64, 2048, 16  # of `outer`: products in a batch, summands of each, pieces they are cut into


@dataclass(frozen=True, slots=True)
class Uniform:
    """Initialise from the uniform distribution on [-bound, bound]."""

    bound: float


@dataclass(frozen=True, slots=True)
class Constant:
    """Initialise every element to one value."""

    value: float


class Members:
    """Some of the E maps of a layer. Those of one pass share `pieces`, so that each parameter is taken apart once.

    An index would do, but its gradient costs a GPU a sort and a dozen launches for every parameter.
    """

    def __init__(self, places: Sequence[int], pieces: dict[int, tuple[Tensor, ...]]) -> None:
        self.places, self.pieces = tuple(places), pieces

    def of(self, p: Tensor) -> Tensor:
        """(S, E, ...) -> (G, ...): the maps at these places, seed by seed."""
        if len(self.places) == p.shape[1]:
            return p.flatten(0, 1)
        pieces = self.pieces.get(id(p)) or self.pieces.setdefault(id(p), p.unbind(1))
        if len(self.places) == 1:
            return pieces[self.places[0]]
        return torch.stack([pieces[e] for e in self.places], dim=1).flatten(0, 1)


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

    def group(self, local: str, members: Members | None) -> Tensor:
        """Return a parameter as (G, *shape), all maps or the chosen members of the E axis."""
        p: Tensor = getattr(self, local)
        return p.flatten(0, 1) if members is None else members.of(p)


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

    def forward(self, x: Tensor, members: Members | None = None, *, relu: bool = False) -> Tensor:
        """Apply map g to x[g], and a ReLU where asked."""
        weight = self.group("weight", members).flatten(2)
        return affine(x, weight, self.group("bias", members) if self.has_bias else None, relu=relu)


def on_gpu(x: Tensor) -> bool:
    """Tell whether products of a tensor are a GPU's."""
    return x.is_cuda


def product(a: Tensor, b: Tensor, add: Tensor | None = None) -> Tensor:
    """(G, n, k), (G, k, m) -> (G, n, m), plus `add` (G, n or 1, m); no gradient of its own.

    A CPU shares the G products out among its threads: three for two leave one idle for a quarter of the time. Such few
    go one by one, all threads at each.
    """
    g, threads = a.shape[0], torch.get_num_threads()
    if on_gpu(a) or g == 1 or g >= FULL * threads * -(-g // threads):
        return torch.bmm(a, b) if add is None else torch.baddbmm(add, a, b)
    out = a.new_empty(g, a.shape[1], b.shape[2])
    for i in range(g):
        torch.mm(a[i], b[i], out=out[i]) if add is None else torch.addmm(add[i], a[i], b[i], out=out[i])
    return out


class _Affine(torch.autograd.Function):
    """A linear map, a ReLU or a sum with it; only the gradients that are wanted are computed."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool
    ) -> Tensor:  # fmt: skip
        turned = weight.transpose(1, 2)
        if bias is None or add is None:
            out = product(x, turned, None if bias is None else bias.unsqueeze(1))
        else:
            out = product(x, turned, add).add_(bias.unsqueeze(1))
        if relu:
            out.relu_()
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight, reached), grad, wanted = ctx.saved_tensors, grads[0], ctx.needs_input_grad
        if reached is not None:
            grad = torch.ops.aten.threshold_backward(grad, reached, 0)
        return (
            product(grad, weight) if wanted[0] else None, outer(grad, x) if wanted[1] else None,
            grad.sum(1) if wanted[2] else None, grad if wanted[3] else None, None,
        )  # fmt: skip


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool = False, add: Tensor | None = None) -> Tensor:
    """(G, ..., i), (G, o, i), (G, o) -> (G, ..., o) as one batched product, a ReLU or `add` (G, ..., o) with it."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])  # (G, N, i)
    added = None if add is None else add.reshape(add.shape[0], -1, add.shape[-1])
    out: Tensor = _Affine.apply(flat, weight, bias, added, relu)
    return out.view(*x.shape[:-1], weight.shape[1])


def outer(grad: Tensor, x: Tensor) -> Tensor:
    """(G, N, o), (G, N, i) -> (G, o, i): the sum over N of outer products, the gradient of a weight.

    A sum of thousands for few small results keeps few of a GPU's processors busy: it is cut into 16 there.
    """
    g, n, _ = grad.shape
    if on_gpu(grad) and g < FEW and n >= MANY and n % PIECES == 0:
        cut = [t.reshape(g * PIECES, n // PIECES, -1) for t in (grad, x)]
        return torch.bmm(cut[0].transpose(1, 2), cut[1]).view(g, PIECES, grad.shape[2], -1).sum(1)
    return product(grad.transpose(1, 2), x)


class _FeedForward(torch.autograd.Function):
    """Linear, ReLU, Linear; the widest tensor's gradient goes through the ReLU in place, which autograd would copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, add: Tensor) -> Tensor:
        hidden = product(x, w1.transpose(1, 2), b1.unsqueeze(1)).relu_()
        ctx.save_for_backward(x, hidden, w1, w2)
        return product(hidden, w2.transpose(1, 2), add).add_(b2.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (x, hidden, w1, w2), out = ctx.saved_tensors, grads[0]
        inner = product(out, w2)
        torch.ops.aten.threshold_backward.grad_input(inner, hidden, 0, grad_input=inner)
        return (
            product(inner, w1), outer(inner, x), inner.sum(1), outer(out, hidden), out.sum(1), out
        )  # fmt: skip


def feed_forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *, add: Tensor) -> Tensor:
    """(G, ..., i) -> (G, ..., o): two linear maps with a ReLU between them, and `add` (G, ..., o)."""
    flat = [t.reshape(t.shape[0], -1, t.shape[-1]) for t in (x, add)]
    return _FeedForward.apply(flat[0], w1, b1, w2, b2, flat[1]).view(add.shape)


def normalise(x: Tensor) -> Tensor:
    """(..., d) -> the same shape: a LayerNorm without its scale and shift."""
    kernels = gpu_kernels(x.device)
    if kernels is not None and x.dtype != torch.float64:
        return kernels.normalise(x)
    return F.layer_norm(x, x.shape[-1:])


def folded(norm: LayerNorm, linear: Linear, members: Members | None) -> tuple[Tensor, Tensor]:
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

    def forward(self, x: Tensor, members: Members | None = None, *, relu: bool = False) -> Tensor:
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

    def forward(self, x: Tensor, members: Members | None = None) -> Tensor:
        """(G, ..., width) -> the same shape."""
        shape = (x.shape[0], *([1] * (x.dim() - 2)), self.width)
        weight, bias = self.group("weight", members).view(shape), self.group("bias", members).view(shape)
        return torch.addcmul(bias, normalise(x), weight)
