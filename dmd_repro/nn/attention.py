"""Attention in blocks that stay in cache: long sequences never hold all their scores, nor compute the hidden ones.

The forward pass of a long sequence keeps q, k, v and the keys of its dropout draws, and the backward pass computes
each block again: memory grows with the length, not with its square. Short sequences keep their weights instead.

Every product with the narrow axis (a head is 5 to 10 wide) is written so that the long axis is the one the matrix
library runs along: (h, T) results, turned over at the end. The other way round costs three times as much on a CPU.

On a GPU with Triton `kernels/attention.py` does the same, whatever the number of encoders and seeds; the blocks then
only say which random bits mask which weight, so that a run draws the same masks on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.nn import compiled
from dmd_repro.nn.compiled import attention as compiled_attention
from dmd_repro.nn.dropout import NOISE, DropoutStream, draw_lanes, lane_threshold, noise, noise_and_more
from dmd_repro.nn.kernels import gpu_kernels
from dmd_repro.nn.once import made_once

BLOCK_BYTES = 3 << 19  # of one block of scores: a core's cache. Part of what a dropout mask is, on every device
KEPT_BYTES = 1 << 25  # scores of one call and seed: up to here the weights are kept for the backward pass
LONG = 128  # queries; longer sequences are cut into blocks of rows too, so that hidden keys are skipped
HIDDEN = -1e9  # added to the score of a key that is padding: finite, so that no row becomes NaN


class ScoreBlock(NamedTuple):
    """One block of scores: rows of N that belong to one encoder of one seed, queries, and the keys they may see."""

    encoder: int
    seed: int
    draw: int  # which of the seed's draws masks it
    batch: slice
    queries: slice
    keys: int


class Cut(NamedTuple):
    """How the scores of one encoder and seed, (share, Tq, Tk), are cut into blocks."""

    share: int
    rows: int  # queries of a block
    step: int  # rows of N of a block
    pieces: int  # blocks along the queries
    draws: int  # blocks in all


def plan_cut(share: int, queries: int, keys: int, offset: int | None) -> Cut:
    """Cut into blocks of at most BLOCK_BYTES, one row of N at least. A block is one draw of dropout."""
    rows = -(-queries // 4) if offset is not None and queries >= LONG else queries
    rows = max(1, min(rows, 2 * NOISE // keys))
    step = max(1, min(BLOCK_BYTES // 4, 2 * NOISE) // (rows * keys))
    step = -(-share // -(-share // step))  # blocks of like size
    pieces = -(-queries // rows)
    return Cut(share, rows, step, pieces, -(-share // step) * pieces)


@lru_cache(maxsize=256)
def plan_blocks(
    cut: Cut, queries: int, keys: int, seeds: int, encoders: int, offset: int | None
) -> tuple[ScoreBlock, ...]:
    """Return the blocks of (N, Tq, Tk) scores. Under a causal `offset` a block ends at the last key its queries see."""

    def of_group(g: int) -> Iterator[ScoreBlock]:
        draw, end = (g % encoders) * cut.draws, (g + 1) * cut.share
        for at in range(g * cut.share, end, cut.step):
            for i in range(0, queries, cut.rows):
                past = min(i + cut.rows, queries)
                seen = keys if offset is None else max(1, min(keys, past + offset))
                yield ScoreBlock(
                    g % encoders, g // encoders, draw, slice(at, min(at + cut.step, end)), slice(i, past), seen
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


class AttentionCall(NamedTuple):
    """What one attention call needs besides its tensors."""

    offset: int | None  # query i sees keys up to i + offset; None: all
    rates: tuple[float, ...]  # dropout on the weights, of each encoder
    draws: Tensor | None  # (S, draws, 2) keys of the masks; None: no dropout
    blocks: tuple[ScoreBlock, ...]

    def dropped(self, block: ScoreBlock, weights: Tensor) -> Tensor:
        """Return the weights of a block with those set to 0 that dropout takes, not yet scaled."""
        if self.draws is None or not (rate := self.rates[block.encoder]):
            return weights
        lanes = draw_lanes(self.draws[block.seed, block.draw], weights.numel()).view(weights.shape)
        return torch.ge(lanes, lane_threshold(rate), out=torch.empty_like(weights)).mul_(weights)

    def weights(self, q: Tensor, k: Tensor, hidden: Tensor | None, block: ScoreBlock) -> Tensor:
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


def into(out: Tensor, batch: slice, steps: slice, a: Tensor, b: Tensor) -> Tensor:
    """Write a product (c, h, steps) into its place in (N, h, T), and return the place."""
    place = out[batch, :, steps]
    if place.shape[2] == out.shape[2]:  # contiguous: no copy of the result
        return torch.bmm(a, b, out=place)
    return place.copy_(torch.bmm(a, b))


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, call: AttentionCall) -> Tensor:
        seeds = call.blocks[-1].seed + 1
        keeps = ctx.needs_input_grad[0] and 4 * q.shape[0] * q.shape[1] * k.shape[1] <= KEPT_BYTES * seeds
        ctx.call, ctx.weights = call, []
        out = q.new_empty(q.shape[0], v.shape[2], q.shape[1])
        for block in call.blocks:
            weights = call.weights(q, k, hidden, block)
            used = call.dropped(block, weights)
            seen = v[block.batch, : block.keys].transpose(1, 2)
            got = into(out, block.batch, block.queries, seen, used.transpose(1, 2))
            if used is not weights:
                got.div_(1 - call.rates[block.encoder])
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
            dv[block.batch, :, : block.keys].baddbmm_(slope, used)
            back = torch.bmm(slope.transpose(1, 2), v[keys].transpose(1, 2))
            if used is weights:  # differences first, as the authors' code: gradients of 1e10 leave nothing to lose
                back = torch._softmax_backward_data(back, weights, -1, weights.dtype)
            else:
                back *= used
                back.addcmul_(weights, back.sum(-1, keepdim=True), value=-1)
            into(dq, block.batch, block.queries, k[keys].transpose(1, 2), back.transpose(1, 2))
            dk[block.batch, :, : block.keys].baddbmm_(q[rows].transpose(1, 2), back)
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

    As `attention`; `hidden` is (N, Tk).
    """
    seeds, encoders = len(stream.seeds), len(rates)
    cut = plan_cut(q.shape[0] // (seeds * encoders), q.shape[1], k.shape[1], offset)
    blocks = plan_blocks(cut, q.shape[1], k.shape[1], seeds, encoders, offset)
    draws = stream.take(encoders * cut.draws) if any(rates) else None
    return _Blocked.apply(q, k, v, hidden, AttentionCall(offset, tuple(rates), draws, blocks))


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: int,
    offset: int | None,
    stream: DropoutStream,
    rates: Sequence[float],
    hidden: Tensor | None = None,
) -> Tensor:
    """q (G, B, Tq, d) scaled, k and v (G, B, Tk, d) -> (G, B, Tq, d); G = seeds * encoders, in that order.

    `stream`: where dropout masks come from. `rates`: dropout on the weights, per encoder (0: none). `hidden` (G, B, Tk)
    is added to the scores (HIDDEN where a key is padding). Under an `offset` query i sees keys up to i + offset, and
    every query at least the first.
    """
    kernels = gpu_kernels(q.device)
    if kernels is not None and q.dtype != torch.float64:
        masks = None
        if any(rates):
            cut = plan_cut(q.shape[1] * heads, q.shape[2], k.shape[2], offset)
            lanes = (noise(q.device), *kept_lanes(tuple(rates), q.device))
            masks = (stream.take(len(rates) * cut.draws), *lanes, cut.rows, cut.step, cut.pieces)
        return kernels.attention(q, k, v, heads=heads, encoders=len(rates), offset=offset, bias=hidden, masks=masks)

    library = compiled.compiled_kernels(q)
    if library is not None and compiled_attention.fits(q.shape[3] // heads, offset):
        drawn = draw_masks(q.shape[1] * heads, q.shape[2], k.shape[2], offset, rates, stream)
        return compiled_attention.attention(
            library, q, k, v, heads=heads, encoders=len(rates), offset=offset, bias=hidden, masks=drawn
        )

    def split(x: Tensor) -> Tensor:
        g, b, t, d = x.shape
        return x.view(g, b, t, heads, d // heads).transpose(2, 3).reshape(-1, t, d // heads)

    if hidden is not None:
        hidden = hidden.flatten(0, 1).repeat_interleave(heads, dim=0)
    out = blocked_attention(split(q), split(k), split(v), offset=offset, stream=stream, rates=rates, hidden=hidden)
    g, b, t, d = q.shape
    return out.view(g, b, d, t).transpose(2, 3)


def draw_masks(
    share: int, queries: int, keys: int, offset: int | None, rates: Sequence[float], stream: DropoutStream
) -> compiled_attention.Masks | None:
    """Take the draws of one call from the stream, as compiled code reads them; None where nothing is dropped."""
    if not any(rates):
        return None
    cut, least = plan_cut(share, queries, keys, offset), kept_lanes(tuple(rates), torch.device("cpu"))
    drawn = stream.take(len(rates) * cut.draws)
    return compiled_attention.Masks(drawn, noise_and_more(), *least, cut.rows, cut.step, cut.pieces)


@made_once(64)
def kept_lanes(rates: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return for each rate the least lane that is kept, int32, and what kept weights are multiplied by."""
    least = torch.tensor([lane_threshold(rate) for rate in rates], dtype=torch.int32, device=device)
    return least, torch.tensor([1 / (1 - rate) for rate in rates], dtype=torch.float32, device=device)
