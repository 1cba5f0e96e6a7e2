"""Attention as three GPU kernels (Triton), for all encoders and seeds of a bank at once.

Scores never reach memory: the forward pass keeps one number a query, the backward pass computes scores and dropout
again. A head is 5 to 10 wide, too narrow for matrix units, and sums across threads cost more than the products. So a
thread owns a whole query (or key) and walks along the other axis, whose numbers all threads read together: plain
float32, no sum across threads, no atomic addition; equal inputs give equal bits. The dropout masks are those of
`models.attention.plan_cut`, bit for bit.

`Q` and `K` count queries and keys, `W` is the width of a head; g = seed * E + encoder, n = (g, clip, head). A row is a
tuple of W tensors: one for each channel.
"""

# Kernels are typed by Triton, at each launch; its tuples grow by addition alone.
# mypy: disable-error-code="assignment, no-untyped-def"
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl

TILE, WARPS = 32, 1  # queries (or keys) of one program, one a thread
UNROLL = tl.constexpr(4)  # numbers of the other axis are on their way while others are used
NUMBERS = (
    "Q", "K", "q_g", "q_b", "q_t", "k_g", "k_b", "k_t", "v_g", "v_b", "v_t", "draws_s", "draws_e", "B", "E", "offset",
    "rows", "step", "pieces",
)  # fmt: skip
"""Never built into a kernel: one serves all lengths, and is compiled once."""


@triton.jit
def _rows(base, at, step, ok, W: tl.constexpr):
    """Load the rows `at`, 0 where they are not `ok`."""
    row = ()
    for c in tl.static_range(W):
        row = row + (tl.load(base + at * step + c, mask=ok, other=0.0).to(tl.float32),)
    return row


@triton.jit
def _row(base, W: tl.constexpr):
    """Load one row, the same for all threads."""
    row = ()
    for c in tl.static_range(W):
        row = row + (tl.load(base + c).to(tl.float32),)
    return row


@triton.jit
def _zeros(T: tl.constexpr, W: tl.constexpr):
    """Return rows of zeros."""
    row = ()
    for _ in tl.static_range(W):
        row = row + (tl.zeros([T], tl.float32),)
    return row


@triton.jit
def _dot(x, y, W: tl.constexpr):
    """Return the products of rows."""
    total = x[0] * y[0]
    for c in tl.static_range(1, W):
        total += x[c] * y[c]
    return total


@triton.jit
def _plus(acc, factor, row, W: tl.constexpr):
    """Return rows to which a factor times others is added."""
    out = ()
    for c in tl.static_range(W):
        out = out + (acc[c] + factor * row[c],)
    return out


@triton.jit
def _store(base, at, step, row, factor, ok, W: tl.constexpr):
    """Write rows times a factor."""
    for c in tl.static_range(W):
        tl.store(base + at * step + c, (row[c] * factor).to(base.dtype.element_ty), mask=ok)


@triton.jit
def kept(at, low, high, noise, ok, threshold):
    """Return which weights dropout keeps, by their place in the block of a draw: `dropout.draw_lanes`."""
    x = tl.load(noise + (at >> 1), mask=ok, other=0)
    x = (x ^ low) * (high | 1)
    x = (x ^ ((x >> 15) & 0x1FFFF)) * 0x2C1B3C6D
    return tl.where((at & 1) == 1, x >> 16, (x << 16) >> 16) >= threshold


@triton.jit
def _seen(first, count, K, offset, CAUSAL: tl.constexpr):
    """Return how many keys the block of queries from `first` on sees."""
    width = first * 0 + K
    if CAUSAL:
        width = tl.maximum(1, tl.minimum(K, first + count + offset))
    return width


