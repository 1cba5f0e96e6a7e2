"""The rules of training that systems declare, each by a script of losses or batches: what the engine makes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Here

from dmd_repro.data.features import Features
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.nn.pooling import last_steps
from dmd_repro.records.folder import Records
from dmd_repro.systems.plain import plain_of
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training import loop as loop_module
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.schedule import selection_loss, training_batches
from dmd_repro.training.seed_state import SeedState

CPU = torch.device("cpu")
TINY = {"hidden_l": 4, "hidden_a": 2, "hidden_v": 2, "head": 3}


@cache
def few(train: int = 8, test: int = 3, *, aligned: bool = True) -> Features:
    """Return some synthetic clips with their last steps only."""
    whole = load_features(f"synthetic-{'aligned' if aligned else 'unaligned'}-glove", Store(Path()))
    steps, sizes = {"l": 4, "a": 4 if aligned else 6, "v": 4 if aligned else 7}, {"train": train, "valid": 3}
    splits = {}
    for name, part in whole.splits.items():
        n = sizes.get(name, test)
        x = {m: last_steps(torch.as_tensor(np.array(part.array(m)[:n])), steps[m]).numpy() for m in "lav"}
        splits[name] = feature_set(
            ids=part.ids[:n], language=x["l"], acoustic=x["a"], visual=x["v"], labels=np.asarray(part.labels[:n]),
            aligned=aligned,
        )  # fmt: skip
    return features("synthetic-few", "synthetic", splits, text="glove", standing="synthetic")


def loop_of(model: str = "lf-lstm", data: Features | None = None, **overrides: Any) -> Loop:
    """Return a training that has not begun."""
    data = data or few()
    overrides = {**(TINY if model == "lf-lstm" else {}), **overrides}
    return Loop([resolve_spec(model, seed=1, features=data, overrides=overrides)], data, CPU)


SAID = {split: {"y_pred": np.zeros(3, dtype=np.float32)} for split in ("valid", "test")}


def told(losses: list[float], **overrides: Any) -> tuple[list[int], SeedState]:
    """Play a script of validation losses; return the epochs whose weights were kept, and the state."""
    [state] = loop_of(**overrides).seed_states
    kept = []
    for epoch, loss in enumerate(losses, start=1):
        assert not state.at.stopped, f"stopped before epoch {epoch}"
        if state.advance(0.0, SAID, loss):
            kept.append(epoch)
    return kept, state


@pytest.mark.parametrize(("ties", "kept"), [("earlier", [1, 3]), ("later", [1, 3, 4])])
def test_of_equal_losses_the_rule_takes_one(ties: str, kept: list[int]) -> None:
    """Protects: a tie keeps the earlier epoch, or the later where the group's loop did (MFM)."""
    found, state = told([2.0, 3.0, 1.0, 1.0, 1.5], selection_ties=ties)
    assert found == kept
    assert state.at.selected_epoch == state.at.best_epoch == kept[-1]


def test_a_margin_has_to_be_beaten() -> None:
    """Protects: MMSA's rule: better means lower by more than the margin; small gains do not add up unseen."""
    assert told([1.0, 0.95, 0.91, 0.89, 0.80], selection_margin=0.1)[0] == [1, 4]
    assert told([1.0, 0.95, 0.91, 0.89, 0.80])[0] == [1, 2, 3, 4, 5]


def test_the_last_epoch_may_be_the_one() -> None:
    """Protects: `selection_epoch=last` keeps every epoch's weights in turn, and stops by the best one all the same."""
    found, state = told([1.0, 2.0, 3.0], selection_epoch="last", early_stop=2)
    assert found == [1, 2, 3]
    assert (state.at.selected_epoch, state.at.best_epoch, state.at.stopped) == (3, 1, True)


@pytest.mark.parametrize(
    ("early_stop", "losses", "stops"),
    [(2, [2.0, 1.0, 1.0, 1.0], True), (2, [2.0, 1.0, 1.0, 0.5], False), (0, [1.0, 2.0, 2.0, 2.0, 2.0], False)],
)
def test_early_stop_counts_from_the_best_epoch(early_stop: int, losses: list[float], stops: bool) -> None:
    """Protects: patience is counted in epochs behind the best; 0 trains all epochs, whatever they say."""
    _, state = told(losses, early_stop=early_stop, max_epochs=6)
    assert state.at.stopped == stops
    if not early_stop:
        assert state.advance(0.0, SAID, 2.0) is False
        assert state.at.stopped  # the sixth of six


