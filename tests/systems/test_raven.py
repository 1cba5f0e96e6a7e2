"""RAVEN as a system: what stays as it was drawn, dropout at test, which side is padded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Here
from safetensors.numpy import load

from dmd_repro.data.features import Features
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch
from dmd_repro.systems.build import construct
from dmd_repro.systems.plain import OneSeed
from dmd_repro.systems.raven.config import RAVENConfig, preset
from dmd_repro.systems.raven.net import Windows
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.systems.state import read_weights
from dmd_repro.training.feed import Feed, predict
from dmd_repro.training.loop import Loop

CPU = torch.device("cpu")
DIMS, STEPS = {"l": 6, "a": 3, "v": 4}, {"l": 5, "a": 5, "v": 5}


def build(**settings: object) -> OneSeed:
    """Return a small RAVEN."""
    config = replace(RAVENConfig(norm=4, cell=4, hidden=5), **settings)  # type: ignore[arg-type]
    model = construct(find_system("raven"), config, dims=DIMS, steps=STEPS, mask=AblationMask(), seeds=(3,))
    assert isinstance(model, OneSeed)
    return model


def clips(lengths: list[int], *, left: bool) -> Batch:
    """Return clips of some true steps, padded on one side."""
    g = torch.Generator().manual_seed(1)
    inputs = {}
    for m, width in DIMS.items():
        x = torch.zeros(1, len(lengths), 5, width)
        for i, n in enumerate(lengths):
            true = torch.randn(n, width, generator=g)
            x[0, i, slice(5 - n, 5) if left else slice(0, n)] = true
        inputs[m] = x
    return Batch(inputs, torch.zeros(1, len(lengths)))


def test_the_side_of_the_padding_does_not_matter() -> None:
    """Protects: true words come first in the word LSTM, whichever side a file pads."""
    model = build(test_dropout=False).eval()
    with torch.no_grad():
        right, left = (model(clips([5, 3, 1, 2], left=side)).prediction for side in (False, True))
    assert torch.equal(right, left)
    model = build(test_dropout=False, padding="as_given").eval()
    with torch.no_grad():
        right, left = (model(clips([5, 3, 1, 2], left=side)).prediction for side in (False, True))
    assert not torch.equal(right, left)


@pytest.mark.parametrize("align", ["none", "ctc"])
def test_a_true_word_has_one_window(align: str) -> None:
    """Protects: acoustic and visual windows are those of true words, in padding none, behind the aligner of CTC too."""
    steps = STEPS if align == "none" else {"l": 5, "a": 9, "v": 7}
    config = RAVENConfig(norm=4, cell=4, hidden=5, align=align)
    one = construct(find_system("raven"), config, dims=DIMS, steps=steps, mask=AblationMask(), seeds=(3,))
    assert isinstance(one, OneSeed)
    seen: list[tuple[Windows, Windows, torch.Tensor]] = []
    one.system.net.register_forward_pre_hook(lambda _, given: seen.append(given[1:]))  # type: ignore[union-attr,operator]
    batch = clips([5, 3, 1], left=True)
    longer = {m: torch.randn(1, 3, steps[m], DIMS[m]) for m in ("a", "v")} if align == "ctc" else {}
    one(replace(batch, inputs={**batch.inputs, **longer}))
    [(acoustic, visual, count)] = seen
    assert count.tolist() == [5, 3, 1]
    for windows in (acoustic, visual):
        assert windows.x.shape[:3] == (3, 5, 1)
        assert windows.true.tolist() == [[1] * n + [0] * (5 - n) for n in (5, 3, 1)]
        assert not windows.x[1, 3:].any()


@pytest.mark.parametrize(("protocol", "still"), [("official", 22), ("attached", 2), ("paper", 2)])
def test_what_is_cut_off_stays_as_it_was_drawn(protocol: str, still: int, synthetic: Features) -> None:
    """Protects: official training moves the word LSTM and the last map alone, bit for bit; repairs move the rest."""
    spec = resolve_spec("raven", seed=1, features=synthetic, protocol=protocol)
    loop = Loop([spec], synthetic, CPU)
    before = {n: x.copy() for n, x in read_weights(loop.module, "raven").items()}
    loop.epoch()
    after = read_weights(loop.module, "raven")
    one_window = {"raven/covarepLSTM.weight_hh_l0", "raven/facetLSTM.weight_hh_l0"}  # one step: nothing to carry on
    same = {n for n, x in before.items() if np.array_equal(x, after[n])}
    assert len(before) == 28
    assert len(same - (one_window if protocol != "official" else set())) == still
    moved = set(before) - same
    assert {n.split("/")[1].split(".")[0] for n in moved} >= {"lstm1", "fc_afterLSTM"}


def test_dropout_stays_on_at_test_and_repeats(synthetic: Features) -> None:
    """Protects: the official result is one draw, of this seed, the same every time; switched off, there is none."""

    def said(seed: int, **settings: object) -> list[np.ndarray]:
        spec = resolve_spec("raven", seed=seed, features=synthetic, overrides=settings)  # type: ignore[arg-type]
        loop = Loop([spec], synthetic, CPU)
        feed = Feed(synthetic.splits, loop.model, CPU)
        return [predict(loop.model, feed, "test", 1)["y_pred"][0] for _ in range(2)]

    on, off = said(1), said(1, test_dropout=False)
    assert np.array_equal(*on)
    assert np.array_equal(*off)
    assert not np.allclose(on[0], off[0], atol=1e-4)
    spec = resolve_spec("raven", seed=1, features=synthetic)
    model = Loop([spec], synthetic, CPU).module
    assert model.eval().system.net.drop_a.training  # type: ignore[union-attr]
    assert not build(test_dropout=False).eval().system.net.drop_a.training  # type: ignore[union-attr]


def test_each_split_has_a_draw_of_its_own(synthetic: Features) -> None:
    """Protects: the same clips as validation and as test meet other masks, and each its own the second time."""
    spec = resolve_spec("raven", seed=1, features=synthetic)
    loop = Loop([spec], synthetic, CPU)
    feed = Feed(dict.fromkeys(("valid", "test"), synthetic.splits["test"]), loop.model, CPU)
    valid, test, again = (predict(loop.model, feed, split, 1)["y_pred"][0] for split in ("valid", "test", "valid"))
    assert np.array_equal(valid, again)
    assert not np.allclose(valid, test, atol=1e-4)


def test_company_in_evaluation_is_the_same_everywhere(synthetic: Features) -> None:
    """Protects: a batch norm of the batch sees the same clips whatever the device's own batch of evaluation is."""
    spec = resolve_spec("raven", seed=1, features=synthetic, overrides={"batch_size": 10})
    feed = Feed(synthetic.splits, Loop([spec], synthetic, CPU).model, CPU)
    sizes = [len(order) for order in feed.whole("test")]
    assert set(sizes[:-1]) == {10}
    assert np.array_equal(np.concatenate(list(feed.whole("test"))), np.arange(sum(sizes)))


