"""MulT: its presets, its way of training, and the GD-Unit on its reinforced features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command import Here

from dmd_repro.data.features import Features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError
from dmd_repro.nn.layers import named_slices
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.grid import expand
from dmd_repro.records.folder import Records
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask, run_id
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.dmd.config import PRESETS as DMD_PRESETS
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.mult.config import PRESETS, MulTConfig, mult_preset
from dmd_repro.systems.mult.model import MulT
from dmd_repro.systems.registry import full_name, split_options
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.feed import gather
from dmd_repro.training.fit import Execution, fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.schedule import clip_norm_, selection_loss

CPU = torch.device("cpu")
SMALL = {"d": 4, "heads": 2, "layers": 1, "batch_size": 2, "max_epochs": 2}


def build(toy: Features, **settings: object) -> tuple[MulT, Batch]:
    """Return a small MulT and a batch of six clips."""
    config = mult_preset("synthetic", aligned=False).with_overrides({"d": 4, "heads": 2, "layers": 1, **settings})
    model = MulT(config, dims=toy.dims, steps=toy.steps, seeds=(3,))
    return model, gather(toy.splits["train"], np.arange(6, dtype=np.int64)[None], CPU)


def spec_of(toy: Features, model: str = "mult", **settings: object):
    """Return the spec of a quick run."""
    return resolve_spec(model, seed=7, features=toy, overrides={**SMALL, **settings})


@pytest.mark.parametrize("key", list(PRESETS), ids="-".join)
def test_every_preset_makes_a_model(key: tuple[str, str]) -> None:
    """Protects: heads divide the width in each preset (the paper's 8 heads would not divide the code's 30)."""
    config = PRESETS[key]
    model = MulT(config, dims={"l": 7, "a": 5, "v": 6}, steps={"l": 9, "a": 9, "v": 9})
    assert model.memory.width == 2 * config.d
    assert len(model.memory.blocks) == max(config.layers, 3)


def test_presets_say_what_their_sources_say() -> None:
    """Protects: the numbers of the MulT paper's Table 5 and of its code's defaults, against a slip of the hand."""
    fields = ("batch_size", "d", "layers", "heads", "embed_dropout", "res_dropout", "output_dropout", "clip_norm",
              "max_epochs", "learning_rate")  # fmt: skip

    def of(*key: str) -> tuple[object, ...]:
        return tuple(getattr(PRESETS[key], name) for name in fields)  # type: ignore[index]

    assert of("mosi", "aligned") == of("mosi", "unaligned") == (128, 40, 4, 10, 0.2, 0.2, 0.1, 0.8, 100, 1e-3)
    assert of("mosei", "aligned") == (16, 40, 4, 8, 0.3, 0.1, 0.1, 1.0, 20, 1e-3)
    assert of("mosei", "unaligned") == (24, 30, 5, 5, 0.25, 0.1, 0.0, 0.8, 40, 1e-3)
    assert all(not p.gd and p.clip_value == 0 and p.accumulate == 1 and p.early_stop == 0 for p in PRESETS.values())


def test_the_units_terms_are_those_of_dmd_on_the_same_inputs(toy: Features) -> None:
    """Protects: "MulT with one GD-Unit" has DMD's unit, its edges, each of its loss terms and their weights."""
    model, batch = build(toy, gd=True)
    out = model.train()(batch)
    ours, weights = model.loss_terms(out, batch), model.loss_weights()
    assert set(ours) - {"task.output"} == {
        *(f"task.{m}_hetero" for m in MODALITIES), "dtl_hetero.reg", "dtl_hetero.logit", "dtl_hetero.repr",
    }  # fmt: skip

    small = DMD_PRESETS["synthetic"].with_overrides({"d": 4, "heads": 2, "layers": 1})
    dmd = DMD(small, dims=toy.dims, steps=toy.steps, mask=AblationMask(("fd", "homogd")))
    with torch.no_grad():
        known = {n: p[0, e] for n, p, e in named_slices(model.hetero_unit)}
        for n, p, e in named_slices(dmd.hetero_unit):
            p[0, e].copy_(known[n])
    logits = {m: out.heads[f"{m}_hetero"] for m in MODALITIES}
    reprs = out.features.representations["hetero"]
    edges, scores = dmd.hetero_unit(logits, reprs)
    assert torch.equal(edges, out.edges["hetero"])
    assert torch.equal(scores, out.features.edge_scores["hetero"])
    theirs = dmd.loss_terms(ModelOutput(out.prediction, out.heads, {"hetero": edges}, out.features), batch)
    assert set(theirs) == set(ours)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
        assert weights[name] == dmd.loss_weights()[name], name


