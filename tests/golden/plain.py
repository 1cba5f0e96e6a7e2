"""The earlier systems with the weights of the formula: one batch, and short trainings through our own loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.spec import AblationMask, RunSpec
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.build import construct
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.plain import OneSeed, PlainSystem, own_tensors, plain_of
from dmd_repro.systems.registry import find_system
from dmd_repro.training import feed as feed_module
from dmd_repro.training.loop import Loop
from golden import formula
from golden.harness import Account
from golden.shipped import CPU, SOURCES, pool_features

Settings = Mapping[str, Any]


class Case(NamedTuple):
    """How the system of a file is set, and what its reference calls our names."""

    model: str
    settings: Callable[[Settings], dict[str, Any]]
    tensors: str = ""  # what stands before the net's own names in the file: "model."
    outputs: Mapping[str, str] = {}  # what our net returns between -> the file's name
    terms: Mapping[str, str] = {}  # our loss term -> the file's
    trajectories: Mapping[str, Mapping[str, Any]] = {}  # settings of each


def _hidden(keys: str, values: list[int]) -> dict[str, int]:
    return {f"hidden_{k}": v for k, v in zip(keys, values, strict=True)}


def _mfm(c: Settings) -> dict[str, Any]:
    found = {f"h_{k}": v for k, v in zip("lav", c["h_l_a_v"], strict=True)}
    for part in "zf":
        found |= {f"{part}_{k}": v for k, v in zip("ylav", c[f"{part}_y_l_a_v"], strict=True)}
    found |= dict(zip(("att1", "att2", "gamma1", "gamma2"), c["att1_att2_gamma1_gamma2"], strict=True))
    found |= dict(zip(("lambda_mmd", "lambda_l", "lambda_a", "lambda_v"), c["lambda_mmd_xl_xa_xv"], strict=True))
    return {**found, "memory": c["memory"], "out": c["out"]}


def _graph(c: Settings) -> dict[str, Any]:
    maps = dict(zip(("att2", "gamma1", "gamma2", "out"), c["att2_gamma1_gamma2_out"], strict=True))
    return {**_hidden("lav", c["hidden_l_a_v"]), **maps, "memory": c["memory"], "node": c["node_dim"]}


def _mctn(c: Settings) -> dict[str, Any]:
    sizes = dict(zip(("hidden_1", "hidden_2", "regression"), c["hidden_1_2_regression"], strict=True))
    return {**sizes, "last_steps": 0, "visual_scale": "none"}


_POOLED = {"a": "audio_subnet", "v": "video_subnet", "l": "text_subnet"}
_LATE = Case(
    "lf-lstm", lambda c: {**_hidden("lav", c["hidden_l_a_v"]), "head": c["head"]},
    outputs={"hidden": "hidden_states"}, trajectories={"trajectory": {"clip_norm": 0.8}},
)  # fmt: skip
_UNTRAINED = "trajectory_fusion_weights_untrained"
_LMF = {"learning_rate": 1e-3, "factor_lr": 5e-4, "weight_decay": 2e-3}
CASES: dict[str, Case] = {
    "ef_lstm": Case(
        "ef-lstm", lambda c: {"hidden": c["hidden"]}, outputs={"hidden": "last_hidden", "cell": "last_cell"},
        trajectories={"trajectory": {"clip_norm": 0.8}, "trajectory_own": {"learning_rate": 1e-2}},
    ),
    "lf_lstm_aligned": _LATE,
    "lf_lstm_unaligned": _LATE,
    "tfn": Case(
        "tfn",
        lambda c: {**_hidden("avl", c["hidden_a_v_l"]), "text_out": c["text_out"], "post": c["post_fusion"],
                   "reduction": "sum", "pool_sum": "float64"},
        outputs=_POOLED, trajectories={"trajectory": {}},
    ),
    "lmf": Case(
        "lmf",
        lambda c: {**_hidden("avl", c["hidden_a_v_l"]), "text_out": c["text_out"], "rank": c["rank"],
                   "reduction": "sum", "pool_sum": "float64"},
        outputs=_POOLED, trajectories={"trajectory": _LMF, _UNTRAINED: {**_LMF, "train_fusion": False}},
    ),
    "ctc_ef_lstm": Case(
        "ef-lstm", lambda c: {"hidden": c["hidden"], "align": "ctc"}, tensors="model.",
        terms={"task.output": "l1", "ctc_a": "ctc_audio", "ctc_v": "ctc_vision"},
        trajectories={"trajectory": {"clip_norm": 0.8}},
    ),
    "mfm": Case(
        "mfm", _mfm,
        outputs={"mfn/last": "mfn_last", "attention": "attention",
                 **{n: n for k in "ylav" for n in (f"z{k}", f"f{k}", f"xhat_{k}") if n != "xhat_y"}},
        terms={"task.output": "disc", **{n: n for k in "lav" for n in (f"mmd_{k}", f"gen_{k}")}, "mmd_y": "mmd_y"},
        trajectories={"trajectory": {}},
    ),
    "graph_mfn": Case(
        "graph-mfn", _graph,
        outputs={n: n for n in ("tau", "efficacies", "node_01", "node_02", "node_12", "node_012")}
        | {"last": "last_hidden"},
        trajectories={
            "trajectory": {"learning_rate": 2e-3, "weight_decay": 1e-3},
            "trajectory_nodes_trained": {"learning_rate": 2e-3, "weight_decay": 1e-3, "nodes": "trained"},
        },
    ),
    "mctn": Case(
        "mctn", _mctn,
        outputs={n: n for n in ("encoded", "decoded", "cycled_encoded", "cycled_decoded", "encoded2", "decoded2",
                                )}
        | {"reg_activations": "regression_states", "reg_attention": "regression_attention",
           "reg_sent": "regression_summary"},
        terms={"task.output": "reg"},
        trajectories={"trajectory": {"learning_rate": 1e-4}, "trajectory_lr_1e-2": {"learning_rate": 1e-2}},
    ),
}  # fmt: skip


class Golden:
    """One file: its system with the formula's weights, and what is compared."""

    def __init__(self, account: Account) -> None:
        self.account, self.case = account, CASES[account.name]
        self.kind = torch.float64 if account.tolerances["outputs"] < 1e-5 else torch.float32
        self.prefix = account.figures["parameter_prefixes"][0]

    def config(self, **more: Any) -> TrainConfig:
        """Return the configuration of the figures: every dropout off, Adam at 1e-3, batches of five."""
        system = find_system(self.case.model)
        off = {f.name: 0.0 for f in fields(system.config) if f.name.startswith("dropout")}
        values = {"batch_size": 5, "learning_rate": 1e-3, "plateau_patience": 99, **off}
        return replace(system.config(), **{**values, **self.case.settings(self.account.figures["settings"]), **more})

    def named(self, plain: PlainSystem) -> dict[str, Tensor]:
        """Return our tensors under the file's names."""
        found = {}
        for name, tensor in own_tensors(plain).items():
            beside = name.startswith(("a2l.", "v2l."))
            found[f"{self.prefix}{'' if beside else self.case.tensors}{name}"] = tensor
        return found

    def load(self, plain: PlainSystem) -> None:
        """Give a system the formula's weights and running statistics."""
        weights, scales = self.account.weights(), self.account.figures["scales"]
        with torch.no_grad():
            for name, tensor in self.named(plain).items():
                if not tensor.is_floating_point():
                    continue
                made = weights.pop(name, None)
                shape = tuple(tensor.shape)
                made = formula.tensor(name, shape, *formula.scale(name, shape, scales)) if made is None else made
                tensor.copy_(torch.from_numpy(made))
        assert not weights, f"no tensor of ours is {sorted(weights)}"

    def build(self, **more: Any) -> tuple[OneSeed, PlainSystem]:
        """Return the system as the engine sees it, and itself."""
        settings = {m: x.shape for m, x in self.clips().items()}
        one: Any = construct(
            find_system(self.case.model), self.config(**more), dims={m: s[2] for m, s in settings.items()},
            steps={m: s[1] for m, s in settings.items()}, mask=AblationMask(), seeds=(1,),
        )  # fmt: skip
        self.load(one.system)
        return one.to(self.kind).train(), one.system

    def clips(self, of: Settings | None = None) -> dict[str, np.ndarray]:
        """Return l, a, v (B, T, D); one vector a clip is one step."""
        made = self.account.inputs(of)
        return {m: made[s] if made[s].ndim == 3 else made[s][:, None] for m, s in SOURCES.items()}

    def batch(self) -> Batch:
        """Return the one batch, with the axis of seeds."""
        inputs = {m: torch.from_numpy(x)[None].to(self.kind) for m, x in self.clips().items()}
        return Batch(inputs, torch.tensor([self.account.figures["inputs"]["labels"]], dtype=self.kind))

    def draws(self, of: Settings | None, batches: list[list[int]] | None) -> Any:
        """Return a stand-in for `stream.normals`: the file's rows, four draws a batch in the reference's order."""
        made = self.account.inputs(of)
        picked = batches or [list(range(len((of or self.account.figures["inputs"])["labels"])))]
        rows = (made[f"draw_{k}"][index] for index in picked for k in "lavy")

        def normals(_: DropoutStream, shape: tuple[int, ...], like: Tensor) -> Tensor:
            x = torch.from_numpy(next(rows)).to(like)
            assert tuple(x.shape) == tuple(shape)
            return x[None]

        return mock.patch.object(DropoutStream, "normals", normals)

    def terms(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return loss terms by the file's names, the sum of the MMD terms too."""
        named = {self.case.terms.get(n, n): x for n, x in found.items()}
        if "mmd_y" in named:
            named["mmd"] = torch.stack([named[f"mmd_{k}"] for k in "lavy"]).sum(0)
        if "l2" in named:
            named["l2"] = 0.01 * named["l2"]
        return named

    def one_batch(self) -> None:
        """Compare outputs, losses, buffers, the gradient of each term and every gradient of the total."""
        account, figures = self.account, self.account.figures
        one, plain = self.build(**({"nodes": "trained"} if account.name == "graph_mfn" else {}))
        batch = self.batch()
        with self.draws(None, None):
            out = one(batch)
            found = one.loss_terms(out, batch)
        terms, total = self.terms(found), losses.total(found, one.loss_weights())
        if "buffers_after_one_training_forward" in figures:
            for name, tensor in self.named(plain).items():
                if "running" in name:
                    account.output(name, tensor.numpy(), "buffers_after_one_training_forward")
        terms["total"] = total
        account.losses({n: x.item() for n, x in terms.items() if n in figures["losses"]})
        for name in figures.get("term_gradients", ()):
            parameters = [p for p in plain.parameters() if p.requires_grad]
            each = torch.autograd.grad(terms[name].sum(), parameters, retain_graph=True, allow_unused=True)
            norm = sum(g.double().square().sum().item() for g in each if g is not None) ** 0.5
            account.losses({name: norm}, "term_gradients")
        total.sum().backward()
        grads = {n: x.grad for n, x in self.named(plain).items()}
        account.gradients({n: None if g is None else g.numpy() for n, g in grads.items()})
        self.outputs(plain, batch, out, terms)

    def outputs(self, plain: PlainSystem, batch: Batch, out: Any, terms: Mapping[str, Tensor]) -> None:
        """Compare what the system says and what lies between."""
        account, shown = self.account, {"prediction": out.prediction[0]}
        x = {m: v[0] for m, v in batch.inputs.items()}
        modes = [("outputs", True)] + ([("outputs_eval", False)] if "outputs_eval" in account.figures else [])
        if account.name == "ctc_ef_lstm":
            for m, source in (("a", "audio"), ("v", "vision")):
                aligned, scores = getattr(plain, f"{m}2l")(x[m])
                shown |= {f"{source}_aligned": aligned, f"{source}_logits": scores}
        if "mmd" in terms:
            shown["mmd_sum"] = terms["mmd"]
        for group, training in modes:
            if not training:
                self.load(plain)  # the running statistics as they were
            plain.train(training)
            with torch.no_grad():
                said, between = self._between(plain, x)
            shown |= {theirs: between[ours] for ours, theirs in self.case.outputs.items() if ours in between}
            shown |= {} if training else {"prediction": said}
            for name, value in shown.items():
                if name in account.figures[group]:
                    account.output(name, value.detach().numpy(), group)
        plain.train()

    def _between(self, plain: Any, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        match self.case.model:
            case "ef-lstm":
                if self.account.name == "ctc_ef_lstm":
                    return torch.empty(0), {}
                said, between = plain.net(torch.cat([x["l"], x["a"], x["v"]], dim=2))
            case "tfn" | "lmf":
                said, between = plain.net(x["l"], x["a"][:, 0], x["v"][:, 0])
            case "mfm":
                said, between = plain.net(x, generate=True)
                between["attention"] = torch.softmax(between["mfn/att1"], dim=2)
            case "mctn":
                said, between = plain.net(x["l"], translate=True)
            case _:
                said, between = plain.net(x)
        return said, between

    def trainings(self) -> None:
        """Compare every trajectory, each batch of it, through our own loop in float64."""
        for group, more in self.case.trajectories.items():
            self.training(group, more)

    def training(self, group: str, more: Mapping[str, Any]) -> None:
        """Train as the figures were and compare each batch and the prediction after."""
        account, figures = self.account, self.account.figures[group]
        pool = self.account.figures["trajectory"]["pool"]
        config = self.config(**more)
        spec = RunSpec(self.case.model, 1, "mosi", "official", AblationMask(), config.to_dict())
        loop = Loop([spec], pool_features(self.clips(pool), pool["labels"]), CPU, capture=False)
        plain = plain_of(loop.module)
        assert plain is not None
        self.load(plain)
        loop.module.double()
        loop.take_seeds()  # the optimizer's views are of the parameters as they are now
        if self.case.model == "graph-mfn":  # their gradients count in the noted norm, though no optimizer has them
            plain.requires_grad_(True)
        rows: list[dict[str, float]] = []
        norms: list[float] = []
        real_gather, real_count, real_backward = feed_module.gather, loop._count, loop.backward

        def gather(*arguments: Any) -> Batch:
            batch = real_gather(*arguments)
            return Batch({m: x.double() for m, x in batch.inputs.items()}, batch.labels.double())

        def count(name: str, value: Tensor) -> None:
            if name == "terms":
                named = self.terms(dict(zip(loop.terms, value.detach(), strict=True)))
                rows.append({n: x.item() for n, x in named.items()})
            real_count(name, value)

        def backward(*arguments: Any) -> None:
            real_backward(*arguments)
            norms.append(sum(p.grad.square().sum().item() for p in plain.parameters() if p.grad is not None) ** 0.5)

        with (
            mock.patch.object(feed_module, "gather", gather),
            mock.patch.object(loop, "_count", count),
            mock.patch.object(loop, "backward", backward),
            self.draws(pool, figures["batches"]),
        ):
            loop.train_batches(np.array(figures["batches"]).reshape(1, -1))
        account.trajectory(group, total=[r["total"] for r in rows])
        if "gradient_norm" in figures:
            account.trajectory(group, gradient_norm=norms)
        for name, values in figures.get("terms", {}).items():
            account.near(f"{group}/terms", [r[name] for r in rows], values, "trajectory")
        with torch.no_grad():
            out = loop.module.eval()(self.batch())
        account.output("prediction", out.prediction[0].numpy(), f"{group}/after")
