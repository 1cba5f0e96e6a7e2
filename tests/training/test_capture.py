"""The captured step without a GPU: a replay that computes from the same buffers, beside the ordinary step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.capture import CapturedStep, CapturedUpdate
from dmd_repro.training.feed import gather
from dmd_repro.training.loop import Loop

CPU = torch.device("cpu")
SMALL = {"d": 8, "heads": 2, "layers": 1, "batch_size": 4, "accumulate": 2, "max_epochs": 3}


class Replay:
    """Stands for a CUDA graph: computes again from the buffers the capture named."""

    def __init__(self, captured: CapturedStep | CapturedUpdate) -> None:
        self.captured, self.count = captured, 0

    def replay(self) -> None:
        """Compute the step with the buffers as they are now."""
        self.count += 1
        loop = self.captured.loop
        if isinstance(self.captured, CapturedUpdate):
            loop.step_seeds()
            return
        assert loop.stream is not None
        own, loop.stream.starts = loop.stream.starts, self.captured.starts
        self.captured._once()
        loop.stream.starts = own


def record(step: CapturedStep) -> Replay:
    """Do what `record` does, without a GPU's stream and graph."""
    with step.as_before():
        step._once()
    return Replay(step)


def loop_of(features: Features, **more: object) -> Loop:
    """Return a stack of two."""
    return Loop(
        [resolve_spec("dmd", seed=s, features=features, overrides={**SMALL, **more}) for s in (1, 2)], features, CPU
    )


def captured_loop(features: Features, **more: object) -> Loop:
    """Return the same with its clips resident and its step to be captured."""
    loop = loop_of(features, **more)
    loop.feed.spans = {}  # as on a GPU, batches keep their shape
    loop.feed.resident = {n: gather(s, np.arange(len(s)), CPU) for n, s in features.splits.items()}
    clips = len(features.splits["train"])
    loop.capturing = True
    loop.captured = {n: CapturedStep(loop, n) for n in (4, clips % 4) if n}
    loop.captured_update = CapturedUpdate(loop)
    return loop


@pytest.mark.parametrize("padding", ["zeros", "masked"])
def test_a_replayed_step_is_the_step(padding: str, toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: order, masks, gradients over a window, and means of an epoch do not freeze at what was captured."""
    monkeypatch.setattr(CapturedStep, "record", record)
    monkeypatch.setattr(CapturedUpdate, "record", lambda update: Replay(update))
    plain, replayed = loop_of(toy, padding=padding), captured_loop(toy, padding=padding)
    for _ in range(3):
        for a, b in zip(plain.epoch(), replayed.epoch(), strict=True):
            assert a is not None
            assert b is not None
            assert b["train"] == pytest.approx(a["train"], rel=1e-5)
            assert b["valid_loss"] == pytest.approx(a["valid_loss"], abs=2e-4)
    for p, q in zip(plain.module.parameters(), replayed.module.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    assert replayed.captured_update is not None
    update, clips = replayed.captured_update.graph, len(toy.splits["train"])
    assert isinstance(update, Replay)
    counts = {n: step.graph.count for n, step in replayed.captured.items() if isinstance(step.graph, Replay)}
    assert counts == {4: 3 * (clips // 4), clips % 4: 3}, "every batch is replayed, the smaller last one too"
    assert update.count == 3 * (-(-clips // 4) // 2) - 1, "every step but the first, which makes the moments"


def test_more_batches_than_an_epoch_are_replayed_too(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: what `dmd bench` times is the replay, however many steps it takes at once."""
    monkeypatch.setattr(CapturedStep, "record", record)
    plain, replayed = loop_of(toy), captured_loop(toy)
    clips = len(toy.splits["train"]) // 4 * 4
    for epochs in (1, 3):
        order = np.stack([np.random.default_rng([seed, epochs]).permutation(clips * epochs) % clips for seed in (1, 2)])
        for a, b in zip(plain.train_batches(order), replayed.train_batches(order), strict=True):
            assert b[0] == pytest.approx(a[0], rel=1e-5)
    graph = replayed.captured[4].graph
    assert isinstance(graph, Replay)
    assert graph.count == 4 * (clips // 4)


def test_what_cannot_be_captured_says_why(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a capture that fails leaves a reason and the ordinary step, not a failed run; memory is not one."""

    def refuse(step: CapturedStep) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(CapturedStep, "record", refuse)
    loop, plain = captured_loop(toy), loop_of(toy)
    ours, theirs = loop.epoch(), plain.epoch()
    assert loop.captured[4].reason == "operation not permitted when stream is capturing"
    assert ours[0] is not None
    assert theirs[0] is not None
    assert ours[0]["train"] == pytest.approx(theirs[0]["train"], rel=1e-6)

    def full(step: CapturedStep) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CapturedStep, "record", full)
    with pytest.raises(torch.OutOfMemoryError):
        captured_loop(toy).epoch()
