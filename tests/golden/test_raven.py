"""RAVEN's three protocols against their figures; nothing beside the checkout is needed."""

from __future__ import annotations

import pytest

from golden.harness import Account
from golden.raven import PROTOCOLS, Golden


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_figure_in_float64(name: str) -> None:
    """Protects: gates, shift, states, which tensors have a gradient, and ten batches are the reference's."""
    account = Account(name)
    golden = Golden(account)
    golden.check_made()
    golden.one_batch()
    for p in golden.net.parameters():
        p.grad = None
    golden.training()
    account.finish({})


def test_planted_errors_are_seen() -> None:
    """Protects: another gate and another rate are caught by the figures."""
    account = Account("raven_official")
    golden = Golden(account)
    golden.net.sigmoid = True
    golden.one_batch()
    assert account.misses["outputs/prediction"] > 1e-3
    Golden(account).training(lr=2e-3)
    assert account.misses["trajectory/total"] > 1e-3
