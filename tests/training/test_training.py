"""The training engine: selection, early stop, accumulation, resume, identity of a run."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.errors import DmdError, SpecError
from dmd_repro.nn.compiled import choice
from dmd_repro.records.folder import Records
from dmd_repro.spec import AblationMask
from dmd_repro.systems import resolve
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.registry import SHIPPED, find_system, load_model
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training import fit as training
from dmd_repro.training import loop as loop_module
from dmd_repro.training.fit import Execution, fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.schedule import selection_loss

CPU = torch.device("cpu")
TRAJECTORIES = Path(__file__).with_name("trajectories.json")
QUICK = {"max_epochs": 3, "batch_size": 4, "accumulate": 1}


def spec_of(features: Features, **overrides: object):
    """Return a quick DMD spec on these features."""
    return resolve_spec("dmd", seed=7, features=features, overrides={**QUICK, **overrides})


def test_an_interrupted_run_ends_as_an_uninterrupted_one(toy: Features, tmp_path: Path) -> None:
    """Protects: resume restores weights, Adam, plateau, dropout stream and best epoch, bit for bit."""
    spec = spec_of(toy)
    whole = fit(spec, toy, Records(tmp_path / "whole"), execution=Execution())

    def stop_after(epoch: int):
        def on_epoch(report: training.EpochReport) -> None:
            if report.epoch == epoch:
                raise KeyboardInterrupt

        return on_epoch

    cut = Records(tmp_path / "cut")
    for epoch in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            fit(spec, toy, cut, execution=Execution(), on_epoch=stop_after(epoch))
    resumed = fit(spec, toy, cut, execution=Execution())
    for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes(), name
    strip = [{k: v for k, v in line.items() if k != "seconds"} for line in whole.history()]
    assert strip == [{k: v for k, v in line.items() if k != "seconds"} for line in resumed.history()]


@pytest.mark.parametrize("first", ["1", "0"])
def test_a_run_goes_on_with_compiled_kernels_or_without(
    first: str, toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: a run that was cut goes on from its last epoch in the other way, and its record names both."""
    monkeypatch.setenv(choice.SWITCH, "1")
    choice.library.cache_clear()
    if not (with_kernels := choice.way()):
        pytest.skip("needs a C++ compiler and a processor with AVX2")

    def stop(report: training.EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    records, spec = Records(tmp_path), spec_of(toy)
    try:
        for switch, on_epoch in ((first, stop), ("01".replace(first, ""), None)):
            monkeypatch.setenv(choice.SWITCH, switch)
            choice.library.cache_clear()
            with suppress(KeyboardInterrupt):
                record = fit(spec, toy, records, execution=Execution(), on_epoch=on_epoch)
    finally:
        choice.library.cache_clear()
    assert [line["epoch"] for line in record.history()] == [1, 2, 3]
    ways = [one["execution"].get("compiled", "") for one in (*record.provenance["earlier"], record.provenance)]
    assert ways == ([with_kernels, ""] if first == "1" else ["", with_kernels])


def test_the_epoch_is_selected_on_validation_and_a_tie_keeps_the_earlier(
    toy: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: the authors' rule (lowest rounded validation loss, earlier on a tie, stop when none is better)."""
    losses = iter([0.9, 0.8, 0.8, 0.85, 0.8])
    monkeypatch.setattr(loop_module, "selection_loss", lambda *_: next(losses))
    spec = spec_of(toy, max_epochs=9, early_stop=3)
    record = fit(spec, toy, Records(tmp_path), execution=Execution())
    assert record.provenance["best_epoch"] == 2
    assert record.provenance["epochs"] == 5
    assert record.provenance["hit_max_epochs"] is False
    kept = record.predictions("test").y_pred
    assert np.array_equal(kept, record.epochs("test")[1])


def test_test_labels_choose_nothing(toy: Features, tmp_path: Path) -> None:
    """Protects: shuffling the test labels changes no prediction and no selected epoch."""
    test = toy.splits["test"]
    blind = replace(toy, splits={**toy.splits, "test": replace(test, labels=test.labels[::-1].copy())})
    spec = spec_of(toy)
    one = fit(spec, toy, Records(tmp_path / "a"), execution=Execution())
    two = fit(spec, blind, Records(tmp_path / "b"), execution=Execution())
    assert one.provenance["best_epoch"] == two.provenance["best_epoch"]
    assert np.array_equal(one.predictions("test").y_pred, two.predictions("test").y_pred)


def test_the_validation_loss_is_the_mean_of_batch_means() -> None:
    """Protects: the last, smaller batch weighs as much as a full one, rounded to four digits, as the authors report."""
    error = np.array([1.0, 1.0, 1.0, 4.0], dtype=np.float32)
    config = TrainConfig(batch_size=3)
    assert selection_loss(error, np.arange(4), config) == 2.5
    assert selection_loss(error, np.array([3, 0, 1, 2]), config) == 1.5


def test_gradients_are_summed_and_the_rest_of_an_epoch_never_steps(toy: Features) -> None:
    """Protects: one step for each full window; the clips after the last full window move nothing."""
    loop = Loop([spec_of(toy, batch_size=2, accumulate=2)], toy, CPU)
    steps = []
    loop.seed_states[0].optimizer.register_step_post_hook(lambda *_: steps.append(1))
    loop.train_batches(np.arange(6, dtype=np.int64)[None])  # 3 batches of 2
    assert len(steps) == 1
    weights = [p.detach().clone() for p in loop.module.parameters()]
    loop.train_batches(np.arange(2, dtype=np.int64)[None])
    assert all(torch.equal(a, b) for a, b in zip(weights, loop.module.parameters(), strict=True))


def test_an_epoch_shorter_than_the_window_is_refused(toy: Features) -> None:
    """Protects: a run that could never take a step is refused, and the message names the override."""
    with pytest.raises(SpecError, match="accumulate=1"):
        resolve_spec("dmd", seed=1, features=toy, overrides={"accumulate": 10})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lerning_rate": "1"}, "learning_rate"),
        ({"layers": "many"}, "whole number"),
        ({"max_epochs": 0}, "at least 1"),
        ({"d": 15}, "multiple of heads"),
        ({"kernel_a": 99}, "99 time steps"),
    ],
)
def test_bad_settings_are_named(toy: Features, tmp_path: Path, overrides: dict, message: str) -> None:
    """Protects: a wrong `--set` is one sentence with the nearest name or the type expected, before anything runs."""
    with pytest.raises(DmdError, match=message):
        resolve_spec("dmd", seed=1, features=toy, overrides={**QUICK, **overrides})


