"""Attention on a CPU by compiled code: scores never reach memory, masks are drawn in registers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.nn.compiled.call import WIDEST, AttentionCall, Library, product


class Masks(NamedTuple):
    """How dropout cuts the scores of one call into blocks: `nn.attention.plan_cut`, as numbers."""

    keys: Tensor  # (S, draws, 2) int32, of one call
    noise: Tensor  # what keys are mixed into, with 64 words more that may be read
    least: Tensor  # (E,) int32: the least lane that is kept
    scales: Tensor  # (E,) of what is kept
    rows: int  # queries of a block
    step: int  # (clip, head) pairs of a block
    pieces: int  # blocks along the queries

    def fields(self, encoders: int) -> dict[str, Any]:
        """Return them by the names of the struct."""
        assert self.keys.stride(1) == 2
        return {
            "keys": self.keys, "noise": self.noise, "least": self.least, "scales": self.scales,
            "draws_s": self.keys.stride(0), "draws_e": 2 * (self.keys.shape[1] // encoders),
            "rows": self.rows, "step": self.step, "pieces": self.pieces,
        }  # fmt: skip


def fits(width: int, offset: int | None) -> bool:
    """Tell whether heads of a width and a causal offset are among what is compiled."""
    return width <= WIDEST and (offset is None or offset >= 0)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, library: Library, how: dict[str, Any]
    ) -> Tensor:  # fmt: skip
        g, b, t, _ = q.shape
        out = q.new_empty(q.shape)
        inverse, shifts = q.new_empty(2, g * b * how["heads"], -(-t // 16) * 16).unbind(0)
        ctx.library, ctx.how = library, how
        fields = {"q": q, "k": k, "v": v, "bias": bias, "out": out, "inverse": inverse, "shifts": shifts}
        library.run("kernels_attend", AttentionCall, fields | _steps(q, k, v) | how, 2 * product(how, q.shape[3]))
        ctx.save_for_backward(q, k, v, bias, out, inverse, shifts)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, out, inverse, shifts = ctx.saved_tensors
        dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
        fields = {"q": q, "k": k, "v": v, "bias": bias, "out": out, "inverse": inverse, "shifts": shifts,
                  "grad": grads[0].contiguous(), "dq": dq, "dk": dk, "dv": dv}  # fmt: skip
        flops = 5 * product(ctx.how, q.shape[3])
        ctx.library.run("kernels_attend_back", AttentionCall, fields | _steps(q, k, v) | ctx.how, flops)
        return dq, dk, dv, None, None, None


def _steps(*tensors: Tensor) -> dict[str, Any]:
    """Return the steps between groups, clips and rows of q, k and v."""
    return {f"{x}_{axis}": t.stride(i) for x, t in zip("qkv", tensors, strict=True) for i, axis in enumerate("gbt")}


def call_fields(
    stacked: tuple[int, ...], heads: int, width: int, queries: int, keys: int, offset: int | None, encoders: int,
    masks: Masks | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the sizes of a call and its masks by the names of the structs; `stacked` are groups and clips."""
    return {
        "groups": stacked[0], "clips": stacked[1], "heads": heads, "width": width, "queries": queries, "keys_n": keys,
        "causal": int(offset is not None), "offset": offset or 0, "encoders": encoders,
        **({} if masks is None else masks.fields(encoders)),
    }  # fmt: skip


def attention(
    library: Library, q: Tensor, k: Tensor, v: Tensor, *, heads: int, encoders: int, offset: int | None,
    bias: Tensor | None, masks: Masks | None,
) -> Tensor:  # fmt: skip
    """q (G, B, Tq, d) scaled, k and v (G, B, Tk, d), bias (G, B, Tk) or None -> (G, B, Tq, d).

    What `nn.attention.attention` computes, where `fits`.
    """
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    how = call_fields(q.shape[:2], heads, q.shape[3] // heads, q.shape[2], k.shape[2], offset, encoders, masks)
    out: Tensor = _Attention.apply(q, k, v, None if bias is None else bias.contiguous(), library, how)
    return out
