"""Passes over activations as one GPU kernel each (Triton): a LayerNorm without scale and shift, and dropout."""

# Kernels are typed by Triton, at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dmd_repro.nn.kernels.attention_kernels import kept
from dmd_repro.nn.kernels.watch import did

EPS = 1e-5  # of torch's layer_norm
AT_ONCE = 1024  # elements of one program


@triton.jit(do_not_specialize=["n"])
def _normalise(x, y, rate, n, W: tl.constexpr, WIDE: tl.constexpr, R: tl.constexpr, EPS: tl.constexpr):
    """Rows (n, W) to mean 0 and variance 1; `rate` keeps 1 / sqrt(variance + eps)."""
    row, c = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, WIDE)
    ok = (row < n)[:, None] & (c < W)[None, :]
    at = row.to(tl.int64)[:, None] * W + c[None, :]
    value = tl.load(x + at, mask=ok, other=0.0).to(tl.float32)
    apart = tl.where(ok, value - (tl.sum(value, 1) / W)[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(apart * apart, 1) / W + EPS)
    tl.store(y + at, (apart * scale[:, None]).to(y.dtype.element_ty), mask=ok)
    tl.store(rate + row, scale, mask=row < n)


@triton.jit(do_not_specialize=["n"])
def _normalise_back(y, rate, grad, dx, n, W: tl.constexpr, WIDE: tl.constexpr, R: tl.constexpr):
    row, c = tl.program_id(0) * R + tl.arange(0, R), tl.arange(0, WIDE)
    ok = (row < n)[:, None] & (c < W)[None, :]
    at = row.to(tl.int64)[:, None] * W + c[None, :]
    value = tl.load(y + at, mask=ok, other=0.0).to(tl.float32)
    slope = tl.load(grad + at, mask=ok, other=0.0).to(tl.float32)
    along = tl.sum(slope * value, 1) / W
    back = slope - (tl.sum(slope, 1) / W)[:, None] - value * along[:, None]
    scale = tl.load(rate + row, mask=row < n, other=0.0)
    tl.store(dx + at, (back * scale[:, None]).to(dx.dtype.element_ty), mask=ok)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y, n = torch.empty_like(x), x.numel() // x.shape[-1]
        rate = torch.empty(n, dtype=torch.float32, device=x.device)
        _normalise[(triton.cdiv(n, _rows_of(x)),)](x, y, rate, n, **_flags(x), EPS=EPS)
        did(0, x, y, rate)
        ctx.save_for_backward(y, rate)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        y, rate = ctx.saved_tensors
        dx, grad = torch.empty_like(y), grads[0].contiguous()
        _normalise_back[(triton.cdiv(len(rate), _rows_of(y)),)](y, rate, grad, dx, len(rate), **_flags(y))
        did(0, y, rate, grad, dx)
        return dx


def _rows_of(x: Tensor) -> int:
    return max(1, 2 * AT_ONCE // triton.next_power_of_2(x.shape[-1]))


def _flags(x: Tensor) -> dict[str, int]:
    return {"W": x.shape[-1], "WIDE": triton.next_power_of_2(x.shape[-1]), "R": _rows_of(x)}


def normalise(x: Tensor) -> Tensor:
    """(..., d) -> the same shape: a LayerNorm without its scale and shift."""
    done: Tensor = _Normalised.apply(x)
    return done


@triton.jit(do_not_specialize=["n", "of_seed", "most", "least"])
def _dropout(x, y, keys, noise, n, of_seed, most, least, scale, BLOCK: tl.constexpr):
    """Drop elements of (S, n); a draw masks at most `most` of them."""
    seed, at = tl.program_id(1), tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    draw = keys + seed * of_seed + 2 * (at // most)
    inside = at < n
    low, high = tl.load(draw, mask=inside, other=0), tl.load(draw + 1, mask=inside, other=0)
    keep = kept((at % most).to(tl.int32), low, high, noise, inside, least)
    value = tl.load(x + seed.to(tl.int64) * n + at, mask=inside, other=0.0)
    tl.store(y + seed.to(tl.int64) * n + at, tl.where(keep, value * scale, 0.0).to(y.dtype.element_ty), mask=inside)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keys: Tensor, noise: Tensor, least: int, scale: float) -> Tensor:
        ctx.save_for_backward(keys, noise)
        ctx.how = least, scale
        return _masked(x, keys, noise, least, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _masked(grads[0], *ctx.saved_tensors, *ctx.how), None, None, None, None


def _masked(x: Tensor, keys: Tensor, noise: Tensor, least: int, scale: float) -> Tensor:
    x = x.contiguous()
    y, n = torch.empty_like(x), x.numel() // len(keys)
    grid = (triton.cdiv(n, AT_ONCE), len(keys))
    _dropout[grid](x, y, keys, noise, n, keys.stride(0), 2 * len(noise), least, scale, BLOCK=AT_ONCE)
    did(0, x, y)
    return y


def dropout(x: Tensor, keys: Tensor, noise: Tensor, least: int, scale: float) -> Tensor:
    """Drop elements of x (S * ..., ...), seed after seed, by the keys of S streams (S, draws, 2) int32.

    `least` is the least lane that is kept, `scale` what is kept is multiplied by.
    """
    done: Tensor = _Dropped.apply(x, keys, noise, least, scale)
    return done
