"""Seeds as one model: each ends as it would alone, is written on its own, and can leave, fail or go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.records.folder import Records, RunWriter
from dmd_repro.spec import RunSpec
from dmd_repro.systems import resolve
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.fit import Execution, fit, fit_stack
from dmd_repro.training.loop import Loop
from dmd_repro.training.report import EpochReport

CPU = torch.device("cpu")
SEEDS = (3, 4, 5)
SMALL = {"d": 8, "heads": 2, "layers": 1}
QUICK = {**SMALL, "max_epochs": 4, "batch_size": 4, "accumulate": 1, "early_stop": 2, "learning_rate": 3e-3}
QUIET = {
    "dmd": dict.fromkeys(("text_dropout", "output_dropout", "attn_dropout", "attn_dropout_a"), 0.0),
    "mult": dict.fromkeys(("embed_dropout", "attn_dropout", "relu_dropout", "res_dropout"), 0.0),
}


def specs_of(features: Features, model: str = "dmd", seeds: tuple[int, ...] = SEEDS, **more: object) -> list[RunSpec]:
    """Return quick specs that differ in the seed alone."""
    return [resolve_spec(model, seed=s, features=features, overrides={**QUICK, **more}) for s in seeds]


def stop_at(count: int) -> Callable[[EpochReport], None]:
    """Return a callback that interrupts after so many reports."""
    seen: list[EpochReport] = []

    def on_epoch(report: EpochReport) -> None:
        seen.append(report)
        if len(seen) == count:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize("model", [name for name in SHIPPED if find_system(name).stackable])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_stack_ends_as_its_seeds_alone(model: str, dropout: bool, toy: Features, tmp_path: Path) -> None:
    """Protects: own initialisation, order, masks, plateau, early stop and best epoch of each seed, over a training."""
    more = {} if dropout else QUIET[model]
    specs = specs_of(toy, model, **more)
    together = fit_stack(specs, toy, Records(tmp_path / "stack"), execution=Execution(stack=3))
    assert [r.spec.seed for r in together] == list(SEEDS)
    for spec, stacked in zip(specs, together, strict=True):
        alone = fit(spec, toy, Records(tmp_path / "alone"), execution=Execution())
        assert stacked.provenance["best_epoch"] == alone.provenance["best_epoch"]
        assert stacked.provenance["epochs"] == alone.provenance["epochs"]
        assert set(stacked.checkpoint()) == set(alone.checkpoint())
        for name, value in alone.checkpoint().items():
            assert stacked.checkpoint()[name].shape == value.shape
        for split in ("valid", "test"):
            assert np.allclose(stacked.epochs(split), alone.epochs(split), atol=2e-4), split
        assert stacked.provenance["execution"]["members"] == list(SEEDS)
        assert alone.provenance["execution"]["stack"] == 1


def test_a_stack_that_was_killed_goes_on(toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: interrupted between two seeds' saves and in the middle of a training, every seed ends bit for bit."""
    specs = specs_of(toy)
    whole = {r.spec.seed: r for r in fit_stack(specs, toy, Records(tmp_path / "a"), execution=Execution(stack=3))}
    cut, save, saves = Records(tmp_path / "b"), RunWriter.save_epoch, []

    def dies(self: RunWriter, arrays: Any, state: Any, line: Any) -> None:
        saves.append((self.spec.seed, line["epoch"]))
        if (self.spec.seed, line["epoch"]) in ((SEEDS[2], 1), (SEEDS[0], 2)):
            raise KeyboardInterrupt
        save(self, arrays, state, line)

    for seed, epoch in ((SEEDS[2], 1), (SEEDS[0], 2)):  # the third seed has no epoch yet; then the first lags behind
        monkeypatch.setattr(RunWriter, "save_epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            fit_stack(specs, toy, cut, execution=Execution(stack=3))
        assert (seed, epoch) in saves
        monkeypatch.setattr(RunWriter, "save_epoch", save)
        with pytest.raises(KeyboardInterrupt):
            fit_stack(specs, toy, cut, execution=Execution(stack=3), on_epoch=stop_at(1))
    for record in fit_stack(specs, toy, cut, execution=Execution(stack=3)):
        for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
            ours, theirs = (record.path / name).read_bytes(), (whole[record.spec.seed].path / name).read_bytes()
            assert ours == theirs, (record.spec.seed, name)


def test_a_seed_that_has_stopped_leaves_the_stack(
    toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: no work is done for a seed that is over, and the others do not notice."""
    sizes: list[int] = []
    real = Loop.epoch

    def noted(self: Loop) -> list:
        sizes.append(len(self.seed_states))
        return real(self)

    monkeypatch.setattr(Loop, "epoch", noted)
    specs = specs_of(toy, max_epochs=12, early_stop=1)
    records = fit_stack(specs, toy, Records(tmp_path), execution=Execution(stack=3))
    ends = sorted(r.provenance["epochs"] for r in records)
    assert ends[0] < ends[-1], "the case is chosen so that they stop at different epochs"
    assert sizes == [sum(end > epoch for end in ends) for epoch in range(ends[-1])]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_stack_larger_than_memory_is_halved(
    toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Protects: out of memory ends no run: halves go on from the epochs that are saved, to the same end."""
    specs, sizes = specs_of(toy), []
    real = Loop.epoch

    def tight(self: Loop) -> list:
        sizes.append(len(self.seed_states))
        if len(self.seed_states) > 1 and any(seed_state.at.epoch == 1 for seed_state in self.seed_states):
            raise error
        return real(self)

    monkeypatch.setattr(Loop, "epoch", tight)
    records = fit_stack(specs, toy, Records(tmp_path / "a"), execution=Execution(stack=3))
    assert sizes[:2] == [3, 3]
    assert 2 in sizes
    alone = fit(specs[2], toy, Records(tmp_path / "b"), execution=Execution())
    assert records[2].provenance["epochs"] == alone.provenance["epochs"]
    assert np.allclose(records[2].predictions("test").y_pred, alone.predictions("test").y_pred, atol=2e-4)


def test_one_seed_larger_than_memory_is_a_failure(
    toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: what does not fit even alone is recorded as FAILED with its reason, once, and halving ends."""

    def full(self: Loop) -> list:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Loop, "epoch", full)
    records, specs = Records(tmp_path), specs_of(toy)
    with pytest.raises(torch.OutOfMemoryError):
        fit_stack(specs, toy, records, execution=Execution(stack=3))
    assert set(records.scan().status) == {"failed"}
    assert len(records.scan()) == len(specs)


def test_rows_never_share_a_stack(toy: Features) -> None:
    """Protects: only seeds of one configuration are one model."""
    one, two = specs_of(toy)[:2]
    with pytest.raises(ValueError, match="only seeds"):
        Loop([one, replace(two, config={**two.config, "learning_rate": 1e-5})], toy, CPU)


def test_a_model_that_cannot_be_stacked_says_why(
    toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: a recurrent system, or a BERT that is trained along, is refused in a sentence with the way out."""
    alone = replace(find_system("dmd"), stackable=False)
    monkeypatch.setattr(resolve, "find_system", lambda name: alone)
    assert "no stack axis" in resolve.why_not_stacked(specs_of(toy)[0])
    with pytest.raises(SpecError, match="--stack 1"):
        fit_stack(specs_of(toy), toy, Records(tmp_path), execution=Execution(stack=3))
    assert not list(tmp_path.iterdir())
    tuned = specs_of(toy)[0]
    monkeypatch.undo()
    tuned = replace(tuned, config={**tuned.config, "bert": "abc", "bert_finetune": True})
    assert "BERT" in resolve.why_not_stacked(tuned)
