"""`dmd bench`: the plain implementation computes what ours does, the report is whole, slips are one sentence."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Here

from dmd_repro.bench.against import plain_name, plain_weights
from dmd_repro.bench.measure import even
from dmd_repro.bench.plain import PlainDMD
from dmd_repro.bench.roofline import count, roofline
from dmd_repro.bench.types import (
    PHASES,
    Ceilings,
    Counted,
    Memory,
    Operator,
    Plain,
    Result,
    Roofline,
    Spread,
)
from dmd_repro.cli.bench import show
from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.nn.kernels.watch import WATCHERS, causal_pairs, did
from dmd_repro.nn.layers import named_slices
from dmd_repro.systems import losses, resolve
from dmd_repro.systems.base import Batch
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.loop import Loop

TOY = {
    "d": 8, "heads": 2, "layers": 2, "kernel_l": 3, "kernel_a": 2, "kernel_v": 1, "gd_homo": 5, "gd_hetero": 4,
    "attn_dropout": 0, "attn_dropout_a": 0, "attn_dropout_v": 0, "relu_dropout": 0, "res_dropout": 0,
    "embed_dropout": 0, "text_dropout": 0, "output_dropout": 0, "accumulate": 1,
}  # fmt: skip


def padded(features_: Features) -> Features:
    """Return toy features with padding: on the left, on both sides, one clip of zeros, and labels that repeat."""

    def split(data):
        arrays = {m: np.array(data.array(m)) for m in "lav"}
        for x in arrays.values():
            x[:, :1] = 0  # of every clip: ours cuts it off where padding is hidden
            x[0, :3] = 0
            x[1, :2] = 0
            x[1, -2:] = 0
        arrays["a"][2] = 0
        labels = np.array(data.labels)
        labels[1] = labels[0]
        return feature_set(
            ids=data.ids, language=arrays["l"], acoustic=arrays["a"], visual=arrays["v"], labels=labels, aligned=False
        )

    splits = {name: split(data) for name, data in features_.splits.items()}
    return features("toy", "mosi", splits, text="glove", standing="partial")


@pytest.mark.parametrize("padding", ["zeros", "masked"])
def test_plain_computes_what_ours_does(toy: Features, padding: str) -> None:
    """Protects: the ratio compares two ways to compute the same mathematics, to the last gradient."""
    data = padded(toy)
    spec = resolve_spec("dmd", seed=3, features=data, overrides={**TOY, "padding": padding})
    loop = Loop([spec], data, torch.device("cpu"))
    ours = loop.module.double().train()
    plain = PlainDMD(loop.config, data.dims, data.steps).double().train()
    plain.load_state_dict(plain_weights(ours))
    whole = loop.feed.batch("train", np.arange(6)[None])
    split = data.splits["train"]
    inputs = {m: torch.from_numpy(np.array(split.array(m))).double() for m in "lav"}
    labels = torch.from_numpy(np.array(split.labels)).double()
    batch = Batch({m: x.double() for m, x in whole.inputs.items()}, labels[None], whole.lengths, whole.first)

    out = ours(batch)
    terms = loop.model.loss_terms(out, batch)
    losses.total(terms, loop.weights).sum().backward()
    prediction, found = plain(inputs, labels)
    torch.stack([found[name] * loop.weights[name] for name in found]).sum().backward()

    torch.testing.assert_close(prediction, out.prediction[0], rtol=1e-8, atol=1e-10)
    assert set(found) == set(terms)
    for name, value in terms.items():
        torch.testing.assert_close(found[name], value[0], rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    theirs = dict(plain.named_parameters())
    compared = 0
    for name, p, e in named_slices(ours):
        got, wanted = theirs.pop(plain_name(name)).grad, None if p.grad is None else p.grad[0, e]
        if wanted is None or got is None:  # never reached: proj_cosine_*
            assert "proj_cosine" in name
            continue
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
        compared += bool(wanted.abs().max() > 0)
    assert not theirs
    assert compared > 200


SMALL = (
    "bench", "--data", "synthetic", "--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--set", "batch_size=4",
)  # fmt: skip


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


def rebuilt(case: dict[str, Any]) -> Result:
    """Return the result behind its JSON."""
    roof, plain = case["roofline"], case["plain"]
    parts = {
        "step_ms": Spread(**case["step_ms"]),
        "memory": Memory(**case["memory"]),
        "roofline": Roofline(
            **{**roof, "counted": Counted(**roof["counted"]), "ceilings": Ceilings(**roof["ceilings"])}
        ),
        "plain": Plain(
            **{**plain, "memory": Memory(**plain["memory"])}
            | {name: Spread(**plain[name]) for name in ("step_ms", "ratio")}
        ),
        "profile": tuple(Operator(**operator) for operator in case["profile"]),
    }
    return Result(**{name: value for name, value in case.items() if name != "seed_step_ms"} | parts)


def test_the_report_is_whole(dmd: Here, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: a script, and benchmarks/plot.py, find every number under its name; shares are shares; all is shown."""
    arguments = ("--stack", "2", "--steps", "2", "--against", "plain", "--set", "padding=masked", "--profile", "--json")
    said = dmd(*SMALL, *arguments)
    assert said.code == 0, said.err
    (case,) = json.loads(said.out)["cases"]
    assert {field.name for field in fields(Result)} | {"seed_step_ms"} == set(case)
    assert (case["stack"], case["batch_size"], case["setting"], case["step_ms"]["n"]) == (2, 4, "aligned", 2)
    assert case["seed_step_ms"] == pytest.approx(case["step_ms"]["median"] / 2)
    assert case["clips_per_s"] == pytest.approx(4 * case["seed_steps_per_s"])
    assert set(case["phases"]) == set(PHASES)
    assert sum(case["phases"].values()) == pytest.approx(1)
    assert not case["captured"]
    assert case["why_not_captured"]
    assert case["memory"]["built"] > 0
    roof = case["roofline"]
    assert roof["ms"][roof["binding"]] == max(roof["ms"].values())
    assert min(roof["counted"].values()) > 0
    assert case["plain"]["ratio"]["n"] == 2
    assert case["plain"]["ratio"]["low"] <= case["plain"]["ratio"]["median"] <= case["plain"]["ratio"]["high"]
    assert case["profile"]
    assert sum(operator["share"] for operator in case["profile"]) <= 1 + 1e-9
    assert "[1/1]" in said.err
    result = rebuilt(case)
    assert json.loads(json.dumps(result.to_json())) == case
    show([result])
    shown = capsys.readouterr().out
    for words in (
        "20/20/20 x2",
        *PHASES,
        roof["binding"],
        "against the plain",
        case["profile"][0]["name"][:12],
        "captured",
    ):
        assert words in shown


