"""DMD and MulT with the weights of the formula: outputs, losses and gradients of one batch, and a short training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from parity.dmd import loss_values, outputs, silence_dropout
from parity.loading import load

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.nn.layers import named_slices
from dmd_repro.spec import AblationMask, RunSpec
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.dmd import config as dmd_config
from dmd_repro.systems.dmd.model import CROSSINGS, DMD
from dmd_repro.systems.mult.config import MulTConfig
from dmd_repro.systems.mult.model import MulT
from dmd_repro.training import feed as feed_module
from dmd_repro.training.loop import Loop
from golden.harness import Account

SOURCES = {"l": "text", "a": "audio", "v": "vision"}
RENAMED = {"sim": "margin", "combined": "total"}  # parity's names -> the figures'
CPU = torch.device("cpu")


def config(account: Account) -> Any:
    """Return the configuration the figures were made with."""
    if not account.name.startswith("dmd"):
        return MulTConfig(batch_size=5)
    return replace(dmd_config.PRESETS[account.figures["settings"]["dataset"]], batch_size=5)


def build(account: Account, double: bool, made: Any = None) -> tuple[Any, Batch]:
    """Return the model with the formula's weights, dropout off, in training mode, and the batch."""
    cls = DMD if account.name.startswith("dmd") else MulT
    sizes = account.figures["settings"]
    dims, steps = (dict(zip("lav", sizes[k], strict=True)) for k in ("dims_l_a_v", "steps_l_a_v"))
    model = cls(made or config(account), dims=dims, steps=steps)
    load(model, account.weights())
    made_inputs = account.inputs()
    kind = torch.float64 if double else torch.float32
    batch = Batch(
        {m: torch.from_numpy(made_inputs[s])[None].to(kind) for m, s in SOURCES.items()},
        torch.tensor([account.figures["inputs"]["labels"]], dtype=kind),
    )
    return silence_dropout(model).to(kind).train(), batch


def compare_outputs(account: Account, model: Any, batch: Batch, out: Any) -> None:
    """Compare every result of the forward pass, in the reference's layouts."""
    if isinstance(model, DMD):
        found = outputs(out)
        for unit in ("homo", "hetero"):
            found[f"edges_{unit}"] = out.edges[unit][0].detach().numpy()
            found[f"edge_scores_{unit}"] = out.features.edge_scores[unit][0].sum(1, keepdim=True).detach().numpy()
    else:
        with torch.no_grad():
            x = {m: model.project[m](batch.inputs[m]) for m in SOURCES}
            crossed = model.crossmodal([x[t] for t, _ in CROSSINGS], [x[s] for _, s in CROSSINGS])
            paired = [torch.cat(crossed[2 * i : 2 * i + 2], dim=-1) for i in range(3)]
            memory = model.memory(paired)
        last = [out.features.reinforced[m][0].detach().numpy() for m in SOURCES]
        found = {"prediction": out.prediction[0].detach().numpy(), "last_hs": np.concatenate(last, axis=-1)}
        found |= {f"proj_{m}": x[m][0].numpy().transpose(0, 2, 1) for m in SOURCES}
        found |= {
            f"trans_{t}_with_{s}": h[0].numpy().transpose(1, 0, 2) for (t, s), h in zip(CROSSINGS, crossed, strict=True)
        }
        found |= {f"trans_{m}_mem": h[0].numpy().transpose(1, 0, 2) for m, h in zip(SOURCES, memory, strict=True)}
    for name, x in found.items():
        account.output(name, x)


