"""Attention on a GPU: launches the kernels of `attention_kernels.py`, forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from dmd_repro.nn.kernels.attention_kernels import TILE, WARPS, attend, of_keys, of_queries
from dmd_repro.nn.kernels.watch import causal_pairs, did


class Masks(NamedTuple):
    """How dropout cuts the scores of one call into blocks: `models.attention.plan_cut`, as numbers."""

    keys: Tensor  # (S, draws, 2) int32, of one call
    noise: Tensor  # what keys are mixed into
    thresholds: Tensor  # (E,) int32: the least lane that is kept
    scales: Tensor  # (E,) of what is kept
    rows: int  # queries of a block
    step: int  # (clip, head) pairs of a block
    pieces: int  # blocks along the queries


class KernelCall(NamedTuple):
    """What one call needs besides its tensors."""

    heads: int
    encoders: int
    offset: int | None
    bias: Tensor | None
    masks: Masks | None

    def tables(self, q: Tensor) -> tuple[Tensor, ...]:
        """Return what masks are drawn from; without dropout any tensor, which is then not read."""
        m = self.masks
        return (q, q, q, q) if m is None else (m.keys, m.noise, m.thresholds, m.scales)

    def numbers(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
        """Return the plain numbers all kernels take, in the order of NUMBERS."""
        m = self.masks
        of_seed, of_encoder = (0, 0) if m is None else (m.keys.stride(0), 2 * m.keys.shape[1] // self.encoders)
        rows, step, pieces = (q.shape[2], 1, 1) if m is None else (m.rows, m.step, m.pieces)
        return (
            q.shape[2], k.shape[2], *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], of_seed, of_encoder,
            q.shape[1], self.encoders, self.offset or 0, rows, step, pieces,
        )  # fmt: skip

    def product(self, q: Tensor, k: Tensor) -> float:
        """Return the operations of one product of visible queries and keys."""
        pairs = causal_pairs(q.shape[2], k.shape[2], self.offset)
        return 2.0 * q.shape[0] * q.shape[1] * q.shape[3] * pairs

    def flags(self, q: Tensor) -> dict[str, Any]:
        """Return what is built into a kernel."""
        return {
            "H": self.heads, "W": q.shape[3] // self.heads, "CAUSAL": self.offset is not None,
            "BIAS": self.bias is not None, "DROP": self.masks is not None, "T": TILE, "num_warps": WARPS,
        }  # fmt: skip


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, call: KernelCall) -> Tensor:
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[0] * q.shape[1] * call.heads, q.shape[2], dtype=torch.float32, device=q.device)
        bias = q if call.bias is None else call.bias
        attend[len(lse), triton.cdiv(q.shape[2], TILE)](
            q, k, v, bias, out, lse, *call.tables(q), *call.numbers(q, k, v), **call.flags(q)
        )
        did(3 * call.product(q, k), q, k, v, call.bias, out, lse)  # the scores twice: first for their maximum
        ctx.call = call
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        call: KernelCall = ctx.call
        grad, bias = grads[0].contiguous(), q if call.bias is None else call.bias
        dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
        mean, rest, flags = torch.empty_like(lse), (*call.tables(q), *call.numbers(q, k, v)), call.flags(q)
        of_queries[len(lse), triton.cdiv(q.shape[2], TILE)](
            q, k, v, bias, out, grad, lse, mean, dq, *rest, **flags
        )  # fmt: skip
        of_keys[len(lse), triton.cdiv(k.shape[2], TILE)](q, k, v, bias, grad, lse, mean, dk, dv, *rest, **flags)
        did(3 * call.product(q, k), q, k, v, call.bias, out, grad, lse, mean, dq)
        did(4 * call.product(q, k), q, k, v, call.bias, grad, lse, mean, dk, dv)
        return dq, dk, dv, None


def attention(
    q: Tensor, k: Tensor, v: Tensor, *, heads: int, encoders: int, offset: int | None, bias: Tensor | None,
    masks: tuple[Any, ...] | None,
) -> Tensor:  # fmt: skip
    """q (G, B, Tq, d) scaled, k and v (G, B, Tk, d), bias (G, B, Tk) or None -> (G, B, Tq, d).

    What `models.attention.attention` computes; `masks` are the values of `Masks`.
    """
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    bias = None if bias is None else bias.contiguous()
    done: Tensor = _Fused.apply(
        q, k, v, KernelCall(heads, encoders, offset, bias, None if masks is None else Masks(*masks))
    )
    return done
