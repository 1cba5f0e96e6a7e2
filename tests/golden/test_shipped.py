"""DMD (four settings) and MulT (two) against the authors' figures; nothing beside the checkout is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dmd_repro.nn.layers import named_slices
from golden.harness import FLOAT32, Account
from golden.shipped import build, config, one_batch, training

CHECKED = (
    "dmd_mosi_aligned", "dmd_mosi_unaligned", "dmd_mosei_aligned", "dmd_mosei_unaligned", "mult_aligned",
    "mult_unaligned",
)  # fmt: skip


@pytest.mark.parametrize("name", CHECKED)
def test_every_figure_in_float64(name: str) -> None:
    """Protects: each output, loss, gradient and batch of training is the authors' code's, on every machine."""
    account = Account(name)
    one_batch(account)
    training(account)
    account.finish({})


@pytest.mark.parametrize("name", ["dmd_mosei_aligned", "mult_aligned"])
def test_one_batch_in_float32(name: str) -> None:
    """Protects: the precision that is trained in computes the same, as far as its rounding lets it."""
    account = Account(name, FLOAT32)
    one_batch(account, double=False)
    account.finish({"trajectory/*": "compared in float64"})


def swap(model: Any, one: str, other: str) -> None:
    """Exchange the weights of two encoders."""
    found = {n: p[0, e] for n, p, e in named_slices(model)}
    with torch.no_grad():
        for name in [n for n in found if n.startswith(one)]:
            a, b = found[name], found[name.replace(one, other)]
            kept = a.clone()
            a.copy_(b)
            b.copy_(kept)


def test_planted_errors_are_seen() -> None:
    """Protects: swapped encoders, other heads, a dropped bias and another step rule are each caught by the figures."""
    account = Account("mult_aligned")
    model = build(account, double=True)[0]
    swap(model, "mult/trans_l_with_a", "mult/trans_l_with_v")
    one_batch(account, model=model)
    assert account.misses["outputs/prediction"] > 1e-3

    account = Account("mult_aligned")
    made = replace(config(account), heads=6)
    one_batch(account, model=build(account, double=True, made=made)[0])
    assert account.misses["outputs/last_hs"] > 1e-3

    account = Account("mult_aligned")
    model = build(account, double=True)[0]
    with torch.no_grad():
        next(p[0, e] for n, p, e in named_slices(model) if n == "mult/proj1.bias").zero_()
    one_batch(account, model=model)
    assert account.misses["outputs/prediction"] > 1e-3

    account = Account("mult_aligned")
    training(account, change=lambda made: replace(made, clip_norm=0.0))
    assert account.misses["trajectory/total"] > 1e-3
    with pytest.raises(AssertionError, match="figures are off"):
        account.finish({})


def test_a_forgotten_figure_fails() -> None:
    """Protects: what nobody compared cannot pass for compared."""
    with pytest.raises(AssertionError, match="neither compared nor excused"):
        Account("mult_aligned").finish({"outputs/*": "a reason"})
