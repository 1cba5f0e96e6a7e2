"""Calls of attention that are tried on every way to compute it, and what they give."""

from __future__ import annotations

from typing import NamedTuple

import torch

from dmd_repro.nn import attention
from dmd_repro.nn.attention import HIDDEN
from dmd_repro.nn.dropout import DropoutStream

CPU = torch.device("cpu")


class Shape(NamedTuple):
    """A bank of encoders."""

    seeds: int
    rates: tuple[float, ...]
    clips: int
    heads: int
    width: int
    queries: int
    keys: int
    offset: int | None
    padded: bool = False
    packed: bool = False  # q, k and v are slices of one tensor, as self-attention computes them
    scale: float = 1.0


def computed(case: Shape, device: torch.device = CPU, threads: int = 1) -> list[torch.Tensor]:
    """Return the output and the gradients of q, k and v, by whatever way `attention` takes on the device."""
    groups, d, draw = case.seeds * len(case.rates), case.heads * case.width, torch.Generator().manual_seed(4)

    def leaf(steps: int, wide: int, scale: float = 1.0) -> torch.Tensor:
        drawn = torch.randn(groups, case.clips, steps, wide, generator=draw).mul_(scale)
        return drawn.to(device).requires_grad_()

    leaves = [leaf(steps, d, case.scale) for steps in (case.queries, case.keys, case.keys)]
    q, k, v = leaves
    if case.packed:
        leaves = [leaf(case.queries, 3 * d)]
        q, k, v = leaves[0].chunk(3, dim=-1)
    hidden = None
    if case.padded:
        hidden = torch.zeros(groups, case.clips, case.keys, device=device)
        hidden[:, 0, : 1 + case.keys // 3] = HIDDEN
    stream = DropoutStream(range(case.seeds))
    stream.restart([3] * case.seeds, device)
    stream.take(5)  # draws before it: the keys are not the first of their table
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = attention.attention(
            q, k, v, heads=case.heads, offset=case.offset, stream=stream, rates=case.rates, hidden=hidden
        )
        slope = torch.linspace(-1, 1, out.numel(), device=device).view(out.shape)
        return [x.detach().cpu() for x in (out, *torch.autograd.grad(out, leaves, slope))]
    finally:
        torch.set_num_threads(before)
