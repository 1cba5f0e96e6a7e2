"""On a card alone: captured steps, stacks, determinism, resume and precision of real trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.spec import RunSpec
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.feed import predict
from dmd_repro.training.fit import Execution, fit_stack
from dmd_repro.training.loop import Loop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SEEDS = (3, 4, 5)
QUICK = {"d": 20, "heads": 4, "layers": 2, "max_epochs": 3, "batch_size": 16, "accumulate": 2, "learning_rate": 1e-3}
GPU = Execution(device="cuda", stack=3)


def specs_of(features: Features, model: str = "dmd", **more: object) -> list[RunSpec]:
    """Return quick specs that differ in the seed alone."""
    return [resolve_spec(model, seed=s, features=features, overrides={**QUICK, **more}) for s in SEEDS]


def files(record: RunRecord) -> list[bytes]:
    """Return what a run leaves, as bytes."""
    return [(record.path / f"{name}.safetensors").read_bytes() for name in ("predictions", "epochs", "checkpoint")]


@pytest.mark.parametrize(
    "more",
    [{}, {"batch_size": 20, "accumulate": 3}, {"padding": "masked"}],  # a smaller last batch, inside a window
    ids=["plain", "smaller last batch", "masked"],
)
def test_a_captured_step_is_the_step(more: dict, synthetic: Features) -> None:
    """Protects: what a replay computes, over epochs with dropout: means and predictions."""
    device = GPU.prepare()
    specs = specs_of(synthetic, **more)
    captured, plain = Loop(specs, synthetic, device), Loop(specs, synthetic, device, capture=False)
    for _ in range(3):
        for a, b in zip(captured.epoch(), plain.epoch(), strict=True):
            assert a is not None
            assert b is not None
            assert a["train"] == pytest.approx(b["train"], rel=2e-3)
    assert captured.captured_update is not None
    for part in (*captured.captured.values(), captured.captured_update):
        assert part.graph is not None, part.reason
    # not the weights: Adam turns the rounding noise of gradients that are zero into steps, and its kernels differ
    for split in ("valid", "test"):
        said = [predict(x.model, x.feed, split, len(SEEDS))["y_pred"] for x in (captured, plain)]
        assert np.allclose(*said, atol=2e-2)


@pytest.mark.parametrize("model", ["dmd", "mult+gd"])
def test_a_card_ends_where_a_cpu_does(model: str, synthetic: Features, tmp_path: Path) -> None:
    """Protects: equal specs agree across devices and stacks, dropout masks included."""
    specs = specs_of(synthetic, model)
    ours = fit_stack(specs, synthetic, Records(tmp_path / "gpu"), execution=GPU)
    theirs = fit_stack(specs, synthetic, Records(tmp_path / "cpu"), execution=Execution(threads=8, stack=1))
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.epochs("test"), b.epochs("test"), atol=2e-2)


def test_the_same_bits_twice_and_after_an_interruption(synthetic: Features, tmp_path: Path) -> None:
    """Protects: deterministic mode on a card, captured steps and kernels of our own included; resume, bit for bit."""
    specs = specs_of(synthetic)
    first, second = (fit_stack(specs, synthetic, Records(tmp_path / name), execution=GPU) for name in "ab")

    def stop(report: object) -> None:
        raise KeyboardInterrupt

    cut = Records(tmp_path / "c")
    with pytest.raises(KeyboardInterrupt):
        fit_stack(specs, synthetic, cut, execution=GPU, on_epoch=stop)
    third = fit_stack(specs, synthetic, cut, execution=GPU)
    for a, b, c in zip(first, second, third, strict=True):
        assert files(a) == files(b)
        assert files(a) == files(c)


def test_tf32_is_another_run(synthetic: Features, tmp_path: Path) -> None:
    """Protects: a lower precision is asked for, recorded in the spec, and does something; float32 stays float32."""
    plain = specs_of(synthetic)[:1]
    asked = [replace(plain[0], config={**plain[0].config, "precision": "tf32"})]
    (a,), (b,) = (fit_stack(s, synthetic, Records(tmp_path), execution=GPU) for s in (plain, asked))
    assert a.path != b.path
    assert b.spec.config["precision"] == "tf32"
    assert files(a) != files(b)
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_stack_is_what_the_card_has_room_for(synthetic: Features, tmp_path: Path) -> None:
    """Protects: `--stack auto` measures, and trains all seeds of a small row as one."""
    (record, *_) = fit_stack(specs_of(synthetic), synthetic, Records(tmp_path), execution=replace(GPU, stack=0))
    assert record.provenance["execution"]["members"] == list(SEEDS)
