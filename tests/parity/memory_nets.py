"""MFM and Graph-MFN beside the reference's arrays: outputs, every step between, losses, gradients, ten batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.shapes import MODALITIES
from dmd_repro.systems.graph_mfn.net import FusionGraph, GraphMemoryFusion
from dmd_repro.systems.mfm.net import (
    FACTORS,
    FactorizedModel,
    MFMSizes,
    maximum_mean_discrepancy,
    reconstruction,
)
from parity.loading import VARIANTS, Computed, arrays

_GIVEN = "given to both implementations"
NOT_COMPARED = {
    "state/*": _GIVEN, "pert/*": _GIVEN, "state_unregistered/*": _GIVEN, "input/*": _GIVEN, "pool/*": _GIVEN,
    "batch_index": _GIVEN, "draw/*": _GIVEN, "tdraw/*": _GIVEN, "dfg/in_*": _GIVEN,
    "config_json": "a note on what computed the file",
    "loss_names": "the columns of traj/loss, read here to order ours",
}  # fmt: skip
Yielded = Iterator[tuple[str, Any, float, float]]
INPUTS = {"l": "text", "a": "audio", "v": "vision"}


def _by(values: Sequence[Any], keys: Sequence[str] = MODALITIES) -> dict[str, Any]:
    return dict(zip(keys, values, strict=True))


class _File:
    """One reference file in one variant and precision."""

    def __init__(self, name: str, variant: str, dtype: torch.dtype) -> None:
        self.reference, self.variant, self.dtype = arrays(name), variant, dtype
        self.settings = json.loads(str(self.reference["config_json"]))

    def state(self) -> dict[str, Tensor]:
        """Return weights by name, the variant's in the place of the base's."""
        found: dict[str, Tensor] = {}
        for prefix in ("state/", "state_unregistered/", *(["pert/"] if self.variant else [])):
            found |= {k[len(prefix) :]: self.tensor(k) for k in self.reference if k.startswith(prefix)}
        return found

    def tensor(self, key: str, index: Any = slice(None)) -> Tensor:
        """Return an array, or some rows of it."""
        return torch.as_tensor(self.reference[key][index]).to(self.dtype)

    def clips(self, prefix: str, index: Any = slice(None)) -> tuple[dict[str, Tensor], Tensor]:
        """Return l, a, v -> (B, T, D) and the labels (B,)."""
        return {m: self.tensor(f"{prefix}/{n}", index) for m, n in INPUTS.items()}, self.tensor(
            f"{prefix}/labels", index
        )

    def tight(self, rtol: float, atol: float) -> tuple[float, float]:
        """Return the tolerances of this precision."""
        return (1e-9, 1e-11) if self.dtype == torch.float64 else (rtol, atol)

    def gradients(self, prefix: str, named: dict[str, nn.Parameter]) -> Yielded:
        """Yield the keys of the gradients of a loss that has been taken back."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in named.values()]
        yield f"{prefix}/names", np.array(list(named)), 0, 0
        yield f"{prefix}/is_none", np.array([p.grad is None for p in named.values()]), 0, 0
        nothing = torch.tensor([torch.nan if p.grad is None else 0.0 for p in named.values()])
        yield f"{prefix}/norm", torch.stack([g.norm() for g in grads]) + nothing, *self.tight(1e-4, 1e-7)
        yield f"{prefix}/sum", torch.stack([g.sum() for g in grads]) + nothing, *self.tight(1e-4, 1e-6)
        yield f"{prefix}/absmax", torch.stack([g.abs().max() for g in grads]) + nothing, *self.tight(1e-4, 1e-7)
        samples = [g.flatten()[np.linspace(0, g.numel() - 1, 8).astype(np.int64)] for g in grads]
        yield f"{prefix}/sample8", torch.stack(samples) + nothing[:, None], *self.tight(1e-4, 1e-7)