def test_the_plateau_lowers_the_rate_and_leaves_groups_alone() -> None:
    """Protects: after `patience` epochs without gain the rate falls once; a group with plateau=False keeps its own."""
    loop = loop_of("ef-lstm", few(aligned=False), plateau_patience=1, plateau_factor=0.1, learning_rate=1e-2)
    [state] = loop.seed_states
    rates = []
    for loss in (1.0, 2.0, 2.0, 2.0):
        state.advance(0.0, SAID, loss)
        rates.append([float(group["lr"]) for group in state.optimizer.param_groups])
    assert [r[0] for r in rates] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])
    assert {rate for r in rates for rate in r[1:]} == {1e-2}


def test_each_group_is_clipped_by_itself() -> None:
    """Protects: MulT's loop: the net's and each aligner's gradient are scaled to the norm alone, in no common sum."""
    loop = loop_of("ef-lstm", few(aligned=False), clip_norm=0.5, batch_size=8)
    [state] = loop.seed_states
    before: list[float] = []
    after: list[float] = []

    def norms() -> list[float]:
        groups = state.optimizer.param_groups
        return [
            float(torch.stack([p.grad.norm() for p in g["params"] if p.grad is not None]).norm()) for g in groups
        ]  # fmt: skip

    real = loop.step_seeds

    def step() -> None:
        state.take_gradients()
        before.extend(norms())
        real()
        after.extend(norms())

    loop.step_seeds = step  # type: ignore[method-assign]
    loop.train_batches(np.arange(8, dtype=np.int64)[None])
    assert len(after) == 3
    assert before[1] > 0.5
    assert before[2] > 0.5  # CTC costs are summed over the batch
    assert after == pytest.approx([min(n, 0.5) for n in before], rel=1e-4)


@pytest.mark.parametrize(
    ("clips", "changes", "sizes"),
    [
        (129, {}, [128, 1]),
        (129, {"least_batch": 2}, [128]),
        (130, {"least_batch": 2}, [128, 2]),
        (130, {"drop_last": True}, [128]),
        (256, {"drop_last": True, "least_batch": 2}, [128, 128]),
    ],
)
def test_the_last_batch_is_trained_on_or_left_out(clips: int, changes: dict[str, Any], sizes: list[int]) -> None:
    """Protects: 129 clips leave one for batch normalisation: left out where the system says so, and only then."""
    from dmd_repro.systems.lf_lstm.config import LFLSTMConfig

    pieces = training_batches(clips, LFLSTMConfig(batch_size=128, **changes))
    assert [p.stop - p.start for p in pieces] == sizes


def test_129_clips_are_trained_on_and_the_odd_one_is_counted(tmp_path: Path) -> None:
    """Protects: the batches are those of the rule, the clip left out is in the provenance, one clip is evaluated."""
    data = few(129, 1)
    spec = resolve_spec("tfn", seed=1, features=data, overrides={"max_epochs": 1, "batch_size": 128})
    record = fit(spec, data, Records(tmp_path), execution=Execution())
    assert record.provenance["left_out_clips"] == 1
    done = evaluate_checkpoint(open_checkpoint(record.run_id, Records(tmp_path)), data, "test", execution=Execution())
    assert len(done.predictions.ids) == 1
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)


def test_clips_left_out_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Protects: whoever trains reads how many clips no epoch saw, and why."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd("train", "tfn", "--data", "synthetic", "--epochs", "1", "--set", "batch_size=191")
    assert "left out: 1 clip an epoch, the last batch has fewer than 2 (others each time)" in said.out
    more = ("--set", "batch_size=100", "--set", "drop_last=true", "--set", "order=once")
    said = dmd("train", "lf-lstm", "--data", "synthetic", "--epochs", "1", *more)
    assert "left out: 92 clips an epoch, the last batch is not full (the same each time)" in said.out
    said = dmd("train", "lf-lstm", "--data", "synthetic", "--epochs", "1")
    assert "left out:" not in said.out