def test_the_unit_leaves_mult_as_it_was(toy: Features) -> None:
    """Protects: gd is an option of one model: MulT's own parameters and predictions at the start do not move."""
    (plain, batch), (with_gd, _) = build(toy), build(toy, gd=True)
    ours = {n: p.detach()[0, e] for n, p, e in named_slices(with_gd)}
    for n, p, e in named_slices(plain):
        assert torch.equal(p.detach()[0, e], ours[n]), n
    assert any("high" in n for n in ours)
    assert any("W_edge" in n for n in ours)
    with torch.no_grad():
        assert torch.equal(plain.eval()(batch).prediction, with_gd.eval()(batch).prediction)
    assert set(plain.loss_terms(plain.train()(batch), batch)) == {"task.output"}


def test_the_unit_reaches_the_shared_encoders(toy: Features) -> None:
    """Protects: distillation without any task loss still moves the crossmodal encoders."""
    model, batch = build(toy, gd=True)
    out = model.train()(batch)
    model.loss_terms(out, batch)["dtl_hetero.logit"].sum().backward()
    assert model.crossmodal.blocks[0].fc1.weight.grad.abs().max() > 0
    assert model.fusion_head.last.weight.grad is None


def test_gd_in_the_name_is_the_setting(toy: Features) -> None:
    """Protects: `mult+gd` and `--set gd=true` are the very same run, and plain MulT is another."""
    named, setting, plain = spec_of(toy, "mult+gd"), spec_of(toy, gd="true"), spec_of(toy)
    assert named == setting
    assert run_id(named, "x") != run_id(plain, "x")
    assert (full_name(named.model, named.config), full_name(plain.model, plain.config)) == ("mult+gd", "mult")
    assert split_options("dmd") == ("dmd", {})


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("mult+gdd", {}, r"Did you mean 'mult\+gd'"),
        ("dmd+gd", {}, "a known option of dmd"),
        ("mult+gd", {"gd": "false"}, "got both"),
        ("mult", {"selection_mean": "clip"}, "Did you mean 'clips'"),
        ("mult", {"heads": 3}, "a multiple of heads"),
    ],
)
def test_wrong_options_are_named(toy: Features, model: str, settings: dict, message: str) -> None:
    """Protects: a misspelt or contradictory option is one sentence, never silently plain MulT."""
    with pytest.raises(SpecError, match=message):
        resolve_spec(model, seed=1, features=toy, overrides={**SMALL, **settings})


def test_mult_has_no_part_to_drop(toy: Features) -> None:
    """Protects: DMD's parts cannot be dropped from MulT, and the message says so."""
    with pytest.raises(SpecError, match="mult has no part to switch off"):
        resolve_spec("mult", seed=1, features=toy, mask=AblationMask(("fd",)))


