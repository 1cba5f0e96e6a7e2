"""The compiled kernels of a CPU: the numbers and the very masks of the way without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from attention_shapes import Shape, computed
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.nn import attention, compiled
from dmd_repro.nn.compiled import build, choice
from dmd_repro.nn.compiled.call import torch_threads
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.nn.encoder import EncoderBank, Laid, Layout
from dmd_repro.nn.layers import initialise

HERE = choice.library() is not None
needs_kernels = pytest.mark.skipif(not HERE, reason="needs a C++ compiler and a processor with AVX2")


@pytest.fixture(scope="module", params=[one.name for one in build.SETS], autouse=True)
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each set of instructions that this processor has: the kernels are one source for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        if HERE:
            patch.setenv(choice.SWITCH, request.param)
            patch.setenv(choice.SAID, "1")
            choice.library.cache_clear()
            if choice.library() is None:
                pytest.skip(f"this processor lacks instructions of {request.param}")
        yield request.param
    choice.library.cache_clear()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that switches the compiled kernels off for the rest of a test."""
    return lambda: monkeypatch.setattr(compiled, "compiled_kernels", lambda x: None)


@needs_kernels
@settings(max_examples=40, deadline=None)
@given(
    seeds=st.integers(1, 2),
    rates=st.sampled_from([(0.0,), (0.3,), (0.3, 0.0), (0.5, 0.2)]),
    clips=st.integers(1, 3),
    heads=st.integers(1, 3),
    width=st.integers(1, 12),
    queries=st.sampled_from([1, 2, 15, 16, 17, 46, 100, 130, 150]),
    keys=st.sampled_from([1, 2, 15, 16, 33, 46, 64, 100, 129, 300]),
    offset=st.sampled_from([None, 0, 1, 31]),
    padded=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 8.0]),
)
def test_attention_computes_what_the_blocks_do(**shape) -> None:
    """Protects: outputs and gradients of any shape, masks of every seed and encoder, hidden keys, large scores."""
    case = Shape(**shape)
    if case.padded:  # only scores that HIDDEN swallows whole leave rows of hidden keys alike
        case = case._replace(scale=min(case.scale, 1.0))
    found = computed(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "compiled_kernels", lambda x: None)
        expected = computed(case)
    for got, wanted in zip(found, expected, strict=True):
        # scores of hundreds differ by their rounding, and the weights by as much
        most = 3e-5 * max(1.0, case.scale**2) * (1.0 + wanted.abs().max().item())
        torch.testing.assert_close(got, wanted, rtol=3e-4, atol=most)


@needs_kernels
def test_packed_inputs_and_threads_move_nothing(without: Callable[[], None]) -> None:
    """Protects: q, k and v may be slices of one tensor, and any number of threads gives the same bits."""
    case = Shape(2, (0.3, 0.1), 2, 2, 5, 46, 46, 0, packed=True)
    one, three = computed(case, threads=1), computed(case, threads=3)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    without()
    for got, wanted in zip(one, computed(case), strict=True):
        torch.testing.assert_close(got, wanted, rtol=2e-4, atol=2e-5)


@needs_kernels
@pytest.mark.parametrize(
    ("queries", "keys", "offset"), [(46, 46, 0), (150, 37, 20), (33, 131, None), (1, 45, None), (100, 100, 0)]
)
def test_dropout_takes_the_very_same_weights(
    queries: int, keys: int, offset: int | None, without: Callable[[], None]
) -> None:
    """Protects: a run draws the same masks with compiled kernels and without, bit for bit (v shows each weight)."""

    def seen() -> torch.Tensor:
        found = []
        for at in range(0, keys, 12):  # a head is at most 12 wide
            v = torch.zeros(4, 2, keys, 24)
            for j in range(at, min(at + 12, keys)):
                v[..., j, j - at] = v[..., j, 12 + j - at] = 1.0
            q = torch.zeros(4, 2, queries, 24)
            stream = DropoutStream([5, 6])
            rates = (0.4, 0.2)
            found.append(
                attention.attention(q, torch.zeros_like(v), v, heads=2, offset=offset, stream=stream, rates=rates)
            )
        return torch.cat(found, dim=-1) != 0

    ours = seen()
    without()
    assert torch.equal(ours, seen())
    assert 0.5 < ours[:2].sum() / (ours[2:].sum() + 1) < 2  # both seeds draw


class Bank(NamedTuple):
    """A bank of encoders and what it reads."""

    seeds: int
    encoders: int
    heads: int
    width: int  # of a head
    clips: int
    queries: int
    keys: int  # 0: self-attention
    layers: int
    causal: bool
    last_only: bool
    padded: bool
    relu_dropout: float = 0.0
    res_dropout: float = 0.0