def test_every_step_has_its_share_of_the_optimizer() -> None:
    """Protects: time per step does not depend on whether the few timed steps happened to fill a window."""
    assert even([10.0, 10, 10, 14, 10], 4.0, 4) == pytest.approx([11] * 5)
    assert even([14.0, 14], 4.0, 1) == pytest.approx([14, 14])
    assert even([10.0, 14], 4.0, 4, trailing=True) == pytest.approx([11, 11])


def test_products_forward_and_backward_are_counted() -> None:
    """Protects: the floating point operations are those of the products, in both directions; views move nothing."""
    w, x = torch.ones(3, 5, requires_grad=True), torch.ones(7, 3)
    counted = count(lambda: (x @ w).view(5, 7).sum().backward(), lambda: None, 10)
    assert counted.flops == 2 * (2 * 7 * 3 * 5)  # the product, and the gradient of w
    assert counted.ops > 2
    a, b = torch.ones(2, 4, 3), torch.ones(2, 3, 5)
    added = count(lambda: (torch.zeros(2, 4, 5).baddbmm_(a, b), torch.mm(x, x.t(), out=torch.empty(7, 7))), int, 1)
    assert added.flops == 2 * (2 * 4 * 3 * 5) + 2 * 7 * 3 * 7, "in place, or into a place, it is a product too"
    moved = count(lambda: x.t().expand(3, 7) + 0, lambda: None, 1)
    assert (moved.bytes, moved.ops) == (2 * 7 * 3 * 4, 1)