def test_no_preset_for_other_data() -> None:
    """Protects: an unknown data set is named with the nearest one."""
    with pytest.raises(SpecError, match="Did you mean 'mos"):
        mult_preset("mosie", aligned=True)


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_clipping_by_norm_is_torchs_and_keeps_seeds_apart(limit: float) -> None:
    """Protects: the norm runs over all parameters of one seed; a stacked seed is clipped as it would be alone."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, 3, 4), (2, 5)]
    grads = [
        torch.randn(s, generator=generator) * torch.tensor([1.0, 50.0]).view(2, *[1] * (len(s) - 1)) for s in shapes
    ]

    def parameters(pieces: list[torch.Tensor]) -> list[torch.nn.Parameter]:
        made = [torch.nn.Parameter(torch.zeros_like(g)) for g in pieces]
        for p, g in zip(made, pieces, strict=True):
            p.grad = g.clone()
        return made

    stacked = parameters(grads)
    clip_norm_(stacked, limit, stack=2)
    for s in range(2):
        alone, torchs = parameters([g[s : s + 1] for g in grads]), parameters([g[s : s + 1] for g in grads])
        clip_norm_(alone, limit)
        torch.nn.utils.clip_grad_norm_(torchs, limit)
        for a, b, c in zip(alone, torchs, stacked, strict=True):
            torch.testing.assert_close(a.grad, b.grad)
            torch.testing.assert_close(a.grad[0], c.grad[s])


def test_clipping_by_norm_happens_before_the_step(toy: Features) -> None:
    """Protects: MulT's clipping is used by the loop, and by value nothing is clipped."""
    loop = Loop([spec_of(toy, clip_norm=1e-3)], toy, CPU)
    norms: list[float] = []

    def measure(*_: object) -> None:
        grads = [p.grad.flatten() for p in loop.module.parameters() if p.grad is not None]
        norms.append(torch.cat(grads).norm().item())

    loop.seed_states[0].optimizer.register_step_pre_hook(measure)
    loop.train_batches(np.arange(6, dtype=np.int64)[None])
    assert norms == pytest.approx([1e-3] * 3, rel=1e-3)


def test_selection_weighs_every_clip_alike() -> None:
    """Protects: MulT's validation loss is the mean over clips, unrounded, where DMD's is one of batch means."""
    error = np.array([1.0, 1.0, 1.0, 4.000001], dtype=np.float32)
    config = MulTConfig(batch_size=3)
    assert selection_loss(error, np.arange(4), config) == pytest.approx(7.000001 / 4, abs=1e-7)
    assert selection_loss(error, np.arange(4), config) != 1.75


def test_all_epochs_are_trained(toy: Features, tmp_path: Path) -> None:
    """Protects: without an early stop a run ends at its last epoch and is not marked as cut short."""
    record = fit(spec_of(toy, learning_rate=10.0, max_epochs=5), toy, Records(tmp_path), execution=Execution())
    assert record.provenance["epochs"] == 5
    assert record.provenance["hit_max_epochs"] is False
    assert not record.predictions("test").heads


def test_gd_is_recorded_with_its_heads_and_edges(toy: Features, tmp_path: Path) -> None:
    """Protects: the unit's heads are stored with the predictions, its edges and loss terms with the history."""
    record = fit(spec_of(toy, "mult+gd"), toy, Records(tmp_path), execution=Execution())
    assert set(record.predictions("test").heads) == {f"{m}_hetero" for m in MODALITIES}
    line = record.history()[-1]
    assert sum(line["edges"]["hetero"]) == pytest.approx(1)
    assert {"dtl_hetero.logit", "task.l_hetero"} <= set(line["train"])
    assert Records(tmp_path).scan().loc[0, "model"] == "mult+gd"


def test_every_printed_mult_row_is_planned(tmp_path: Path) -> None:
    """Protects: each MulT row of tables 1, 2 and 5 has runs, and the row with GD others than the row without."""
    found: dict[str, tuple[str, ...]] = {}
    for name in table_names():
        table = load_table(name)
        rows = [row for row in table.rows if row.method.startswith("MulT")]
        if not rows:
            continue
        grid = expand(
            table, seeds=(1111,), store=Store(tmp_path / "data"), records=Records(tmp_path / "runs"),
            data=("synthetic",), rows=[row.key for row in rows],
        )  # fmt: skip
        found |= {f"{name} {row.key}": tuple(grid.plan.rows[row.key].runs.values()) for row in rows}
    assert len(found) == 8
    assert all(found.values())
    assert len(set(found.values())) == 3  # aligned, unaligned, unaligned with GD: what tables share is trained once


def test_the_command_line_takes_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects: `dmd train mult+gd` trains the option and says so."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    small = [word for name in ("d=4", "heads=2", "layers=1") for word in ("--set", name)]
    said = dmd("train", "mult+gd", "--data", "synthetic", "--epochs", "1", *small)
    assert said.code == 0, said.err
    assert "mult+gd" in said.out
    assert "mult+gd" in dmd("runs", "list").out
