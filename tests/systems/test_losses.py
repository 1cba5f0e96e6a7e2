"""Loss terms against slow transcriptions with loops, and what the weighted total refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.errors import SpecError
from dmd_repro.systems import losses


def slow_margin(rows: np.ndarray, labels: np.ndarray, scale: float) -> float:
    """Anchor by anchor, positive by positive, negative by negative."""

    def cosine(i: int, j: int) -> float:
        norms = [np.sqrt((rows[k] ** 2).sum() + 1e-8) for k in (i, j)]
        return float(rows[i] @ rows[j] / (norms[0] * norms[1]))

    anchors = []
    n = len(labels)
    for i in range(n):
        values = [
            max(0.0, scale * abs(labels[i] - labels[k]) - cosine(i, j) + cosine(i, k))
            for j in range(n) if j != i and labels[j] == labels[i]
            for k in range(n) if labels[k] != labels[i]
        ]  # fmt: skip
        if values:
            anchors.append(np.mean(values))
    return float(np.mean(anchors)) if anchors else 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-3.0, -1.2, 0.0, 1.2]), min_size=2, max_size=9), st.integers(0, 99))
def test_margin_equals_the_triple_loop(labels: list[float], seed: int) -> None:
    """Protects: the loop-free margin loss, ties, lone labels and all-equal batches included."""
    rows = np.random.Generator(np.random.PCG64(seed)).standard_normal((len(labels), 4))
    ours = losses.margin_by_distance(
        torch.from_numpy(rows)[None], torch.tensor(labels, dtype=torch.float64)[None], 0.15
    )
    assert ours.item() == pytest.approx(slow_margin(rows, np.array(labels), 0.15), abs=1e-9)


def test_margin_without_usable_anchor_has_no_gradient() -> None:
    """Protects: a batch whose labels all tie adds 0, not NaN, to loss and gradient."""
    rows = torch.zeros(1, 4, 3, requires_grad=True)
    loss = losses.margin_by_distance(rows, torch.ones(1, 4), 0.15)
    loss.sum().backward()
    assert loss.item() == 0
    assert torch.equal(rows.grad, torch.zeros_like(rows))


def test_the_teacher_is_not_taught() -> None:
    """Protects: distillation moves the student and the edge weights only."""
    logits = {m: torch.tensor([[[float(i)]]], requires_grad=True) for i, m in enumerate("lva")}
    edges = torch.full((1, 1, 1), 0.5, requires_grad=True)
    losses.distil_logits(logits, edges, torch.zeros(1), [("l", "v")]).sum().backward()
    assert logits["l"].grad is not None
    assert logits["v"].grad is None
    assert edges.grad is not None


def test_total_names_a_term_without_weight() -> None:
    """Protects: no loss term is ever dropped in silence."""
    with pytest.raises(SpecError, match="mar"):
        losses.total({"mar": torch.ones(1)}, {"rec": 1.0})