def one_batch(account: Account, double: bool = True, model: Any = None) -> None:
    """Compare outputs, losses, the gradient of each term and every gradient of the total."""
    built, batch = build(account, double)
    model = model or built
    out = model(batch, keep_features=True)
    compare_outputs(account, model, batch, out)
    if isinstance(model, DMD):
        found = {RENAMED.get(n, n): x for n, x in loss_values(model, out, batch).items()}
        theirs = account.figures["losses"]
        account.losses({n: x.item() for n, x in found.items() if n in theirs})
        for name in account.figures["term_gradients"]:
            parameters = list(model.parameters())
            each = torch.autograd.grad(found[name].sum(), parameters, retain_graph=True, allow_unused=True)
            norm = sum(g.double().square().sum().item() for g in each if g is not None) ** 0.5
            account.losses({name: norm}, "term_gradients")
        objective = found["total"]
    else:
        objective = losses.total(model.loss_terms(out, batch), model.loss_weights())
        account.losses({"l1": objective.item()})
    model.zero_grad()
    objective.sum().backward()
    grads = {n: None if p.grad is None else p.grad[0, e].numpy() for n, p, e in named_slices(model)}
    account.gradients(grads)
    if "gradient_elements_above_0.6" in account.figures:
        above = sum(int((np.abs(g) > 0.6).sum()) for g in grads.values() if g is not None)
        account.near("gradient_elements_above_0.6", above, account.figures["gradient_elements_above_0.6"], "clamped")


def pool_features(clips: dict[str, np.ndarray], labels: list[float], *, aligned: bool = False) -> Features:
    """Return l, a, v (N, T, D) of a pool as features whose three splits are that pool."""
    n, (text, audio, vision) = len(labels), (clips[m].astype(np.float32) for m in SOURCES)
    split = FeatureSet(
        ids=tuple(str(i) for i in range(n)), language=text, acoustic=audio, visual=vision,
        lengths={m: np.full(n, x.shape[1], dtype=np.int64) for m, x in clips.items()},
        labels=np.asarray(labels, np.float32), aligned=aligned, digest="pool",
    )  # fmt: skip
    return Features(
        "pool", "mosi", "glove", split.aligned, "partial", dict.fromkeys(("train", "valid", "test"), split), "pool"
    )


def _pool(account: Account, pool: dict[str, Any]) -> Features:
    made = account.inputs(pool)
    clips = {m: made[s] for m, s in SOURCES.items()}
    return pool_features(clips, pool["labels"], aligned=bool(account.figures["settings"]["aligned"]))


def training(account: Account, change: Callable[[Any], Any] = lambda made: made) -> None:
    """Train as the figures were, through our own loop in float64, and compare each batch and the outputs after."""
    figures, model_name = account.figures["trajectory"], account.name.split("_")[0]
    made = change(config(account))
    spec = RunSpec(model_name, 1, "mosi", "official", AblationMask(), made.to_dict())
    loop = Loop([spec], _pool(account, figures["pool"]), CPU, capture=False)
    load(loop.module, account.weights())
    silence_dropout(loop.model).double()  # type: ignore[arg-type]
    loop.take_seeds()  # the optimizer's views are of the parameters as they are now
    totals, norms, clamped = [], [], []
    real_gather, real_count, real_backward = feed_module.gather, loop._count, loop.backward

    def gather(*arguments: Any) -> Batch:
        batch = real_gather(*arguments)
        return Batch({m: x.double() for m, x in batch.inputs.items()}, batch.labels.double())

    def count(name: str, value: torch.Tensor) -> None:
        if name == "terms":
            totals.append(value[-1].item())
        real_count(name, value)

    def backward(*arguments: Any) -> None:
        real_backward(*arguments)
        grads = [p.grad for p in loop.module.parameters() if p.grad is not None]
        norms.append(sum(g.square().sum().item() for g in grads) ** 0.5)
        clamped.append(sum(int((g.abs() >= 0.6).sum()) for g in grads))

    with (
        mock.patch.object(feed_module, "gather", gather),
        mock.patch.object(loop, "_count", count),
        mock.patch.object(loop, "backward", backward),
    ):
        for _ in range(figures.get("epochs", 1)):
            loop.train_batches(np.array(figures["batches"]).reshape(1, -1))
    account.trajectory("trajectory", total=totals)
    if "accumulated_norm" in figures:
        account.trajectory("trajectory", accumulated_norm=norms, clamped_elements=clamped)
    else:
        account.trajectory("trajectory", gradient_norm=norms)
    batch = build(account, double=True)[1]
    with torch.no_grad():
        out = loop.module.eval()(batch, keep_features=True)
    found = outputs(out) if isinstance(loop.module, DMD) else {"prediction": out.prediction[0].numpy()}
    for name in figures["after"]:
        account.output(name, found[name], "trajectory/after")
