"""Attention in blocks that stay in cache: long sequences never hold all their scores, nor compute the hidden ones.

The forward pass of a long sequence keeps q, k, v and where the dropout stream stood, and the backward pass computes
each block again: memory grows with the length, not with its square. Short sequences keep their weights instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.models.layers import draw_lanes

BLOCK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 29}  # of one block of scores: a core's cache; few launches on a GPU
KEPT_BYTES = 1 << 25  # scores of one call: up to here the weights are kept for the backward pass
LONG = 128  # queries; longer sequences are cut into blocks of rows too, so that hidden keys are skipped
HIDDEN = -1e9  # added to the score of a key that is padding: finite, so that no row becomes NaN


class Block(NamedTuple):
    """One block of scores: rows of N that belong to one encoder of one seed, queries, and the keys they may see."""

    group: int  # seed * encoders + encoder
    batch: slice
    queries: slice
    keys: int


@lru_cache(maxsize=256)
def plan_blocks(n: int, queries: int, keys: int, groups: int, causal: bool, budget: int) -> tuple[Block, ...]:
    """Cut (N, Tq, Tk) scores into blocks of at most `budget` bytes, one row of N at least, each inside one group."""
    rows = -(-queries // 4) if causal and queries >= LONG else queries
    step, share = max(1, budget // (4 * rows * keys)), n // groups

    def of_group(g: int) -> Iterator[Block]:
        for at in range(g * share, (g + 1) * share, step):
            for i in range(0, queries, rows):
                end = min(i + rows, queries)
                seen = min(keys, end + abs(keys - queries)) if causal else keys
                yield Block(g, slice(at, min(at + step, (g + 1) * share)), slice(i, end), seen)

    return tuple(block for g in range(groups) for block in of_group(g))


@lru_cache(maxsize=256)
def unseen(first: int, past: int, keys: int, offset: int, device: torch.device) -> Tensor | None:
    """Return (queries, keys) True where query i of [first, past) sees no key j > i + offset; None where all see all."""
    if keys <= first + offset + 1:
        return None
    seen = torch.arange(first, past, device=device) + offset
    return torch.arange(keys, device=device) > seen.unsqueeze(1)


class Call(NamedTuple):
    """What one attention call needs besides its tensors."""

    causal: bool
    rates: tuple[float, ...]  # dropout on the weights, of each encoder
    generators: tuple[torch.Generator, ...]  # of each stacked seed
    blocks: tuple[Block, ...]

    def rate(self, block: Block) -> float:
        """Return the dropout rate of a block's encoder."""
        return self.rates[block.group % len(self.rates)]

    def dropped(self, block: Block, weights: Tensor) -> Tensor | None:
        """Draw which weights of a block are dropped (bool); None where none is."""
        if not (rate := self.rate(block)):
            return None
        lanes = draw_lanes(weights.shape, self.generators[block.group // len(self.rates)], weights.device)
        return lanes < round(rate * 65536) - 32768

    def weights(self, q: Tensor, k: Tensor, hidden: Tensor | None, block: Block) -> Tensor:
        """Return the softmax weights (c, queries, keys) of a block."""
        scores = torch.bmm(q[block.batch, block.queries], k[block.batch, : block.keys].transpose(1, 2))
        if hidden is not None:
            scores += hidden[block.batch, : block.keys].unsqueeze(1)
        if self.causal:
            offset = abs(k.shape[1] - q.shape[1])
            corner = unseen(block.queries.start, block.queries.stop, block.keys, offset, q.device)
            if corner is not None:
                scores.masked_fill_(corner, -torch.inf)
        return torch.softmax(scores, dim=-1)

    def again(self, states: Sequence[Tensor]) -> Call:
        """Return the same call with its dropout streams where they stood: a second pass draws the same."""
        generators = []
        for state, generator in zip(states, self.generators, strict=True):
            generators.append(torch.Generator(device=generator.device))
            generators[-1].set_state(state)
        return self._replace(generators=tuple(generators))


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, call: Call) -> Tensor:
        keeps = ctx.needs_input_grad[0] and 4 * q.shape[0] * q.shape[1] * k.shape[1] <= KEPT_BYTES
        ctx.states = [g.get_state() for g in call.generators] if any(call.rates) and not keeps else []
        ctx.call, ctx.kept = call, []
        out = q.new_empty(*q.shape[:2], v.shape[2])
        for block in call.blocks:
            weights = call.weights(q, k, hidden, block)
            dropped = call.dropped(block, weights)
            used = weights if dropped is None else weights.masked_fill(dropped, 0)
            got = torch.bmm(used, v[block.batch, : block.keys])
            out[block.batch, block.queries] = got if dropped is None else got.div_(1 - call.rate(block))
            if keeps:
                ctx.kept.append((weights, dropped, used))
        ctx.save_for_backward(q, k, v, hidden)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, hidden = ctx.saved_tensors
        call, grad = ctx.call.again(ctx.states) if ctx.states else ctx.call, grads[0]
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for i, block in enumerate(call.blocks):
            rows, keys = (block.batch, block.queries), (block.batch, slice(block.keys))
            if ctx.kept:
                weights, dropped, used = ctx.kept[i]
            else:
                weights = call.weights(q, k, hidden, block)
                dropped = call.dropped(block, weights)
                used = weights if dropped is None else weights.masked_fill(dropped, 0)
            slope = grad[rows] if dropped is None else grad[rows] / (1 - call.rate(block))
            dv[keys] += torch.bmm(used.transpose(1, 2), slope)
            back = torch.bmm(slope, v[keys].transpose(1, 2))
            if dropped is not None:
                back.masked_fill_(dropped, 0)
            back.sub_((back * weights).sum(-1, keepdim=True)).mul_(weights)  # the gradient of the softmax
            dq[rows] = torch.bmm(back, k[keys])
            dk[keys] += torch.bmm(back.transpose(1, 2), q[rows])
        return dq, dk, dv, None, None


def blocked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool,
    generators: Sequence[torch.Generator],
    rates: Sequence[float] = (0.0,),
    hidden: Tensor | None = None,
) -> Tensor:
    """q (N, Tq, h) scaled, k and v (N, Tk, h) -> (N, Tq, h); N = seeds * encoders * clips * heads, in that order.

    `generators`: one stream per stacked seed. `rates`: dropout on the weights, per encoder (0: none). `hidden` (N, Tk)
    is added to the scores (HIDDEN where a key is padding). Under `causal` query i sees keys up to i + |Tk - Tq|.
    """
    budget = BLOCK_BYTES.get(q.device.type, BLOCK_BYTES["cpu"])
    groups = len(generators) * len(rates)
    blocks = plan_blocks(q.shape[0], q.shape[1], k.shape[1], groups, causal, budget)
    return _Blocked.apply(q, k, v, hidden, Call(causal, tuple(rates), tuple(generators), blocks))
