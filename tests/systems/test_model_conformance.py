"""Every model of the registry keeps the interface the training engine relies on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dmd_repro.data.features import Features
from dmd_repro.nn.layers import named_slices
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.registry import SHIPPED, find_system, load_model
from dmd_repro.training.feed import gather

CPU = torch.device("cpu")
STACKED = [name for name in SHIPPED if find_system(name).stackable]  # the others: `dmd systems check`, test_plain.py
CASES = [(name, AblationMask()) for name in STACKED] + [
    (name, AblationMask((part,))) for name in STACKED for part in sorted(find_system(name).parts)
]


def build(
    name: str, mask: AblationMask, features: Features, seeds: tuple[int, ...] = (1,), protocol: str = ""
) -> torch.nn.Module:
    """Return a small model of the registry on the toy features."""
    cls = load_model(name)
    config = cls.preset("synthetic", aligned=features.aligned, protocol=protocol or cls.PROTOCOLS[0])
    return cls(config, dims=features.dims, steps=features.steps, mask=mask, seeds=seeds)


@pytest.mark.parametrize(("name", "mask"), CASES, ids=[f"{n}{'' if not m.off else m.label}" for n, m in CASES])
def test_model_keeps_the_interface(name: str, mask: AblationMask, toy: Features) -> None:
    """Protects: any model, under any single mask, on any lengths: shapes, finite gradients, weights for all terms."""
    model = build(name, mask, toy)
    order = np.arange(6, dtype=np.int64)[None]
    batch = gather(toy.splits["train"], order, CPU)
    model.train()
    out = model(batch)
    assert out.prediction.shape == (1, 6, 1)
    assert all(head.shape == (1, 6, 1) for head in out.heads.values())
    assert all(edge.shape == (1, 6, 6) for edge in out.edges.values())
    terms = model.loss_terms(out, batch)
    assert all(term.shape == (1,) for term in terms.values())
    losses.total(terms, model.loss_weights()).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    model.eval()
    with torch.no_grad():
        once, again = model(batch).prediction, model(batch).prediction
        turned = model(gather(toy.splits["train"], order[:, ::-1].copy(), CPU)).prediction
    assert torch.equal(once, again), "evaluation is deterministic"
    assert torch.allclose(once.flip(1), turned, atol=1e-6), "permuting the batch permutes the predictions"


@pytest.mark.parametrize(
    ("name", "mask"), [c for c in CASES if c[1].off], ids=[f"{n}{m.label}" for n, m in CASES if m.off]
)
def test_every_part_bites(name: str, mask: AblationMask, toy: Features) -> None:
    """Protects: a part that is switched off takes its parameters or loss terms along and leaves the rest as it was."""
    full, masked = build(name, AblationMask(), toy), build(name, mask, toy)
    batch = gather(toy.splits["train"], np.arange(6, dtype=np.int64)[None], CPU)
    full.train(), masked.train()
    terms = {k: set(m.loss_terms(m(batch), batch)) for k, m in (("full", full), ("masked", masked))}
    ours = {n: p.detach()[0, e] for n, p, e in named_slices(masked)}
    whole = {n: p.detach()[0, e] for n, p, e in named_slices(full)}
    assert terms["masked"] <= terms["full"]
    assert set(ours) <= set(whole)
    assert len(ours) < len(whole) or terms["masked"] < terms["full"]
    for n, value in ours.items():
        weight = n.removesuffix("bias") + "weight" if n.endswith(".bias") else n  # its fan-in sets the bias's range
        if ours[weight].shape == whole[weight].shape:
            assert torch.equal(value, whole[n]), f"{n} starts elsewhere under a mask"


@pytest.mark.parametrize("name", STACKED)
def test_a_stacked_seed_is_the_seed_alone(name: str, toy: Features) -> None:
    """Protects: in a stack, each seed starts, predicts and scores as it does on its own."""
    batch = gather(toy.splits["train"], np.arange(6, dtype=np.int64)[None], CPU)
    both = gather(toy.splits["train"], np.stack([np.arange(6), np.arange(6)]), CPU)
    stacked = build(name, AblationMask(), toy, seeds=(3, 4)).eval()
    out = stacked(both, keep_features=True)
    terms = stacked.loss_terms(out, both)
    for i, seed in enumerate((3, 4)):
        alone = build(name, AblationMask(), toy, seeds=(seed,)).eval()
        single = alone(batch, keep_features=True)
        assert torch.allclose(single.prediction[0], out.prediction[i], atol=1e-6)
        for term, value in alone.loss_terms(single, batch).items():
            assert torch.allclose(value[0], terms[term][i], rtol=1e-5, atol=1e-7), term


class Copies(TorchDispatchMode):
    """Notes what brings a value of the host into a step, or takes one out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "lift_fresh", "nonzero", "item", "is_nonzero"}:
            self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


HOSTLESS = [
    (name, mask, protocol) for name, mask in CASES for protocol in load_model(name).PROTOCOLS
    if not (protocol == "paper" and mask.off)
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mask", "protocol"), HOSTLESS, ids=[f"{n} {m.label} {protocol}" for n, m, protocol in HOSTLESS]
)
def test_a_step_never_waits_for_the_host(name: str, mask: AblationMask, protocol: str, toy: Features) -> None:
    """Protects: forward, losses and backward read and make no value of the host, so a GPU can capture them."""
    model = build(name, mask, toy, seeds=(1, 2), protocol=protocol).train()
    batch = gather(toy.splits["train"], np.stack([np.arange(6), np.arange(6)]), CPU)

    def step() -> None:
        out = model(batch)
        losses.total(model.loss_terms(out, batch), model.loss_weights()).sum().backward()

    step()  # tables are made at the first one
    with Copies() as copies:
        step()
    assert copies.seen == []


def test_a_part_the_model_lacks_is_named(toy: Features) -> None:
    """Protects: a misspelt part is an error in one sentence, never a silent full model."""
    from dmd_repro.errors import SpecError

    with pytest.raises(SpecError, match="Did you mean 'heterogd'"):
        build("dmd", AblationMask(("hetrogd",)), toy)


def test_any_widths_and_lengths(toy: Features) -> None:
    """Protects: nothing hard-codes 300/5/20 or 50 steps; a width equal to d skips the projection, as the authors do."""
    cls = load_model("dmd")
    config = replace(cls.preset("synthetic", aligned=False, protocol="official"), d=toy.dims["l"], heads=2)
    model = cls(config, dims=toy.dims, steps=toy.steps, seeds=(1,))
    assert sorted(model.project) == ["a", "v"]
    batch = gather(toy.splits["train"], np.arange(5, dtype=np.int64)[None], CPU)
    assert model.eval()(batch, keep_features=True).features.common["v"].shape[2] == toy.steps["v"] - config.kernel_v + 1