@pytest.mark.parametrize(
    ("clips", "overrides", "told"),
    [
        (8, {"batch_size": 1}, "--set batch_size: expected at least least_batch=2 clips .* got 1. Raise it"),
        (1, {}, "training on 1 clips: expected at least 2, as a smaller batch is left out, got no batch"),
        (8, {"drop_last": True, "batch_size": 9}, "expected at least 9, .* got no batch .* or lower --set batch_size"),
        (8, {"accumulate": 2}, "Step more often: --set accumulate=1"),
    ],
)
def test_an_epoch_without_a_batch_is_refused(clips: int, overrides: dict[str, Any], told: str) -> None:
    """Protects: a training batch of one clip, or none at all, is a sentence before any epoch, with true advice."""
    with pytest.raises(SpecError, match=told):
        resolve_spec("tfn", seed=1, features=few(clips), overrides=overrides)


def test_the_loss_an_epoch_is_selected_by() -> None:
    """Protects: a mean over clips, or of batch means in which a small last batch weighs as a full one; its digits."""
    from dmd_repro.systems.lf_lstm.config import LFLSTMConfig

    error, order = np.array([1, 1, 4], dtype=np.float32), np.arange(3)
    for settings, loss in (
        ({"selection_mean": "clips"}, 2.0),
        ({"selection_mean": "batches"}, 2.5),
        ({"selection_mean": "clips", "selection_digits": 0, "batch_size": 3}, 2.0),
    ):
        assert selection_loss(error, order, LFLSTMConfig(**{"batch_size": 2, **settings})) == loss
    third = np.array([0.33333, 0.33333, 0.33334], dtype=np.float32)
    made = LFLSTMConfig(batch_size=3, selection_digits=4)
    assert selection_loss(third, order, made) == 0.3333


def test_weights_of_the_last_epoch_beside_the_best_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: the authors' pairing: best net, last aligners; the record says so, verifies, evaluates to itself."""
    script = {"selected": iter([1.0, 2.0, 3.0]), "last_epoch": iter([1.0, 2.0, 3.0])}
    data, found = few(aligned=False), {}
    for way, losses in script.items():
        monkeypatch.setattr(loop_module, "selection_loss", lambda *_, losses=losses: next(losses))
        overrides = {"max_epochs": 3, "early_stop": 0, "aligner_weights": way, "learning_rate": 1e-2}
        spec = resolve_spec("ef-lstm", seed=1, features=data, overrides=overrides)
        found[way] = fit(spec, data, Records(tmp_path), execution=Execution())
    one, two = found["selected"].checkpoint(), found["last_epoch"].checkpoint()
    assert found["selected"].provenance["best_epoch"] == found["last_epoch"].provenance["best_epoch"] == 1
    moved = {name.split("/")[1].split(".")[0] for name in one if not np.array_equal(one[name], two[name])}
    assert moved == {"a2l", "v2l"}
    record = found["last_epoch"]
    assert record.provenance["last_epoch_weights"] == ["a2l.*", "v2l.*"]
    assert not Records(tmp_path).verify(record.run_id)
    done = evaluate_checkpoint(open_checkpoint(record.run_id, Records(tmp_path)), data, "test", execution=Execution())
    assert np.array_equal(done.predictions.y_pred, record.predictions("test").y_pred)
    assert not np.array_equal(done.predictions.y_pred, found["selected"].predictions("test").y_pred)


def test_weight_decay_is_part_of_the_gradient_and_reaches_all_that_is_trained() -> None:
    """Protects: Adam's L2 (not decoupled): with no loss at all, every trained tensor moves, biases too, none frozen."""
    loop = loop_of("graph-mfn", few(), weight_decay=1e-2)
    plain = plain_of(loop.module)
    assert plain is not None
    plain.loss_terms = lambda out, batch: {"task.output": 0.0 * out.prediction.sum()}  # type: ignore[method-assign]
    before = {name: p.detach().clone() for name, p in plain.named_parameters()}
    loop.train_batches(np.arange(8, dtype=np.int64)[None])
    still = {name for name, p in plain.named_parameters() if torch.equal(p, before[name])}
    assert still == {name for name in before if ".networks." in name}
