"""The GPU kernels of attention: on a card as compiled, elsewhere run by Triton's interpreter on the CPU."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from attention_shapes import Shape, computed

from dmd_repro.nn import attention, dropout, kernels
from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.nn.kernels import choice

pytest.importorskip("triton", reason="the kernels need Triton, which comes with torch for a GPU, or pip install triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The kernels, interpreted where there is no card (conftest.py)."""
    return importlib.import_module("dmd_repro.nn.kernels.gpu")


if DEVICE == CPU:  # a step of a loop costs the interpreter as much as a card a thousand of them
    LONG = 34  # queries from which blocks are cut along them: lowered, so that short ones are
    CASES = [
        Shape(1, (0.0,), 2, 2, 5, 7, 7, 0),
        Shape(1, (0.3, 0.0), 1, 2, 2, 33, 33, 0, packed=True),
        Shape(2, (0.3, 0.1), 1, 2, 3, 10, 36, 26),
        Shape(1, (0.4, 0.2), 1, 1, 10, 37, 9, 28, padded=True),
        Shape(2, (0.5, 0.0), 2, 1, 5, 1, 34, None, padded=True),
        Shape(1, (0.2,), 2, 1, 4, 39, 39, 0),
    ]
else:
    LONG = attention.LONG
    CASES = [
        Shape(1, (0.0,), 2, 2, 5, 7, 7, 0),
        Shape(2, (0.3, 0.0), 1, 2, 5, 46, 46, 0, packed=True),
        Shape(2, (0.3, 0.1), 1, 2, 3, 20, 70, 50),
        Shape(1, (0.4, 0.2), 1, 1, 10, 140, 33, 107, padded=True),
        Shape(2, (0.5, 0.0), 2, 1, 5, 1, 90, None, padded=True),
        Shape(1, (0.2,), 2, 1, 4, 150, 150, 0),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.queries}x{c.keys}")
def test_attention_computes_what_the_blocks_do(case: Shape, gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a run on a GPU has the outputs, the gradients and the very dropout masks it has on a CPU."""
    monkeypatch.setattr(attention, "LONG", LONG)
    expected = computed(case, CPU)
    monkeypatch.setattr(attention, "gpu_kernels", lambda device: gpu)
    for got, wanted in zip(computed(case, DEVICE), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("width", [5, 100])
def test_normalise_is_a_layer_norm(width: int, gpu: ModuleType) -> None:
    """Protects: values and gradient of the LayerNorm kernel, also of rows that do not vary."""
    x = torch.randn(3, 7, width, generator=torch.Generator().manual_seed(1)) * 3 + 2
    x[1, 2] = 4.0
    slope = torch.linspace(-1, 1, x.numel()).view(x.shape)
    mine, theirs = x.clone().to(DEVICE).requires_grad_(), x.double().requires_grad_()
    ours, literal = gpu.normalise(mine), torch.nn.functional.layer_norm(theirs, (width,))
    torch.testing.assert_close(ours.detach().cpu().double(), literal.detach(), rtol=1e-5, atol=1e-4)
    ours.backward(slope.to(DEVICE))
    literal.backward(slope.double())
    assert mine.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(mine.grad.cpu().double(), theirs.grad, rtol=1e-4, atol=1e-4)


def test_dropout_drops_what_a_cpu_drops(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: masks of every seed, over more than one draw, and the gradient through the same mask."""
    x = torch.randn(2, 3, 700, 1030, generator=torch.Generator().manual_seed(2)) if DEVICE != CPU else None
    x = torch.randn(2, 3, 11, 7, generator=torch.Generator().manual_seed(2)) if x is None else x
    found = []
    for device, way in ((CPU, None), (DEVICE, gpu)):
        monkeypatch.setattr(dropout, "gpu_kernels", lambda device, way=way: way)
        stream = DropoutStream([5, 6])
        stream.restart([2, 2], device)
        y = x.clone().to(device).requires_grad_()
        out = Dropout(0.3, stream).train()(y)
        out.backward(torch.ones_like(out))
        assert y.grad is not None
        found.append((out.detach().cpu(), y.grad.cpu()))
    for got, wanted in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_device_without_kernels_goes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: without Triton, or on a card it cannot serve, training goes on and says why."""
    kernels.gpu_kernels.cache_clear()
    said: list[str] = []
    monkeypatch.setattr(choice.log, "warning", lambda text, error: said.append(text % error))
    try:
        assert kernels.gpu_kernels(CPU) is None
        assert not said
        if not torch.cuda.is_available():  # a torch without CUDA stands for whatever may be wrong with a card
            assert kernels.gpu_kernels(torch.device("cuda")) is None
            assert "slower" in said[0]
    finally:
        kernels.gpu_kernels.cache_clear()