def _mfm_sizes(c: dict[str, Any]) -> MFMSizes:
    cfg, nets = c["cfg"], {"att1": "NN1", "att2": "NN2", "gamma1": "gamma1", "gamma2": "gamma2", "out": "out"}
    return MFMSizes(
        h=_by(cfg["h_dims"]), z={k: cfg[f"z{k}_size"] for k in FACTORS}, f={k: cfg[f"f{k}_size"] for k in FACTORS},
        memory=cfg["memsize"], hidden={k: c[n]["shapes"] for k, n in nets.items()},
        hidden_dropout=dict.fromkeys(nets, 0.0),
        factor_dropout=dict.fromkeys(FACTORS, 0.0), output_dropout=0.0,
    )  # fmt: skip


class _MFM(_File):
    def build(self) -> FactorizedModel:
        """Return the net with the variant's weights."""
        net = FactorizedModel(_by(self.settings["cfg"]["input_dims"]), _mfm_sizes(self.settings))
        net.load_state_dict(self.state())
        return net.to(self.dtype)

    def losses(
        self, net: FactorizedModel, x: dict[str, Tensor], y: Tensor, draws: dict[str, Tensor], weights: dict[str, float]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Return every loss by name, what lies between, and the prediction."""
        said, found = net(x, generate=True)
        terms = {f"mmd_{k}": maximum_mean_discrepancy(found[f"z{k}"], draws[k]) for k in (*MODALITIES, "y")}
        terms["mmd"] = torch.stack(list(terms.values())).sum()
        terms |= {f"gen_{m}": reconstruction(found[f"xhat_{m}"], x[m]) for m in MODALITIES}
        terms["gen"] = torch.stack([weights[f"x{m}"] * terms[f"gen_{m}"] for m in MODALITIES]).sum()
        terms["disc"] = (said[:, 0] - y).abs().mean()
        terms["total"] = terms["disc"] + terms["gen"] + weights["mmd"] * terms["mmd"]
        return terms, found, said

    def found(self) -> Yielded:
        """Yield every key of this variant and precision."""
        net, (x, y) = self.build(), self.clips("input")
        own = {k: self.settings["cfg"][f"lda_{k}"] for k in ("mmd", "xl", "xa", "xv")}
        draws = {k: self.tensor(f"draw/{k}") for k in FACTORS}
        terms, between, said = self.losses(net, x, y, draws, own)
        named = {"mfn/att1": "mfn/att1_fc2_pre", "mfn/att2": "mfn/att2_fc2_pre"}
        named |= {f"mfn/{g}": f"mfn/{g}_fc2_pre" for g in ("gamma1", "gamma2")}
        for name, value in between.items():
            yield f"res/{named.get(name, name)}", value, *self.tight(1e-6, 1e-6)
        yield "res/y_hat", said, *self.tight(0, 1e-6)
        for name, value in terms.items():
            yield f"loss/{name}", value, *self.tight(1e-6, 1e-6 if name.startswith("mmd") else 0)
        terms["total"].backward()
        yield from self.gradients("grad", dict(net.named_parameters()))
        mmsa = {"mmd": 100.0, "xl": 0.5, "xa": 0.01, "xv": 0.5}
        yield from self.trajectory("traj", own, 0.0)
        yield from self.trajectory("traj_mmsa", mmsa, 1e-3)

    def trajectory(self, name: str, weights: dict[str, float], decay: float) -> Yielded:
        """Yield the keys of ten batches."""
        net = self.build().train()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=decay)
        rows, norms = [], [[float(p.detach().norm()) for p in net.parameters()]]
        for i, batch in enumerate(self.reference["batch_index"]):
            net.zero_grad()
            x, y = self.clips("pool", batch)
            terms, _, _ = self.losses(net, x, y, {k: self.tensor(f"tdraw/{k}", i) for k in FACTORS}, weights)
            terms["total"].backward()
            rows.append([float(terms[n].detach()) for n in self.reference["loss_names"]])
            optimizer.step()
        norms.append([float(p.detach().norm()) for p in net.parameters()])
        yield f"{name}/loss", rows, *self.tight(1e-4, 1e-6)
        yield f"{name}/param_norm", norms, *self.tight(1e-5, 1e-7)
        with torch.no_grad():
            said, _ = net.eval()(self.clips("input")[0], generate=False)
        yield f"{name}/eval_after", said, *self.tight(0, 3e-6)


class _GraphMFN(_File):
    def build(self, *, train_nodes: bool = True) -> GraphMemoryFusion:
        """Return the net with the variant's weights."""
        c = self.settings
        maps = {k: (c[n]["shapes"], 0.0) for k, n in (("att2", "NNConfig"), ("gamma1", "gamma1Config"),
                                                       ("gamma2", "gamma2Config"), ("out", "outConfig"))}  # fmt: skip
        net = GraphMemoryFusion(_by(c["feature_dims"]), _by(c["hidden_dims"]), c["memsize"], c["inner_node_dim"], maps,
                                train_nodes=train_nodes)  # fmt: skip
        net.load_state_dict(self.state())
        return net.to(self.dtype)

    def named(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters in the reference's order: those its optimizer does not know come last."""
        parameters = dict(net.named_parameters())
        return {str(n): parameters[str(n)] for n in self.reference["grad/names"]}

    def found(self) -> Yielded:
        """Yield every key of this variant and precision."""
        net, (x, y) = self.build(), self.clips("input")
        said, between = net(x)
        named = {f"{m}_transform": f"{m}_transform_pre" for m in MODALITIES}
        named |= {"att2": "att2_fc2_pre", "both": "gamma_in", "last": "last_hs"}
        named |= {g: f"{g}_fc2_pre" for g in ("gamma1", "gamma2")}
        for name, value in between.items():
            yield f"res/{named.get(name, name)}", value, *self.tight(1e-6, 1e-6)
        yield "res/pred", said, *self.tight(0, 1e-6)
        loss = (said[:, 0] - y).abs().mean()
        yield "loss/l1", loss, *self.tight(1e-6, 0)
        loss.backward()
        yield from self.gradients("grad", self.named(net))
        yield from self.trajectory("traj", train_nodes=False)
        yield from self.trajectory("traj_fixed", train_nodes=True)
        if not self.variant and self.dtype == torch.float32:
            graph: FusionGraph = self.build().graph_mfn
            top, nodes = graph({m: self.tensor(f"dfg/in_{m}") for m in MODALITIES})
            for name, value in {**nodes, "tau": top}.items():
                yield f"dfg/{name}", value, 1e-6, 1e-6

    def trajectory(self, name: str, *, train_nodes: bool) -> Yielded:
        """Yield the keys of ten batches."""
        net = self.build(train_nodes=train_nodes).train()
        optimizer = torch.optim.Adam(
            [p for p in net.parameters() if p.requires_grad], lr=2e-3, weight_decay=1e-3
        )  # fmt: skip
        losses, norms = [], [[float(p.detach().norm()) for p in self.named(net).values()]]
        for batch in self.reference["batch_index"]:
            net.zero_grad()
            x, y = self.clips("pool", batch)
            loss = (net(x)[0][:, 0] - y).abs().mean()
            loss.backward()
            losses.append(float(loss.detach()))
            optimizer.step()
        norms.append([float(p.detach().norm()) for p in self.named(net).values()])
        yield f"{name}/loss", losses, *self.tight(1e-5, 0)
        yield f"{name}/param_norm", norms, *self.tight(1e-5, 1e-7)
        with torch.no_grad():
            said, _ = net.eval()(self.clips("input")[0])
        yield f"{name}/eval_after", said, *self.tight(0, 3e-6)


FILES: dict[str, Callable[[str, str, torch.dtype], Any]] = {"systems/mfm": _MFM, "systems/graph_mfn": _GraphMFN}


@cache
def computed(name: str) -> Computed:
    """Return every key of a file as we compute it, with its tolerances."""
    found: Computed = {}
    for variant in VARIANTS:
        for dtype in (torch.float32, torch.float64):
            for key, value, rtol, atol in FILES[name](name, variant, dtype).found():
                ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
                head, _, rest = key.partition("/")
                if dtype == torch.float64:
                    key = f"{head}64/{rest}" if head in ("res", "loss") else f"{key}64"
                found[f"{variant}{key}"] = (ours, rtol, atol)
    return found
