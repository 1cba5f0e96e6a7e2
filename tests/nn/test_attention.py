"""Blocked attention: the same numbers as attention written out, whatever the blocks, with and without dropout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.nn import attention
from dmd_repro.nn.attention import HIDDEN, blocked_attention, plan_blocks, plan_cut
from dmd_repro.nn.dropout import DropoutStream


def tensors(n: int, queries: int, keys: int, width: int = 3) -> tuple[torch.Tensor, ...]:
    """Return q, k, v in float64."""
    g = torch.Generator().manual_seed(n * queries + keys)
    return tuple(
        torch.randn(n, t, width, generator=g, dtype=torch.float64, requires_grad=True) for t in (queries, keys, keys)
    )


def written_out(q, k, v, offset: int | None, hidden: torch.Tensor | None) -> torch.Tensor:
    """Attention as it is printed, all scores at once: (N, h, Tq)."""
    scores = q @ k.transpose(1, 2)
    if hidden is not None:
        scores = scores + hidden[:, None]
    if offset is not None:
        i, j = torch.arange(q.shape[1])[:, None], torch.arange(k.shape[1])
        scores = scores.masked_fill(j > i + offset, -torch.inf)
    return (torch.softmax(scores, -1) @ v).transpose(1, 2)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    offset=st.sampled_from([None, 0, 1, 5]),
    masked=st.booleans(),
    budget=st.sampled_from([1, 200, 1 << 20]),
    kept=st.sampled_from([0, 1 << 25]),
    long=st.sampled_from([2, 128]),
)
def test_blocks_change_nothing(
    shape: tuple[int, int], offset: int | None, masked: bool, budget: int, kept: int, long: int
) -> None:
    """Protects: outputs and all three gradients, for any lengths, blocks, masks, kept or computed again."""
    queries, keys = shape
    q, k, v = tensors(4, queries, keys)
    hidden = None
    if masked:
        hidden = torch.zeros(4, keys, dtype=torch.float64)
        hidden[1, : keys // 2] = HIDDEN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK_BYTES", budget)
        patch.setattr(attention, "KEPT_BYTES", kept)
        patch.setattr(attention, "LONG", long)
        ours = blocked_attention(q, k, v, offset=offset, stream=DropoutStream([1]), hidden=hidden)
    slope = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).view(ours.shape)
    found = torch.autograd.grad(ours, (q, k, v), slope)
    literal = written_out(q, k, v, offset, hidden)
    expected = torch.autograd.grad(literal, (q, k, v), slope)
    assert torch.allclose(ours, literal, atol=1e-12)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kept", [0, 1 << 25])
def test_the_gradient_sees_the_dropout_of_the_forward_pass(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: computing a block again draws the masks it was computed with (numerical derivative)."""
    monkeypatch.setattr(attention, "KEPT_BYTES", kept)
    q, k, v = tensors(4, 3, 5)

    def of(*inputs: torch.Tensor) -> torch.Tensor:
        return blocked_attention(*inputs, offset=2, stream=DropoutStream([1, 2]), rates=(0.5, 0.0))

    assert torch.autograd.gradcheck(of, (q, k, v))


def test_dropout_on_the_weights_has_its_rate_and_its_mean() -> None:
    """Protects: each encoder drops at its own rate, what is kept is scaled, and the stream moves on between calls."""
    keys, n = 50, 400
    stream = DropoutStream([3])
    q, k, v = torch.zeros(2 * n, 4, 2), torch.zeros(2 * n, keys, 2), torch.eye(keys).repeat(2 * n, 1, 1)
    first, second = (blocked_attention(q, k, v, offset=None, stream=stream, rates=(0.3, 0.1)) * keys for _ in range(2))
    for half, rate in ((first[:n], 0.3), (first[n:], 0.1)):
        dropped = (half == 0).double().mean().item()
        assert abs(dropped - rate) < 5 * (rate * (1 - rate) / half.numel()) ** 0.5
        assert half.max().item() == pytest.approx(1 / (1 - rate), rel=1e-5)
    assert not torch.equal(first, second)


def test_a_stacked_seed_draws_what_it_draws_alone() -> None:
    """Protects: seeds of a stack never share a stream, and the stack's size moves nobody's masks."""
    q, k, v = (torch.randn(8, 6, 2, generator=torch.Generator().manual_seed(i)) for i in range(3))
    both = blocked_attention(q, k, v, offset=0, rates=(0.4,), stream=DropoutStream([7, 8]))
    for i, seed in enumerate((7, 8)):
        part = slice(4 * i, 4 * i + 4)
        alone = blocked_attention(q[part], k[part], v[part], offset=0, rates=(0.4,), stream=DropoutStream([seed]))
        assert torch.equal(both[part], alone)


def test_hidden_scores_are_not_computed() -> None:
    """Protects: under a causal mask a long sequence computes about five eighths of its scores, not all."""
    blocks = plan_blocks(plan_cut(2, 400, 400, 0), 400, 400, 1, 1, 0)
    computed = sum((b.batch.stop - b.batch.start) * (b.queries.stop - b.queries.start) * b.keys for b in blocks)
    assert computed == pytest.approx(2 * 400 * 400 * 5 / 8, rel=0.01)
