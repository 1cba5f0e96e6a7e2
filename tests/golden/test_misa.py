"""MISA against its figures; nothing beside the checkout is needed."""

from __future__ import annotations

from golden.harness import Account
from golden.misa import Golden


def test_every_figure_in_float64() -> None:
    """Protects: codes, the parts of each loss, which tensors have a gradient, and ten batches are the reference's."""
    account = Account("misa")
    golden = Golden(account)
    golden.check_made()
    golden.one_batch()
    for p in golden.net.parameters():
        p.grad = None
    golden.training()
    account.finish({})


def test_planted_errors_are_seen() -> None:
    """Protects: another weight of a term and another clip are caught by the figures."""
    account = Account("misa")
    golden = Golden(account)
    golden.weights["diff"] = 1.0
    golden.one_batch()
    assert account.misses["losses/total"] > 1e-5
    account = Account("misa")
    Golden(account).training(clip=1e9)
    assert account.misses
