"""The earlier systems: how every tensor starts, where dropout acts, what survives a kill, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from systems.test_rules import few
from torch import Tensor, nn

from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate.conformance import conformance
from dmd_repro.records.folder import Records
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.build import construct
from dmd_repro.systems.plain import OneSeed, own_tensors
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.loop import Loop
from dmd_repro.training.report import EpochReport

EARLIER = ("ef-lstm", "lf-lstm", "tfn", "lmf", "mfm", "graph-mfn", "pmr", "fdmer", "language")
DIMS = {"l": 30, "a": 20, "v": 25}
CPU = torch.device("cpu")
VARIANTS = [*((name, {}) for name in EARLIER), ("ef-lstm", {"net": "mmsa", "layers": 3}), ("ef-lstm", {"align": "ctc"})]


def build(model: str, seed: int = 1, steps: int = 6, **settings: Any) -> OneSeed:
    """Return a system of its default sizes; with align=ctc acoustic and visual are longer."""
    config = replace(find_system(model).config(), **settings)
    lengths = {"l": steps, "a": steps, "v": steps}
    if settings.get("align") in ("ctc", "pool"):
        lengths |= {"a": 2 * steps, "v": 3 * steps}
    one: Any = construct(find_system(model), config, dims=DIMS, steps=lengths, mask=AblationMask(), seeds=(seed,))
    return one


def batch_of(one: OneSeed, clips: int = 5, steps: int = 6) -> Batch:
    """Return made-up clips, with the axis of seeds."""
    longer = getattr(one.config, "align", "none") != "none"
    lengths = {"l": steps, "a": (2 if longer else 1) * steps, "v": (3 if longer else 1) * steps}
    draw = torch.Generator().manual_seed(3)
    inputs = {m: torch.randn(1, clips, lengths[m], DIMS[m], generator=draw) for m in "lav"}
    return Batch(inputs, torch.linspace(-2, 2, clips)[None])


# ---- how every tensor starts


def check_uniform(name: str, x: Tensor, bound: float) -> None:
    """Assert that numbers look drawn from U(-bound, bound): none outside, spread as it should be."""
    x = x.detach().flatten()
    assert x.abs().max() <= bound * (1 + 1e-6), name
    if len(x) >= 30:
        assert x.abs().max() >= math.exp(-10 / len(x)) * bound, name  # less by chance: once in 20,000 tensors
        off = 5 / math.sqrt(len(x))  # of the deviation and mean of so many draws
        assert abs(float(x.std()) / (bound / math.sqrt(3)) - 1) < off, name
        assert abs(float(x.mean())) < off * bound, name


@pytest.mark.parametrize(("model", "settings"), VARIANTS)
def test_every_tensor_starts_as_in_the_reference(model: str, settings: dict[str, Any]) -> None:
    """Protects: LSTM U(1/sqrt H) with both biases, Linear U(1/sqrt fan_in), norms at 1 and 0; none is forgotten."""
    plain = build(model, **settings).system
    seen = set()
    for path, module in plain.named_modules():
        own = {f"{path}.{n}": p for n, p in module.named_parameters(recurse=False)}
        seen |= set(own)
        for name, p in own.items():
            if isinstance(module, nn.LSTM | nn.LSTMCell):
                check_uniform(name, p, 1 / math.sqrt(module.hidden_size))
            elif isinstance(module, nn.Linear):
                check_uniform(name, p, 1 / math.sqrt(module.in_features))
            elif isinstance(module, nn.Conv1d):
                check_uniform(name, p, 1 / math.sqrt(module.in_channels * module.kernel_size[0]))
            elif isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
                assert torch.equal(p, torch.full_like(p, float(name.endswith("weight")))), name
            elif name.endswith("_factor"):
                deviation = math.sqrt(2 / (p.shape[0] + p.shape[1]))
                assert abs(float(p.detach().std()) / deviation - 1) < 4 / math.sqrt(2 * p.numel()), name
            else:
                constants = {"output_range": 6.0, "output_shift": -3.0, "fusion_bias": 0.0}
                assert name.rpartition(".")[2] in {*constants, "fusion_weights"}, f"{name} has no rule here"
                if not name.endswith("fusion_weights"):
                    assert p.item() == constants[name.rpartition(".")[2]]
    assert seen == {name for name, _ in plain.named_parameters()}
    for name, x in own_tensors(plain).items():
        if "running" in name:
            assert torch.equal(x, torch.full_like(x, float(name.endswith("var")))), name


@pytest.mark.parametrize(("model", "settings"), VARIANTS)
def test_tensors_start_apart_and_with_the_seed(model: str, settings: dict[str, Any]) -> None:
    """Protects: no two tensors share their draws (but Graph-MFN's five inner maps), and a seed moves all of them."""
    one, two = (own_tensors(build(model, seed, **settings).system) for seed in (1, 2))
    drawn = {n: x for n, x in one.items() if x.is_floating_point() and x.numel() > 1 and x.std() > 0}
    assert not [n for n, x in drawn.items() if torch.equal(x, two[n])]
    first: dict[bytes, str] = {}
    twins = [(n, first[k]) for n, x in drawn.items() if (k := x.detach().numpy().tobytes()) in first or first.update({k: n})]  # fmt: skip # noqa: E501
    inner = [n for pair in twins for n in pair]
    assert all(n.endswith((".1.0.weight", ".1.0.bias")) and "graph_mfn." in n for n in inner)
    assert len(set(inner)) == (10 if model == "graph-mfn" else 0)
    assert not [n for n in inner if "efficacy" in n]


def test_the_spread_of_lmfs_fusion_weights() -> None:
    """Protects: Xavier's normal over (1, rank): a small tensor, so it is looked at over many seeds."""
    from dmd_repro.systems.lmf.net import LowRankFusion

    drawn = []
    for seed in range(300):
        torch.manual_seed(seed)
        net = LowRankFusion({"l": 2, "a": 2, "v": 2}, {"l": 2, "a": 2, "v": 2}, 2, 4, {"l": 0, "a": 0, "v": 0})
        drawn.append(net.fusion_weights.detach())
    x = torch.cat(drawn)
    assert float(x.std()) == pytest.approx(math.sqrt(2 / 5), rel=0.1)
    assert float(x.mean()) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("model", ["tfn", "lmf"])
def test_norms_may_start_as_torch_before_1_2(model: str) -> None:
    """Protects: the switch `norm_start=uniform` draws the norms' weights from [0, 1], by seed."""
    norms = [p for n, p in build(model, norm_start="uniform").system.named_parameters() if n.endswith("norm.weight")]
    assert len(norms) == 2
    for p in norms:
        assert 0 <= float(p.detach().min()) < 0.3
        assert 0.7 < float(p.detach().max()) <= 1
    other = dict(build(model, 2, norm_start="uniform").system.named_parameters())
    assert not torch.equal(norms[0], other["net.audio_subnet.norm.weight"])


# ---- where dropout acts

T = 6
MMSA = {"net": "mmsa", "layers": 3}
ONE = {"layers": 1}
ACTS: list[tuple[str, dict[str, Any], str, int, bool]] = [  # model, settings, rate, draws a step, moves the prediction
    ("ef-lstm", {}, "dropout", 1, True),
    ("ef-lstm", MMSA, "dropout", 4, True),  # between 3 layers, before and behind linear
    ("ef-lstm", {"net": "mmsa", "layers": 1}, "dropout", 2, True),
    ("lf-lstm", {}, "dropout", 1, True),
    *(("tfn", {}, f"dropout_{k}", 1, True) for k in ("l", "a", "v", "post")),
    ("tfn", {"text_dropout_acts": False}, "dropout_l", 0, False),  # MMSA's
    *(("lmf", {}, f"dropout_{k}", 1, True) for k in "lav"),
    ("lmf", {"text_dropout_acts": False}, "dropout_l", 0, False),
    *(("mfm", {}, f"dropout_{k}", n, True) for k, n in (("att1", 1), ("att2", 1), ("gamma1", T), ("gamma2", T))),
    ("mfm", {}, "dropout_out", 0, False),  # built and never called
    ("mfm", {}, "dropout_y", 1, True),
    *(("mfm", {}, f"dropout_{m}", 1, False) for m in "lav"),  # the generating factors alone
    ("mfm", {}, "dropout_output", 1, True),
    *(("graph-mfn", {}, f"dropout_{k}", n, True) for k, n in (("att2", 1), ("gamma1", T), ("gamma2", T), ("out", 1))),
    *(("pmr", {**ONE, **more}, f"{k}_dropout", n, True) for k, n, more in (
        ("embed", 5, {}),  # the text, each sequence, what is read at the end
        ("relu", 10, {}), ("res", 19, {}), ("res", 19, {"unit": "plain"}),  # six units, the message, three layers
        ("output", 1, {}),
    )),
    ("fdmer", {}, "dropout", 20, True),  # two layers a modality in three places, fusion twice
    ("language", {}, "dropout", 2, True),
    ("language", {"reader": "mean"}, "dropout", 2, True),
]  # fmt: skip


def rates_of(model: str) -> set[str]:
    """Return the names of a system's dropout rates."""
    names = {f.name for f in fields(find_system(model).config)}
    return {name for name in names if name.startswith("dropout") or name.endswith("_dropout")}


@pytest.mark.parametrize(("model", "settings", "rate", "draws", "moves"), ACTS)
def test_dropout_acts_where_it_is_said(
    model: str, settings: dict[str, Any], rate: str, draws: int, moves: bool
) -> None:  # fmt: skip
    """Protects: each rate alone: how often it draws a mask, whether the prediction moves, and never in evaluation."""
    off = dict.fromkeys(rates_of(model), 0.0)
    bare, one = (build(model, **{**off, **settings, **rates}).train() for rates in ({}, {rate: 0.5}))
    batch = batch_of(one)

    def predict(model: OneSeed) -> tuple[Tensor, Tensor, int]:
        model.stream.restart([1], CPU)
        out = model(batch)
        drawn = model.stream.drawn
        return out.prediction, losses.total(model.loss_terms(out, batch), model.loss_weights()), drawn

    (plain, loss, none), (said, other, drawn) = predict(bare), predict(one)
    assert (none, drawn) == (0, draws)
    assert torch.equal(plain, said) != moves
    assert torch.equal(loss, other) == (draws == 0)
    assert torch.equal(said, predict(one)[0])
    predict(bare)  # running statistics have now seen as much in both
    bare.eval(), one.eval()
    assert torch.equal(bare(batch).prediction, one(batch).prediction)


def test_every_rate_is_looked_at() -> None:
    """Protects: a dropout rate that is added is looked at too."""
    for model in EARLIER:
        assert rates_of(model) == {rate for name, _, rate, *_ in ACTS if name == model}


# ---- what is kept


def cut(report: EpochReport) -> None:
    """Interrupt a training behind its first epoch."""
    if report.epoch == 1:
        raise KeyboardInterrupt


def test_frozen_nets_survive_a_kill_unchanged(tmp_path: Path) -> None:
    """Protects: Graph-MFN's node networks keep their start through training, saving, a kill and going on."""
    data, nets = few(), {}
    for nodes in ("frozen", "trained"):
        overrides = {"max_epochs": 2, "nodes": nodes, "weight_decay": 1e-2}
        spec = resolve_spec("graph-mfn", seed=4, features=data, overrides=overrides)
        start = {n: x.detach().numpy().copy() for n, x in own_tensors(_plain(Loop([spec], data, CPU))).items()}
        with pytest.raises(KeyboardInterrupt):
            fit(spec, data, Records(tmp_path / nodes), execution=Execution(), on_epoch=cut)
        record = fit(spec, data, Records(tmp_path / nodes), execution=Execution())
        end = {n.removeprefix("graph-mfn/"): x for n, x in record.checkpoint().items()}
        assert set(end) == set(start)
        nets[nodes] = {n: np.array_equal(x, start[n]) for n, x in end.items() if ".networks." in n}
        assert not np.array_equal(end["out_fc1.weight"], start["out_fc1.weight"])
    assert len(nets["frozen"]) == 16
    assert all(nets["frozen"].values())
    assert not any(nets["trained"].values())


def _plain(loop: Loop) -> Any:
    return loop.module.system


SETTINGS = [  # each once, and where another net, aligner or group of weights is trained: protocol, aligned
    *((name, "official", True) for name in EARLIER if name != "pmr"),
    ("ef-lstm", "official", False), ("lf-lstm", "official", False), ("graph-mfn", "official", False),
    ("pmr", "official", False), ("language", "official", False),
    ("ef-lstm", "mmsa", True), ("lmf", "mmsa", True),
]  # fmt: skip


@pytest.mark.parametrize(("model", "protocol", "aligned"), SETTINGS)
def test_what_systems_check_asks_of_others_holds_here(model: str, protocol: str, aligned: bool) -> None:
    """Protects: own randomness, all saved, clips apart, repeats and resumes bit for bit, a last batch of one clip."""
    checks = list(conformance(find_system(model), protocol, aligned=aligned))
    assert [c for c in checks if c.problem] == []
    assert len(checks) == 11


@cache
def longer() -> Any:
    """Return clips whose acoustic steps are fewer than the words."""
    from dmd_repro.data.store.digest import feature_set, features

    whole = few(aligned=False)
    splits = {
        name: feature_set(
            ids=part.ids, language=part.language, acoustic=part.acoustic[:, :3], visual=part.visual,
            labels=part.labels, aligned=False,
        )
        for name, part in whole.splits.items()
    }  # fmt: skip
    return features("short", "synthetic", splits, text="glove", standing="synthetic")


# ---- what is refused


@pytest.mark.parametrize(
    ("model", "overrides", "told"),
    [
        ("ef-lstm", {"align": "none"}, r"4 / 6 / 7 steps: expected one length, or an aligner.*--set align=ctc .* or"),
        ("mfm", {}, r"mfm on 4 / 6 / 7 steps: expected one length, or an aligner.*--set align=pool"),
        ("graph-mfn", {}, r"graph-mfn on 4 / 6 / 7 steps: expected one length, or an aligner.*--set align=pool"),
        (
            "raven",
            {"align": "none"},
            r"raven on 4 / 6 / 7 steps: expected one acoustic and visual step.*align=ctc",
        ),
        ("mctn", {"align": "none"}, r"mctn on 4 / 6 / 7 steps: expected one length, or an aligner.*--set align=ctc"),
        ("mfm", {"align": "ctc"}, r"--set align: expected none or pool, got 'ctc'"),
        ("ef-lstm", {"align": "pol"}, r"--set align: expected none or ctc or pool, got 'pol'. Did you mean 'pool'"),
    ],
)
def test_unequal_lengths_need_a_named_aligner(model: str, overrides: dict[str, Any], told: str) -> None:
    """Protects: nothing reads the first frames of longer sequences in silence: refused, with the aligner to name."""
    with pytest.raises(SpecError, match=told):
        resolve_spec(model, seed=1, features=few(aligned=False), overrides=overrides)


@pytest.mark.parametrize(
    ("model", "align"),
    [
        ("ef-lstm", "ctc"),
        ("ef-lstm", "pool"),
        ("mfm", "pool"),
        ("graph-mfn", "pool"),
        ("raven", "ctc"),
        ("mctn", "ctc"),
    ],
)
def test_fewer_frames_than_words_cannot_be_aligned(model: str, align: str) -> None:
    """Protects: CTC has no path, pooling no groups where frames are fewer than words: a sentence, no infinite cost."""
    with pytest.raises(DataError, match=rf"align={align}: expected at least as many .* steps as words \(4\), got 3"):
        resolve_spec(model, seed=1, features=longer(), overrides={"align": align})
