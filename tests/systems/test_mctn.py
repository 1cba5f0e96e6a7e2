"""MCTN as a system: it reads text alone, what its losses read, how its weights start, what an epoch is chosen by."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch
from dmd_repro.systems.build import construct
from dmd_repro.systems.mctn.config import MCTNConfig, preset
from dmd_repro.systems.plain import OneSeed, own_tensors
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.feed import Feed, total_loss
from dmd_repro.training.loop import Loop

CPU = torch.device("cpu")
DIMS = {"l": 6, "a": 3, "v": 4}


def build(steps: tuple[int, int, int] = (5, 5, 5), **settings: object) -> OneSeed:
    """Return a small MCTN."""
    config = replace(MCTNConfig(hidden_1=4, hidden_2=5, regression=6), **settings)  # type: ignore[arg-type]
    sizes = dict(zip("lav", steps, strict=True))
    model = construct(find_system("mctn"), config, dims=DIMS, steps=sizes, mask=AblationMask(), seeds=(3,))
    assert isinstance(model, OneSeed)
    return model


def clips(steps: tuple[int, int, int] = (5, 5, 5), seed: int = 1) -> Batch:
    """Return four random clips."""
    g = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(1, 4, t, DIMS[m], generator=g) for m, t in zip("lav", steps, strict=True)}
    return Batch(inputs, torch.randn(1, 4, generator=g))


@pytest.mark.parametrize("steps", [(5, 5, 5), (5, 12, 15)])
@pytest.mark.parametrize("protocol", ["official", "paper"])
def test_it_predicts_from_text_alone(steps: tuple[int, int, int], protocol: str) -> None:
    """Protects: other audio and vision leave every prediction what it was, bit for bit; other text does not."""
    chosen = preset("mosi", aligned=len(set(steps)) == 1, protocol=protocol)
    model = build(steps, align=chosen.align, attention=chosen.attention, forget_gate=chosen.forget_gate)
    batch, other = clips(steps), clips(steps, 2)
    mixed = Batch({**other.inputs, "l": batch.inputs["l"]}, other.labels)
    for training in (False, True):
        model.train(training)
        first, second, third = (model(b).prediction for b in (batch, mixed, other))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)


def test_what_behind_ctc_follows_the_translations() -> None:
    """Protects: detached targets give the aligner no gradient of a translation, attached ones do."""
    steps = (5, 12, 15)
    for targets, moved in (("detached", False), ("attached", True)):
        model = build(steps, align="ctc", ctc_targets=targets).train()
        batch = clips(steps)
        terms = model.loss_terms(model(batch), batch)
        assert set(terms) == {"task.output", "trans1", "cycle", "trans2", "l2", "ctc_a", "ctc_v"}
        (terms["trans1"] + terms["trans2"]).sum().backward()
        grads = [p.grad for n, p in model.named_parameters() if ".a2l." in n or ".v2l." in n]
        assert any(g is not None and bool(g.any()) for g in grads) == moved


def test_switches_wake_what_the_reference_leaves_dead() -> None:
    """Protects: the second slice of the decoder and its view of the state have no gradient, but where repaired."""
    for repaired in (False, True):
        more = {"attention": "state", "forget_gate": "own"} if repaired else {}
        model, batch = build(**more).train(), clips()
        terms = model.loss_terms(model(batch), batch)
        (terms["trans1"] + terms["cycle"]).sum().backward()
        dec = model.system.net.dec1
        assert bool(dec.U.kernel.grad[:, 4:8].abs().max() > 0) == repaired
        assert bool(dec.W3.kernel.grad[4:].abs().max() > 1e-9) == repaired


def test_weights_start_as_in_keras() -> None:
    """Protects: Glorot kernels, the decoder's U too, orthogonal recurrent ones, a forget bias of 1 in one place."""
    own = own_tensors(build().system)
    for name, x in own.items():
        if name.endswith("recurrent"):
            torch.testing.assert_close(x @ x.T, torch.eye(len(x)), atol=1e-5, rtol=0)
        elif name.endswith("kernel"):
            bound = math.sqrt(6 / sum(x.shape))
            assert x.abs().max() <= bound
            assert x.abs().max() > 0.5 * bound
        elif name.endswith("bias"):
            ones = 6 if name == "reg.lstm.bias" else 0
            assert x.sum() == ones
            assert (x != 0).sum() == ones
    assert torch.equal(own["reg.lstm.bias"][6:12], torch.ones(6))


def test_the_whole_validation_loss_selects(synthetic: Features) -> None:
    """Protects: `total` is the weighted sum over all clips, translations and penalty in it; other systems refuse it."""
    loop = Loop([resolve_spec("mctn", seed=1, features=synthetic)], synthetic, CPU)
    line = loop.epoch()[0]
    assert line is not None
    valid = synthetic.splits["valid"]
    whole = Feed(synthetic.splits, loop.model, CPU)
    batch = whole.batch("valid", np.arange(len(valid))[None])
    loop.module.eval()
    with torch.no_grad():
        terms = loop.model.loss_terms(loop.module(batch, keep_features=True), batch)
        said = sum(float(x) * loop.model.loss_weights()[n] for n, x in terms.items())
    assert line["valid_loss"] == pytest.approx(said, rel=1e-5)
    assert line["valid_loss"] > line["valid"]["mae"]
    assert total_loss(loop.model, loop.feed, "valid", 1) == pytest.approx([said], rel=1e-5)
    with pytest.raises(SpecError, match="selection_loss"):
        resolve_spec("mfm", seed=1, features=synthetic, overrides={"selection_loss": "total"})


def test_unequal_lengths_need_an_aligner() -> None:
    """Protects: without CTC unaligned features are refused in a sentence that names the setting."""
    with pytest.raises(SpecError, match="align=ctc"):
        build((5, 9, 9))


def test_presets_follow_the_authors() -> None:
    """Protects: the authors' values, and that the paper's protocol changes the three switches alone."""
    official, paper = (preset("mosi", aligned=True, protocol=p) for p in ("official", "paper"))
    assert (official.learning_rate, official.batch_size, official.early_stop, official.last_steps) == (1e-4, 32, 20, 20)
    changed = {n for n, v in official.to_dict().items() if paper.to_dict()[n] != v}
    assert changed == {"attention", "forget_gate", "selection_epoch"}