def test_a_model_larger_than_memory_is_a_sentence(toy: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a width the allocator refuses is a sentence, not its traceback."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    spec = spec_of(toy)
    monkeypatch.setattr(load_model("dmd"), "__init__", refuse)
    with pytest.raises(SpecError, match="fits in memory"):
        Loop([spec], toy, CPU)


def test_a_device_that_is_not_there(toy: Features, tmp_path: Path) -> None:
    """Protects: a missing GPU is a sentence, and leaves no half-begun record."""
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(SpecError, match="--device cpu"):
        fit(spec_of(toy), toy, Records(tmp_path), execution=Execution(device="cuda"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda:0,cuda:2", "Did you mean cuda:0,2?"),
        ("0", "Did you mean cuda:0?"),
        ("gpu", "Did you mean cuda?"),
        ("CUDA:1", "Did you mean cuda:1?"),
        ("rocket", "expected a device of this machine, got an unknown name. Use "),
    ],
)
def test_the_name_of_a_device_is_understood(device: str, said: str) -> None:
    """Protects: whoever has several cards learns how they are used; a number alone is read as what it means."""
    with pytest.raises(SpecError, match=said.replace("?", r"\?")):
        Execution(device=device).prepare()


def test_a_diverged_run_is_recorded_as_such(toy: Features, tmp_path: Path) -> None:
    """Protects: NaN predictions end in the record and in no average; nothing crashes on the way."""
    record = fit(spec_of(toy, learning_rate=1e30), toy, Records(tmp_path), execution=Execution())
    assert np.isnan(record.predictions("test").y_pred).any()
    assert record.history()[-1]["valid_loss"] is None


def test_initial_weights_and_batches_do_not_depend_on_the_mask(toy: Features) -> None:
    """Protects: the rows of an ablation see the same clips in the same order."""
    seen = []
    for drop in ((), ("heterogd",)):
        mask = AblationMask(drop)
        loop = Loop([resolve_spec("dmd", seed=7, features=toy, mask=mask, overrides=QUICK)], toy, CPU)
        order: list[np.ndarray] = []
        loop.train_batches = lambda o, order=order: (order.append(o), [({"total": 1.0}, {})])[1]  # type: ignore[method-assign]
        loop.epoch()
        seen.append(order[0])
    assert np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("name", list(SHIPPED))
def test_a_trajectory_moves_only_with_its_version(name: str, synthetic: Features) -> None:
    """Protects: no change moves a result in silence; one that means to raises a version and this file."""
    spec = resolve_spec(name, seed=11, features=synthetic, overrides={"batch_size": 8})
    torch.set_num_threads(1)
    loop = Loop([spec], synthetic, CPU)
    totals = []
    for i in range(20):
        loop.stream.restart([i], CPU)  # each batch has masks of its own
        totals.append(loop.train_batches(np.arange(8 * i, 8 * i + 8, dtype=np.int64)[None])[0][0]["total"])
    key = f"{name} {find_system(name).model_version} {resolve.TRAINING_VERSION}"
    known = json.loads(TRAJECTORIES.read_text(encoding="utf-8"))
    assert key in known, f"add this version: {json.dumps({key: totals})}"
    assert totals == pytest.approx(known[key], rel=1e-4), "raise MODEL_VERSION or TRAINING_VERSION, with a Numbers line"
