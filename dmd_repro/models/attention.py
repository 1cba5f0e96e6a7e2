"""Attention in blocks that stay in cache: long sequences never hold all their scores, nor compute the hidden ones.

The forward pass of a long sequence keeps q, k, v and the keys of its dropout draws, and the backward pass computes
each block again: memory grows with the length, not with its square. Short sequences keep their weights instead.

Every product with the narrow axis (a head is 5 to 10 wide) is written so that the long axis is the one the matrix
library runs along: (h, T) results, turned over at the end. The other way round costs three times as much on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.models.layers import NOISE, DropoutStream, draw_lanes, lane_threshold, made_once

BLOCK_BYTES = {"cpu": 3 << 19, "cuda": 1 << 23}  # of one block of scores: a core's cache; few launches on a GPU
KEPT_BYTES = 1 << 25  # scores of one call and seed: up to here the weights are kept for the backward pass
LONG = 128  # queries; longer sequences are cut into blocks of rows too, so that hidden keys are skipped
HIDDEN = -1e9  # added to the score of a key that is padding: finite, so that no row becomes NaN


class Block(NamedTuple):
    """One block of scores: rows of N that belong to one encoder of one seed, queries, and the keys they may see."""

    encoder: int
    seed: int
    draw: int  # which of the seed's draws masks it
    batch: slice
    queries: slice
    keys: int


@lru_cache(maxsize=256)
def plan_blocks(
    n: int, queries: int, keys: int, seeds: int, encoders: int, offset: int | None, budget: int
) -> tuple[Block, ...]:
    """Cut (N, Tq, Tk) scores into blocks of at most `budget` bytes, one row of N at least, each of one encoder.

    Under a causal `offset` a block ends at the last key that its last query sees.
    """
    rows = -(-queries // 4) if offset is not None and queries >= LONG else queries
    rows = max(1, min(rows, 2 * NOISE // keys))  # a block is one draw
    share = n // (seeds * encoders)
    step = max(1, budget // (4 * rows * keys))
    step = -(-share // -(-share // step))  # blocks of like size

    def of_group(g: int) -> Iterator[Block]:
        draw = (g % encoders) * (-(-share // step)) * (-(-queries // rows))
        for at in range(g * share, (g + 1) * share, step):
            for i in range(0, queries, rows):
                end = min(i + rows, queries)
                seen = keys if offset is None else max(1, min(keys, end + offset))
                yield Block(
                    g % encoders, g // encoders, draw, slice(at, min(at + step, (g + 1) * share)), slice(i, end), seen
                )
                draw += 1

    return tuple(block for g in range(seeds * encoders) for block in of_group(g))


@made_once(256)
def unseen(first: int, past: int, keys: int, offset: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """Return (queries, keys), -inf where query i of [first, past) sees no key j > i + offset, else 0; None: no -inf.

    Added to the scores: that is an order of magnitude cheaper than filling them by a mask.
    """
    if keys <= first + offset + 1:
        return None
    seen = torch.arange(first, past, device=device) + offset
    past_seen = torch.arange(keys, device=device) > seen.unsqueeze(1)
    return torch.zeros(past_seen.shape, dtype=dtype, device=device).masked_fill_(past_seen, -torch.inf)


class Call(NamedTuple):
    """What one attention call needs besides its tensors."""

    offset: int | None  # query i sees keys up to i + offset; None: all
    rates: tuple[float, ...]  # dropout on the weights, of each encoder
    draws: Tensor | None  # (S, draws, 2) keys of the masks; None: no dropout
    blocks: tuple[Block, ...]

    def dropped(self, block: Block, weights: Tensor) -> Tensor:
        """Return the weights of a block with those set to 0 that dropout takes, not yet scaled."""
        if self.draws is None or not (rate := self.rates[block.encoder]):
            return weights
        lanes = draw_lanes(self.draws[block.seed, block.draw], weights.numel()).view(weights.shape)
        return torch.ge(lanes, lane_threshold(rate), out=torch.empty_like(weights)).mul_(weights)

    def weights(self, q: Tensor, k: Tensor, hidden: Tensor | None, block: Block) -> Tensor:
        """Return the softmax weights (c, queries, keys) of a block."""
        scores = torch.bmm(q[block.batch, block.queries], k[block.batch, : block.keys].transpose(1, 2))
        if hidden is not None:
            scores += hidden[block.batch, : block.keys].unsqueeze(1)
        if self.offset is not None:
            rows = block.queries
            corner = unseen(rows.start, rows.stop, block.keys, self.offset, scores.device, scores.dtype)
            if corner is not None:
                scores += corner
        return torch.softmax(scores, dim=-1)


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, call: Call) -> Tensor:
        seeds = call.blocks[-1].seed + 1
        keeps = ctx.needs_input_grad[0] and 4 * q.shape[0] * q.shape[1] * k.shape[1] <= KEPT_BYTES * seeds
        ctx.call, ctx.weights = call, []
        out = q.new_empty(q.shape[0], v.shape[2], q.shape[1])
        for block in call.blocks:
            weights = call.weights(q, k, hidden, block)
            used = call.dropped(block, weights)
            got = torch.bmm(v[block.batch, : block.keys].transpose(1, 2), used.transpose(1, 2))
            out[block.batch, :, block.queries] = got if used is weights else got.div_(1 - call.rates[block.encoder])
            if keeps:
                ctx.weights.append((weights, used))
        ctx.save_for_backward(q, k, v, hidden)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, hidden = ctx.saved_tensors
        call, grad = ctx.call, grads[0]  # (N, h, Tq)
        dq, dk, dv = (x.new_zeros(x.shape[0], x.shape[2], x.shape[1]) for x in (q, k, v))
        for i, block in enumerate(call.blocks):
            rows, keys = (block.batch, block.queries), (block.batch, slice(block.keys))
            if ctx.weights:
                weights, used = ctx.weights[i]
            else:
                weights = call.weights(q, k, hidden, block)
                used = call.dropped(block, weights)
            slope = grad[block.batch, :, block.queries]
            if used is not weights:
                slope = slope / (1 - call.rates[block.encoder])
            dv[block.batch, :, : block.keys] += torch.bmm(slope, used)
            back = torch.bmm(slope.transpose(1, 2), v[keys].transpose(1, 2))
            if used is weights:  # differences first, as the authors' code: gradients of 1e10 leave nothing to lose
                back = torch._softmax_backward_data(back, weights, -1, weights.dtype)
            else:
                back *= used
                back.addcmul_(weights, back.sum(-1, keepdim=True), value=-1)
            dq[block.batch, :, block.queries] = torch.bmm(k[keys].transpose(1, 2), back.transpose(1, 2))
            dk[block.batch, :, : block.keys] += torch.bmm(q[rows].transpose(1, 2), back)
        return dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2), None, None


def blocked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    offset: int | None,
    stream: DropoutStream,
    rates: Sequence[float] = (0.0,),
    hidden: Tensor | None = None,
) -> Tensor:
    """q (N, Tq, h) scaled, k and v (N, Tk, h) -> (N, h, Tq); N = seeds * encoders * clips * heads, in that order.

    `stream`: where dropout masks come from. `rates`: dropout on the weights, per encoder (0: none). `hidden` (N, Tk)
    is added to the scores (HIDDEN where a key is padding). Under an `offset` query i sees keys up to i + offset, and
    every query at least the first.
    """
    budget = BLOCK_BYTES.get(q.device.type, BLOCK_BYTES["cpu"])
    seeds, encoders = len(stream.seeds), len(rates)
    blocks = plan_blocks(q.shape[0], q.shape[1], k.shape[1], seeds, encoders, offset, budget)
    draws = stream.take(len(blocks) // seeds) if any(rates) else None
    return _Blocked.apply(q, k, v, hidden, Call(offset, tuple(rates), draws, blocks))
