"""The captured step without a GPU: a replay that computes from the same buffers, beside the ordinary step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.training import resolve_spec
from dmd_repro.training.capture import CapturedStep
from dmd_repro.training.feed import gather
from dmd_repro.training.loop import Loop

CPU = torch.device("cpu")
SMALL = {"d": 8, "heads": 2, "layers": 1, "batch_size": 4, "accumulate": 2, "max_epochs": 3}


class Replay:
    """Stands for a CUDA graph: computes again from the buffers the capture named."""

    def __init__(self, step: CapturedStep) -> None:
        self.step, self.count = step, 0

    def replay(self) -> None:
        """Compute the step with the buffers as they are now."""
        stream, self.count = self.step.loop.stream, self.count + 1
        assert stream is not None
        own, stream.starts = stream.starts, self.step.starts
        self.step._once()
        stream.starts = own


def record(step: CapturedStep, order: np.ndarray) -> None:
    """Do what `_capture` does, without a GPU's stream and graph."""
    loop = step.loop
    assert loop.stream is not None
    step.order, step.step = torch.from_numpy(order.copy()), torch.zeros((), dtype=torch.int64)
    step.starts = loop.stream.starts.clone()
    tally, loop.tally = loop.tally, {}
    step._once()
    step.tally, loop.tally = loop.tally, tally
    loop.module.zero_grad(set_to_none=False)
    step.graph = Replay(step)  # type: ignore[assignment]


def loop_of(features: Features, **more: object) -> Loop:
    """Return a stack of two."""
    return Loop(
        [resolve_spec("dmd", seed=s, features=features, overrides={**SMALL, **more}) for s in (1, 2)], features, CPU
    )


def captured_loop(features: Features, **more: object) -> Loop:
    """Return the same with its clips resident and its step to be captured."""
    loop = loop_of(features, **more)
    loop.feed.resident = {n: gather(s, np.arange(len(s)), CPU) for n, s in features.splits.items()}
    loop.captured = CapturedStep(loop)
    return loop


def test_a_replayed_step_is_the_step(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: order, masks, gradients over a window, and means of an epoch do not freeze at what was captured."""
    monkeypatch.setattr(CapturedStep, "_capture", record)
    plain, replayed = loop_of(toy), captured_loop(toy)
    for _ in range(3):
        for a, b in zip(plain.epoch(), replayed.epoch(), strict=True):
            assert a is not None
            assert b is not None
            assert b["train"] == pytest.approx(a["train"], rel=1e-5)
            assert b["valid_loss"] == pytest.approx(a["valid_loss"], abs=2e-4)
    for p, q in zip(plain.module.parameters(), replayed.module.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    assert replayed.captured is not None
    graph = replayed.captured.graph
    assert isinstance(graph, Replay)
    assert graph.count == 3 * (len(toy.splits["train"]) // 4), "every full batch is replayed, the last one is not"


def test_what_cannot_be_captured_says_why(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a capture that fails leaves a reason and the ordinary step, not a failed run; memory is not one."""

    def refuse(step: CapturedStep, order: np.ndarray) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(CapturedStep, "_capture", refuse)
    loop, plain = captured_loop(toy), loop_of(toy)
    ours, theirs = loop.epoch(), plain.epoch()
    assert loop.captured is not None
    assert loop.captured.reason == "operation not permitted when stream is capturing"
    assert ours[0] is not None
    assert theirs[0] is not None
    assert ours[0]["train"] == pytest.approx(theirs[0]["train"], rel=1e-6)

    trimmed = captured_loop(toy, padding="masked")
    trimmed.epoch()
    assert trimmed.captured is not None
    assert "shapes differ" in trimmed.captured.reason

    def full(step: CapturedStep, order: np.ndarray) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CapturedStep, "_capture", full)
    with pytest.raises(torch.OutOfMemoryError):
        captured_loop(toy).epoch()
