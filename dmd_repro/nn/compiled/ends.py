"""The two ends of a bank of encoders on a CPU by compiled code: a pass over its inputs, and one over its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.nn.compiled.call import BeginCall, FinishCall, Library
from dmd_repro.nn.compiled.layer import whole


class Drops(NamedTuple):
    """Dropout of a bank's inputs: the keys of each output's draws, what masks are cut from, and the rate."""

    keys: tuple[Tensor, ...]  # (S, draws, 2) int32 each
    noise: Tensor
    least: int  # the least lane that is kept
    scale: float  # of what is kept


class _Begin(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, table: Tensor, library: Library, encoders: int, drops: Drops | None, normed: bool
    ) -> tuple[Tensor, ...]:  # fmt: skip
        x = x.contiguous()
        g, b, t, d = x.shape
        outputs = 1 if drops is None else len(drops.keys)
        how: dict[str, Any] = {
            "groups": g, "clips": b, "steps": t, "width": d, "encoders": encoders, "factor": d**0.5,
            "normed": int(normed), "scale": 1.0,
        }  # fmt: skip
        if drops is not None:
            how |= {f"keys{i}": keys for i, keys in enumerate(drops.keys)}
            how |= {"noise": drops.noise, "least": drops.least, "scale": drops.scale}
            how["draws_s"] = drops.keys[0].stride(0)
        made = [x.new_empty(g, b, d, whole(t)) for _ in range(outputs)]
        rates = [x.new_empty(g, b, whole(t)) if normed else None for _ in range(outputs)]
        how |= {f"rate{i}": rate for i, rate in enumerate(rates)}
        library.run("kernels_begin", BeginCall, {"x": x, "table": table} | how | _numbered("y", made))
        ctx.library, ctx.how, ctx.shape = library, how, x.shape
        ctx.save_for_backward(*(made if normed else ()))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dx = grads[0].new_empty(ctx.shape)
        grads = tuple(grad.contiguous() for grad in grads)
        made = _numbered("y", ctx.saved_tensors)
        ctx.library.run("kernels_begin_back", BeginCall, {"dx": dx} | ctx.how | made | _numbered("grad", grads))
        return dx, None, None, None, None, None


def _numbered(name: str, tensors: Sequence[Tensor]) -> dict[str, Any]:
    return {f"{name}{i}": x for i, x in enumerate(tensors)}


def begin(
    library: Library, x: Tensor, table: Tensor, *, encoders: int, drops: Drops | None, normed: bool
) -> tuple[Tensor, ...]:
    """(G, B, T, d), positions (T, d) -> sqrt(d) x + positions, dropped, normalised if asked, in lanes.

    No positions where channel 0 is exactly 0. An output for each of the draws' keys; one without dropout.
    """
    made: tuple[Tensor, ...] = _Begin.apply(x, table.contiguous(), library, encoders, drops, normed)
    return made


class _Finish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shift: Tensor, library: Library, steps: int) -> Tensor:
        g, b, d, wide = x.shape
        weight, shift = weight.contiguous(), shift.contiguous()
        y, stats = x.new_empty(g, b, steps, d), x.new_empty(g, b, 2, wide)
        ctx.library, ctx.how = library, {"groups": g, "clips": b, "steps": steps, "width": d}
        fields = {"x": x, "weight": weight, "shift": shift, "y": y, "stats": stats}
        library.run("kernels_finish", FinishCall, fields | ctx.how)
        ctx.save_for_backward(x, weight, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, stats = ctx.saved_tensors
        dx, g_weight, g_shift = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        sums = x.new_empty(*x.shape[:2], 2, x.shape[2])
        fields = {"x": x, "weight": weight, "stats": stats, "grad": grads[0].contiguous(), "dx": dx,
                  "g_weight": g_weight, "g_shift": g_shift, "sums": sums}  # fmt: skip
        ctx.library.run("kernels_finish_back", FinishCall, fields | ctx.how)
        return dx, g_weight, g_shift, None, None


def finish(library: Library, x: Tensor, weight: Tensor, shift: Tensor, steps: int) -> Tensor:
    """Lanes (G, B, d, .), scale and shift (G, d) -> their LayerNorm in rows, (G, B, steps, d)."""
    y: Tensor = _Finish.apply(x, weight, shift, library, steps)
    return y