@triton.jit
def _place(i, local, keys, Q, K, rows, step, offset, CAUSAL: tl.constexpr):
    """Return, for queries, where their weights begin in their block, how many keys it has, and the keys of its draw."""
    first = i // rows * rows
    count = tl.minimum(rows, Q - first)
    width = _seen(first, count, K, offset, CAUSAL)
    draw, ok = keys + 2 * (i // rows), i < Q
    low, high = tl.load(draw, mask=ok, other=0), tl.load(draw + 1, mask=ok, other=0)
    return ((local % step) * count + i - first) * width, width, low, high


@triton.jit(do_not_specialize=NUMBERS)
def attend(
    q, k, v, bias, out, lse, keys, noise, thresholds, scales,
    Q, K, q_g, q_b, q_t, k_g, k_b, k_t, v_g, v_b, v_t, draws_s, draws_e,
    B, E, offset, rows, step, pieces,
    H: tl.constexpr, W: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, DROP: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    i = tl.program_id(1) * T + tl.arange(0, T)
    inside = i < Q
    local, g = n % (B * H), n // (B * H)
    b, head = local // H, local % H
    q += g.to(tl.int64) * q_g + b * q_b + head * W
    k += g.to(tl.int64) * k_g + b * k_b + head * W
    v += g.to(tl.int64) * v_g + b * v_b + head * W
    clip = (g * B + b).to(tl.int64)
    end = K
    if CAUSAL:
        end = tl.minimum(K, tl.program_id(1) * T + T + offset)
    mine = _rows(q, i, q_t, inside, W)
    top = tl.full([T], float("-inf"), tl.float32)
    for j in tl.range(0, end, loop_unroll_factor=UNROLL):
        s = _dot(mine, _row(k + j * k_t, W), W)
        if BIAS:
            s += tl.load(bias + clip * K + j)
        if CAUSAL:
            s = tl.where(j <= i + offset, s, float("-inf"))
        top = tl.maximum(top, s)
    if DROP:
        keys += (g // E) * draws_s + (g % E) * draws_e + 2 * (local // step) * pieces
        at, width, low, high = _place(i, local, keys, Q, K, rows, step, offset, CAUSAL)
        threshold = tl.load(thresholds + g % E)
    total, acc = tl.zeros([T], tl.float32), _zeros(T, W)
    for j in tl.range(0, end, loop_unroll_factor=UNROLL):
        s = _dot(mine, _row(k + j * k_t, W), W)
        if BIAS:
            s += tl.load(bias + clip * K + j)
        if CAUSAL:
            s = tl.where(j <= i + offset, s, float("-inf"))
        p = tl.exp(s - top)
        total += p
        if DROP:
            p = tl.where(kept(at + j, low, high, noise, inside & (j < width), threshold), p, 0.0)
        acc = _plus(acc, p, _row(v + j * v_t, W), W)
    factor = 1.0 / total
    if DROP:
        factor *= tl.load(scales + g % E)
    _store(out + clip * Q * (H * W) + head * W, i, H * W, acc, factor, inside, W)
    tl.store(lse + n.to(tl.int64) * Q + i, top + tl.log(total), mask=inside)


@triton.jit(do_not_specialize=NUMBERS)
def of_queries(
    q, k, v, bias, out, grad, lse, mean, dq, keys, noise, thresholds, scales,
    Q, K, q_g, q_b, q_t, k_g, k_b, k_t, v_g, v_b, v_t, draws_s, draws_e,
    B, E, offset, rows, step, pieces,
    H: tl.constexpr, W: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, DROP: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """The gradients of queries, and for each the weighted mean of its weights' gradients."""
    n = tl.program_id(0)
    i = tl.program_id(1) * T + tl.arange(0, T)
    inside = i < Q
    local, g = n % (B * H), n // (B * H)
    b, head, d = local // H, local % H, H * W
    q += g.to(tl.int64) * q_g + b * q_b + head * W
    k += g.to(tl.int64) * k_g + b * k_b + head * W
    v += g.to(tl.int64) * v_g + b * v_b + head * W
    clip = (g * B + b).to(tl.int64)
    own = clip * Q * d + head * W
    end = K
    if CAUSAL:
        end = tl.minimum(K, tl.program_id(1) * T + T + offset)
    mine, slope = _rows(q, i, q_t, inside, W), _rows(grad + own, i, d, inside, W)
    least = tl.load(lse + n.to(tl.int64) * Q + i, mask=inside, other=0.0)
    level = _dot(slope, _rows(out + own, i, d, inside, W), W)
    tl.store(mean + n.to(tl.int64) * Q + i, level, mask=inside)
    if DROP:
        keys += (g // E) * draws_s + (g % E) * draws_e + 2 * (local // step) * pieces
        at, width, low, high = _place(i, local, keys, Q, K, rows, step, offset, CAUSAL)
        threshold, scale = tl.load(thresholds + g % E), tl.load(scales + g % E)
    acc = _zeros(T, W)
    for j in tl.range(0, end, loop_unroll_factor=UNROLL):
        other = _row(k + j * k_t, W)
        s = _dot(mine, other, W)
        if BIAS:
            s += tl.load(bias + clip * K + j)
        p = tl.exp(s - least)
        if CAUSAL:
            p = tl.where(j <= i + offset, p, 0.0)
        back = _dot(slope, _row(v + j * v_t, W), W)
        if DROP:
            back = tl.where(kept(at + j, low, high, noise, inside & (j < width), threshold), back * scale, 0.0)
        acc = _plus(acc, p * (back - level), other, W)
    _store(dq + own, i, d, acc, 1.0, inside, W)


@triton.jit(do_not_specialize=NUMBERS)
def of_keys(
    q, k, v, bias, grad, lse, mean, dk, dv, keys, noise, thresholds, scales,
    Q, K, q_g, q_b, q_t, k_g, k_b, k_t, v_g, v_b, v_t, draws_s, draws_e,
    B, E, offset, rows, step, pieces,
    H: tl.constexpr, W: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, DROP: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """The gradients of keys and values."""
    n = tl.program_id(0)
    j = tl.program_id(1) * T + tl.arange(0, T)
    inside = j < K
    local, g = n % (B * H), n // (B * H)
    b, head, d = local // H, local % H, H * W
    q += g.to(tl.int64) * q_g + b * q_b + head * W
    k += g.to(tl.int64) * k_g + b * k_b + head * W
    v += g.to(tl.int64) * v_g + b * v_b + head * W
    clip = (g * B + b).to(tl.int64)
    grad += clip * Q * d + head * W
    lse += n.to(tl.int64) * Q
    mean += n.to(tl.int64) * Q
    mine, value = _rows(k, j, k_t, inside, W), _rows(v, j, v_t, inside, W)
    add = tl.zeros([T], tl.float32)
    if BIAS:
        add = tl.load(bias + clip * K + j, mask=inside, other=0.0)
    if DROP:
        threshold, scale = tl.load(thresholds + g % E), tl.load(scales + g % E)
        keys += (g // E) * draws_s + (g % E) * draws_e + 2 * (local // step) * pieces
    of_k, of_v = _zeros(T, W), _zeros(T, W)
    begin = 0
    if CAUSAL:
        begin = tl.maximum(0, tl.program_id(1) * T - offset)
    for piece in range(begin // rows, pieces):  # each with keys and a width of its own
        first = piece * rows
        count = tl.minimum(rows, Q - first)
        if DROP:
            width = _seen(first, count, K, offset, CAUSAL)
            low, high = tl.load(keys + 2 * piece), tl.load(keys + 2 * piece + 1)
            base = (local % step) * count * width + j
        for i in tl.range(tl.maximum(begin, first), first + count, loop_unroll_factor=UNROLL):
            other, slope = _row(q + i * q_t, W), _row(grad + i * d, W)
            p = tl.exp(_dot(mine, other, W) + add - tl.load(lse + i))
            if CAUSAL:
                p = tl.where(j <= i + offset, p, 0.0)
            back, used = _dot(value, slope, W), p
            if DROP:
                keep = kept(base + (i - first) * width, low, high, noise, inside & (j < width), threshold)
                back, used = tl.where(keep, back * scale, 0.0), tl.where(keep, p * scale, 0.0)
            of_v = _plus(of_v, used, slope, W)
            of_k = _plus(of_k, p * (back - tl.load(mean + i)), other, W)
    at = clip * K * d + head * W
    _store(dk + at, j, d, of_k, 1.0, inside, W)
    _store(dv + at, j, d, of_v, 1.0, inside, W)