def test_initial_weights_are_the_modules_own() -> None:
    """Protects: every tensor is uniform within its module's bound; norms start at one and zero."""
    bounds = {"fc_rszcovarep": 3**-0.5, "fc_rszFacet": 0.5, "covarepLSTM": 0.5, "facetLSTM": 0.5, "covarepW": 10**-0.5,
              "facetW": 10**-0.5, "calcAddon": 8**-0.5, "lstm1": 5**-0.5, "fc_afterLSTM": 5**-0.5}  # fmt: skip
    for name, p in build().system.net.named_parameters():
        first = name.split(".")[0]
        if first.startswith("norm"):
            assert torch.equal(p, torch.ones_like(p) if name.endswith("weight") else torch.zeros_like(p))
        else:
            assert float(p.detach().abs().max()) <= bounds[first]
            assert p.numel() < 20 or float(p.detach().abs().max()) > 0.8 * bounds[first]


@pytest.mark.parametrize("data", ["synthetic-aligned-glove", "synthetic-unaligned-glove"])
def test_evaluate_gives_the_recorded_predictions(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects: dropout at test, the norm of the batch and the aligners give the recorded bits again."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    assert dmd("train", "raven", "--data", data, "--epochs", "2", "--set", "batch_size=10").code == 0
    [run] = [p for p in (tmp_path / "runs").iterdir() if re.fullmatch("[0-9a-f]{12}", p.name)]
    checked = dmd("evaluate", run.name, "--data", data, "--predictions", "p.csv")
    assert checked.code == 0, checked.err
    written = np.genfromtxt(tmp_path / "p.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    recorded = load((run / "predictions.safetensors").read_bytes())["test/y_pred"]
    assert np.array_equal(written["y_pred"].astype(np.float32), recorded)


def test_presets_name_what_is_theirs() -> None:
    """Protects: the one row of RAVEN's own paper has its constants, those of MulT's authors MulT's loop."""
    own = preset("mosi", aligned=True, protocol="official")
    assert (own.batch_size, own.task_loss, own.clip_norm, own.align) == (20, "mse", 0.0, "none")
    ctc = preset("mosi", aligned=False, protocol="paper")
    assert (ctc.batch_size, ctc.task_loss, ctc.align, ctc.gates, ctc.test_dropout) == (
        128,
        "l1",
        "ctc",
        "sigmoid",
        False,
    )