def through(case: Bank, threads: int = 1) -> list[torch.Tensor]:
    """Return a bank's outputs and the gradients of its inputs and of every parameter."""
    d, draw, seeds = case.heads * case.width, torch.Generator().manual_seed(2), range(case.seeds)
    stream = DropoutStream(seeds)
    bank = EncoderBank(
        [f"e{i}" for i in range(case.encoders)], d, case.heads, case.layers, rates=[0.3, 0.0, 0.1][: case.encoders],
        embed_dropout=0.1, relu_dropout=case.relu_dropout, res_dropout=case.res_dropout, stream=stream,
        causal=case.causal,
    ).train()  # fmt: skip
    initialise(bank, seeds)
    with torch.no_grad():  # scales and shifts that are none, biases that are not 0
        for p in bank.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    stream.restart([1] * case.seeds, torch.device("cpu"))

    def inputs(steps: int) -> list[Laid]:
        valid = torch.ones(case.seeds, case.clips, steps, dtype=torch.bool)
        valid[:, 0, : steps // 3] = False
        layout = Layout(0, steps, valid if case.padded else None)
        shape = (case.seeds, case.clips, steps, d)
        return [Laid(torch.randn(shape, generator=draw).requires_grad_(), layout) for _ in range(case.encoders)]

    queries, keys = inputs(case.queries), inputs(case.keys) if case.keys else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = torch.stack(bank(queries, keys, last_only=case.last_only))
        leaves = [x.x for x in (*queries, *(keys or ()))] + list(bank.parameters())
        slope = torch.randn(out.shape, generator=draw)
        return [out.detach(), *torch.autograd.grad(out, leaves, slope)]
    finally:
        torch.set_num_threads(before)


@needs_kernels
@settings(max_examples=25, deadline=None)
@given(
    seeds=st.integers(1, 2),
    encoders=st.integers(1, 3),
    heads=st.integers(2, 3),  # a LayerNorm over two or three channels divides by almost nothing
    width=st.sampled_from([3, 5, 7, 12]),
    clips=st.integers(1, 3),
    queries=st.sampled_from([1, 7, 16, 46, 97]),
    keys=st.sampled_from([0, 3, 33, 64]),
    layers=st.integers(1, 3),
    causal=st.booleans(),
    last_only=st.booleans(),
    padded=st.booleans(),
    relu_dropout=st.sampled_from([0.0, 0.4]),
    res_dropout=st.sampled_from([0.0, 0.3]),
)
def test_a_bank_computes_what_it_does_without(**shape) -> None:
    """Protects: outputs and every gradient of whole layers, of seeds, encoders, hidden keys, the last step."""
    agrees(Bank(**shape))


def agrees(case: Bank) -> None:
    """Assert that a bank computes what it does without kernels."""
    found = through(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "compiled_kernels", lambda x: None)
        expected = through(case)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-4 * (0.1 + wanted.abs().max().item()))


@needs_kernels
def test_dropout_of_more_elements_than_one_draw_has() -> None:
    """Protects: masks whose draw ends in the middle of a step's channels (2^21 = 14979 * 140 + 92), odd widths."""
    agrees(
        Bank(2, 2, 5, 7, 80, 97, 0, 1, causal=True, last_only=False, padded=False, relu_dropout=0.2, res_dropout=0.3)
    )


@needs_kernels
def test_any_number_of_threads_gives_the_same_bits() -> None:
    """Protects: the number of threads moves no bit of what a layer computes, its weights' gradients included."""
    both = Bank(2, 2, 2, 5, 3, 46, 33, 2, causal=True, last_only=False, padded=False)
    one, three = through(both, threads=1), through(both, threads=3)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    share = choice.library().loaded.kernels_share_threads
    share(None, None)  # without torch's OpenMP: threads of our own
    try:
        own = through(both, threads=3)
    finally:
        share(*(torch_threads() or (None, None)))
    assert all(torch.equal(a, b) for a, b in zip(one, own, strict=True))


def test_the_threads_are_those_of_torch() -> None:
    """Protects: no second team of threads fights torch's for the cores (a step with two would gain nothing)."""
    if "libgomp" not in Path("/proc/self/maps").read_text(encoding="utf-8"):
        pytest.skip("this torch brings another OpenMP")
    assert torch_threads() is not None


@needs_kernels
def test_a_diverged_score_stays_one() -> None:
    """Protects: NaN in, NaN out, so that a diverged run is recorded as such; a score of -inf has no weight."""

    def seen(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        v = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 1, 5, 4).clone()
        leaves = [x.requires_grad_() for x in (q, k, v)]
        out = attention.attention(*leaves, heads=2, offset=None, stream=DropoutStream([1]), rates=(0.0,))
        return torch.stack([out.sum(), torch.autograd.grad(out.sum(), v)[0][0, 0, 1:].mean()])

    assert seen(torch.full((1, 1, 3, 4), float("nan")), torch.ones(1, 1, 5, 4)).isnan().all()
    k = torch.zeros(1, 1, 5, 4)
    k[..., 0, :] = -1e30
    # of three queries every channel is the mean of 1 to 4, and four keys share what they weigh
    torch.testing.assert_close(seen(torch.full((1, 1, 3, 4), 1e30), k), torch.tensor([30.0, 0.75]))


@needs_kernels
def test_other_numbers_than_float32_go_the_other_way() -> None:
    """Protects: parity in double precision is computed in double precision."""
    assert compiled.compiled_kernels(torch.zeros(1)) is not None
    assert compiled.compiled_kernels(torch.zeros(1, dtype=torch.float64)) is None
