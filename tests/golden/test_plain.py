"""EF-LSTM, LF-LSTM, TFN, LMF, CTC, MFM and Graph-MFN against their references' figures; nothing else is needed."""

from __future__ import annotations

import pytest
import torch

from golden.harness import FLOAT32, Account
from golden.plain import CASES, Golden

FAST = ("ef_lstm", "lmf", "ctc_ef_lstm", "tfn")


@pytest.mark.parametrize("name", list(CASES))
def test_every_figure_in_float64(name: str) -> None:
    """Protects: each output, loss, gradient, running statistic and batch of training is the reference's."""
    account = Account(name)
    golden = Golden(account)
    golden.one_batch()
    golden.trainings()
    account.finish({})


@pytest.mark.parametrize("name", FAST)
def test_one_batch_in_float32(name: str) -> None:
    """Protects: the precision that is trained in computes the same, as far as its rounding lets it."""
    account = Account(name, FLOAT32)
    Golden(account).one_batch()
    account.finish({"trajectory*": "compared in float64"})


def test_planted_errors_are_seen() -> None:
    """Protects: another order of the modalities, rate, clip or untrained weight is caught by the figures."""
    account = Account("lf_lstm_aligned")
    golden = Golden(account)
    real = golden.load

    def swapped(plain: torch.nn.Module) -> None:
        real(plain)  # type: ignore[arg-type]
        with torch.no_grad():
            for a, v in zip(plain.net.lstm_a.parameters(), plain.net.lstm_v.parameters(), strict=True):
                if a.shape == v.shape:
                    a.copy_(v.clone())

    golden.load = swapped  # type: ignore[method-assign]
    golden.one_batch()
    assert account.misses["outputs/prediction"] > 1e-3

    for name, more in (("ctc_ef_lstm", {"clip_norm": 0.0}), ("lmf", {"factor_lr": 1e-3, "weight_decay": 2e-3})):
        account = Account(name)
        Golden(account).training("trajectory", more)
        assert account.misses["trajectory/total"] > 1e-6
        with pytest.raises(AssertionError, match="figures are off"):
            account.finish({})