def test_kernels_of_our_own_are_counted() -> None:
    """Protects: what no dispatch shows still counts, while a count goes on and not after it; pairs are those seen."""
    x = torch.ones(3, 5)
    counted = count(lambda: did(70.0, x, None, x), lambda: did(1.0), 1)
    assert (counted.flops, counted.bytes, counted.ops) == (71.0, 2 * 60, 2)
    assert not WATCHERS
    for queries, keys, offset in ((4, 4, 0), (3, 7, 4), (7, 3, 4), (5, 9, 1), (1, 4, None)):
        seen = [j for i in range(queries) for j in range(keys) if offset is None or j <= i + offset]
        assert causal_pairs(queries, keys, offset) == len(seen)


def test_calls_do_not_bind_a_captured_step() -> None:
    """Protects: a replayed step is not said to beat its ceiling, thousands of calls that it does not make."""
    counted, ceilings = Counted(flops=2e9, bytes=1e9, ops=1000), Ceilings(1e12, 1e12, 1e-5)
    assert roofline(counted, ceilings, 4.0).binding == "ops"
    captured = roofline(counted, ceilings, 4.0, captured=True)
    assert (captured.binding, captured.fraction) == ("flops", pytest.approx(0.5))


def test_plot_reads_what_bench_writes() -> None:
    """Protects: figures are drawn from the names the JSON has, plain beside ours."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "plot.py"
    described = importlib.util.spec_from_file_location("bench_plot", path)
    assert described is not None
    assert described.loader is not None
    plot = importlib.util.module_from_spec(described)
    described.loader.exec_module(plot)
    common = {"model": "dmd", "mask": "full", "protocol": "official", "device": "cpu", "threads": 1, "stack": 1,
              "settings": {"padding": "masked"}}  # fmt: skip
    cases = [
        {**common, "setting": "unaligned", "lengths": {"l": 50, "a": t, "v": t}, "seed_step_ms": 1.0,
         "plain": {"seed_step_ms": 2.0, "step_ms": {"median": 6.0}}}
        for t in (50, 125)
    ]  # fmt: skip
    assert plot.by_length(cases) == {
        "dmd, padding=masked, cpu, 1 thread, stack 1": [(50, 2.0), (125, 2.0)],
        "plain, dmd, padding=masked, cpu, 1 thread": [(50, 6.0), (125, 6.0)],
    }
    assert [len(points) for points in plot.by_stack(cases).values()] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--stack", "0"), "whole numbers from 1 on"),
        (("--seconds", "inf"), "a finite number of seconds"),
        (("--threads", "100000"), "--threads 100000: expected at most"),
        (("--stack", "1,two"), "'two'"),
        (("--stack", "9999999"), "Lower --stack"),
        (("--device", "cuda:63"), "--device cpu"),
        (("--setting", "alined"), "Did you mean 'aligned'?"),
        (("--lengths", "20"), "Add --setting unaligned"),
        (("--setting", "unaligned", "--lengths", "37"), "1 to 36 steps"),
        (("--setting", "unaligned", "--lengths", "2"), "at least 3 time steps"),
        (("--against", "authors"), "--against plain"),
        (("--against", "plain", "--drop", "ca"), "the mask -ca"),
        (("--against", "plain", "--protocol", "paper"), "the protocol paper"),
        (("--against", "plain", "--set", "fusion=weigh"), "fusion=weigh"),
        (("--model", "dmt"), "Did you mean 'dmd'?"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], told: str) -> None:
    """Protects: what the user can mend is said in one sentence with exit code 2, before anything is measured."""
    said = dmd(*SMALL, *arguments)
    assert said.code == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_seeds_that_cannot_share_a_stack_are_refused(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a model without a stack axis is told by name."""
    alone = replace(find_system("dmd"), stackable=False)
    monkeypatch.setattr(resolve, "find_system", lambda name: alone)
    said = dmd(*SMALL, "--stack", "2")
    assert said.code == 2
    assert "dmd has no stack axis" in said.err
