"""Layers of plain systems (PMR, FDMER): compiled or not, they compute the same and draw the same masks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmd_repro.nn import compiled
from dmd_repro.nn.compiled import choice
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.nn.sequence import Attention, FeedForward, SelfLayer, add_and_feed, through
from dmd_repro.systems.plain import serve_dropout
from dmd_repro.systems.pmr.config import PMRConfig
from dmd_repro.systems.pmr.net import Reinforce

needs_kernels = pytest.mark.skipif(choice.library() is None, reason="needs a C++ compiler and a processor with AVX2")


@needs_kernels
@given(
    heads=st.integers(1, 4), width=st.integers(1, 14), queries=st.integers(1, 40), keys=st.integers(1, 40),
    padded=st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=12)
def test_a_plain_system_attends_as_without(heads: int, width: int, queries: int, keys: int, padded: bool) -> None:
    """Attention of PMR and FDMER gives the same numbers and gradients, at heads too wide for the kernels as well."""
    draw = torch.Generator().manual_seed(7)
    layer = Attention(heads * width, heads, 0.0)
    target, source = (torch.randn(3, t, heads * width, generator=draw).requires_grad_() for t in (queries, keys))
    valid = torch.rand(3, keys, generator=draw) < 0.5 if padded else None
    if valid is not None:
        valid[:, 0] = True
    found = []
    for kernels in (compiled.compiled_kernels, lambda x: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "compiled_kernels", kernels)
            out = layer(target, source, valid)
        found.append((out, *torch.autograd.grad(out.square().sum(), [target, source, *layer.parameters()])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@needs_kernels
@given(
    layers=st.integers(1, 2), heads=st.integers(2, 3), width=st.sampled_from([3, 6, 7, 14]),
    steps=st.sampled_from([1, 7, 16, 50, 130]),
    rates=st.sampled_from([(0.0, 0.0, 0.0), (0.1, 0.0, 0.3), (0.2, 0.4, 0.0)]),
)  # fmt: skip
@settings(deadline=None, max_examples=15)
def test_layers_of_a_plain_system_compute_as_without(
    layers: int, heads: int, width: int, steps: int, rates: tuple[float, float, float]
) -> None:
    """Protects: PMR's reader: the same outputs, gradients and masks, of three rates, and the same draws behind it."""
    draw, d = torch.Generator().manual_seed(7), heads * width
    stream = DropoutStream([3])
    stack = nn.ModuleList(
        SelfLayer(d, heads, attention=rates[0], relu=rates[1], residual=rates[2]) for _ in range(layers)
    )
    drawn(stack, draw)
    serve_dropout(stack, stream)
    x, slope = (torch.randn(3, steps, d, generator=draw) for _ in range(2))
    x, found = x.requires_grad_(), []
    for kernels in (compiled.compiled_kernels, lambda x: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "compiled_kernels", kernels)
            stream.restart([2], torch.device("cpu"))
            out = through(list(stack), x)
        gradients = torch.autograd.grad(out, [x, *stack.parameters()], slope)
        found.append([out.detach(), *gradients, stream.take(1)])
    alike(*found)


def drawn(layers: nn.Module, draw: torch.Generator) -> None:
    """Draw parameters under which no ReLU is so near its kink that rounding moves it to the other side."""
    with torch.no_grad():
        for name, p in layers.named_parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=draw))
            if name.endswith("fc1.weight"):
                p.mul_(0.3)
            elif name.endswith("fc1.bias"):
                p.copy_(3.0 * p.sign())


def alike(ours: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> None:
    """Assert that outputs and gradients agree, up to rounding of the largest (a bias of keys has the gradient 0)."""
    most = max(float(x.abs().max()) for x in others[:-1])
    for got, wanted in zip(ours, others, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * (1.0 + float(wanted.abs().max())) + 1e-5 * most)


@needs_kernels
def test_dropout_that_no_stream_serves_stays_torchs() -> None:
    """Protects: a layer outside a run drops what torch's generator draws, in training; kernels are for the rest."""
    layer, x = SelfLayer(6, 2, attention=0.5, relu=0.0, residual=0.0), torch.ones(2, 5, 6)
    torch.manual_seed(1)
    first = through([layer], x)
    torch.manual_seed(1)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, through([layer], x))


@needs_kernels
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("rates", [(0.0, 0.0, 0.0), (0.3, 0.1, 0.2), (0.0, 0.2, 0.0)])
def test_the_second_half_of_a_layer_computes_as_without(read: bool, rates: tuple[float, float, float]) -> None:
    """Protects: what PMR does with what a modality read, and with its message: outputs, gradients, masks."""
    draw, stream, d = torch.Generator().manual_seed(7), DropoutStream([3]), 21
    parts = nn.ModuleDict({"norm": nn.LayerNorm(d), "feed": FeedForward(d, *rates[1:]), "drop": nn.Dropout(rates[0])})
    drawn(parts, draw)
    serve_dropout(parts, stream)
    x, other, slope = (torch.randn(3, 50, d, generator=draw) for _ in range(3))
    leaves, found = [t.requires_grad_() for t in ((x, other) if read else (x,))], []
    for kernels in (compiled.compiled_kernels, lambda x: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "compiled_kernels", kernels)
            stream.restart([2], torch.device("cpu"))
            more = (other, parts["drop"]) if read else (None, None)
            out = add_and_feed(x, more[0], drop=more[1], norm=parts["norm"], feed=parts["feed"])
        gradients = torch.autograd.grad(out, [*leaves, *parts.parameters()], slope)
        found.append([out.detach(), *gradients, stream.take(1)])
    alike(*found)


@needs_kernels
@pytest.mark.parametrize("unit", ["gated", "plain"])
@pytest.mark.parametrize("training", [True, False])
def test_a_layerof_pmr_computes_as_without(unit: str, training: bool) -> None:
    """Protects: a target that reads a source of another length, filtered or not: outputs, gradients, masks."""
    draw, stream = torch.Generator().manual_seed(7), DropoutStream([3])
    layer = Reinforce(PMRConfig(d=15, heads=3, unit=unit, relu_dropout=0.2, res_dropout=0.1))
    drawn(layer, draw)
    serve_dropout(layer, stream)
    layer.train(training)
    target, source, slope = (torch.randn(3, t, 15, generator=draw) for t in (50, 37, 50))
    leaves, found = [target.requires_grad_(), source.requires_grad_()], []
    for kernels in (compiled.compiled_kernels, lambda x: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "compiled_kernels", kernels)
            stream.restart([2], torch.device("cpu"))
            out = layer(target, source)
        gradients = torch.autograd.grad(out, [*leaves, *layer.parameters()], slope)
        found.append([out.detach(), *gradients, stream.take(1)])
    alike(*found)
