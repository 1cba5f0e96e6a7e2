"""RAVEN beside the reference's arrays: outputs, what lies between, losses, gradients, ten batches; all protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmd_repro.systems.raven.net import Shifted, Windows
from parity.loading import Computed, arrays, state

FILES = ("systems/raven",)
NOT_COMPARED = {
    "state/*": "given to both implementations",
    "pert/*": "given to both implementations",
    "pool/*": "given to both implementations",
    "pool_w1/*": "given to both implementations",
    "input/index": "given to both implementations",
    "traj/batch_index": "given to both implementations",
    "config_json": "a note on what computed the file",
    "v2018/*": "the first public version, whose LSTMs ran through the words of all clips; mended by its authors",
}
PROTOCOLS = {  # prefix -> attached, the paper's equations
    "": (False, False), "attached/": (True, False), "paper/": (True, True),
}  # fmt: skip
NAMES = {
    "covarep_normed": "normed", "gate_in_a": "gate_in_a", "gate_in_v": "gate_in_v", "gate_a": "gate_a",
    "gate_v": "gate_v", "addon_in": "joined", "addon_raw": "shift", "h_m": "shift", "alpha": "alpha",
    "shifted_words": "shifted", "lstm_out": "states", "last_state": "last",
}  # fmt: skip


class _Run:
    """One variant, protocol and number of windows in one precision."""

    def __init__(self, variant: str, protocol: str, dtype: torch.dtype, *, one_window: bool) -> None:
        self.reference, self.variant, self.dtype = arrays(FILES[0]), variant, dtype
        self.attached, self.paper = PROTOCOLS[protocol]
        self.pool = "pool_w1" if one_window else "pool"
        self.settings = json.loads(str(self.reference["config_json"]))

    def build(self) -> Shifted:
        """Return the net with the variant's weights."""
        c = self.settings
        net = Shifted(
            {"l": c["wordDim"], "a": c["covarepDim"], "v": c["facetDim"]}, c["padding_len"], norm=c["normDim"],
            cell=c["cellDim"], hidden=c["hiddenDim"], dropout=0.0, scale=c["shift_weight"], sigmoid=self.paper,
            capped=self.paper, attached=self.attached,
        )  # fmt: skip
        net.load_state_dict({k: torch.from_numpy(x) for k, x in state(self.reference, self.variant).items()})
        return net.to(self.dtype)

    def run(self, net: Shifted, index: np.ndarray) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return predictions, the squared error and what lies between, of some clips of the pool."""

        def take(name: str, pool: str = "pool") -> Tensor:
            x = torch.from_numpy(self.reference[f"{pool}/{name}"][index])
            return x.to(self.dtype) if x.is_floating_point() else x

        a, v = (Windows(take(n, self.pool), take(f"{n}_len", self.pool)) for n in ("covarep", "facet"))
        said, between = net(take("words"), a, v, take("lengths"))
        return said[:, 0], (said[:, 0] - take("labels")).square().mean(), between

    def found(self) -> Iterator[tuple[str, Any, float, float]]:
        """Yield (key without prefix and precision, ours, relative and absolute tolerance)."""
        fine = self.dtype == torch.float64
        tight = (lambda r, a: (1e-9, 1e-10)) if fine else (lambda r, a: (r, a))
        net, index = self.build(), self.reference["input/index"]
        said, loss, between = self.run(net, index)
        loss.backward()
        yield "res/output", said, *tight(0, 1e-5)
        for theirs, ours in NAMES.items():
            value = between[ours].detach()
            flat = theirs not in ("covarep_normed", "shifted_words", "lstm_out", "last_state")
            yield f"res/{theirs}", value.flatten(0, 1) if flat else value, *tight(0, 1e-5)
        yield "loss/mse", loss, *tight(1e-5, 0)
        gradients = {n: p.grad for n, p in net.named_parameters()}
        yield "grad/names", np.array(list(gradients)), 0, 0
        yield "grad/is_none", np.array([g is None for g in gradients.values()]), 0, 0
        nan = torch.full((1,), torch.nan, dtype=self.dtype)
        flat_grads = [nan if g is None else g.flatten() for g in gradients.values()]
        yield "grad/norm", [float(g.norm()) for g in flat_grads], *tight(1e-4, 1e-6)
        yield "grad/sum", [float(g.sum()) for g in flat_grads], *tight(1e-4, 2e-5)
        yield "grad/absmax", [float(g.abs().max()) for g in flat_grads], *tight(1e-4, 1e-6)
        places = [np.linspace(0, len(g) - 1, 8).astype(np.int64) for g in flat_grads]
        yield "grad/sample8", torch.stack([g[i] for g, i in zip(flat_grads, places, strict=True)]), *tight(1e-4, 2e-6)
        yield from ((f"traj/{k}", v, *tight(*t)) for k, v, *t in self.trajectory())

    def trajectory(self) -> Iterator[tuple[str, Any, float, float]]:
        """Yield the keys of ten batches of training."""
        net = self.build()
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
        losses = []
        for index in self.reference["traj/batch_index"]:
            net.zero_grad()
            _, loss, _ = self.run(net, index)
            loss.backward()
            losses.append(float(loss.detach()))
            optimizer.step()
        yield "loss", losses, 1e-5, 0
        yield "param_norm_final", [float(p.detach().norm()) for p in net.parameters()], 1e-4, 1e-6
        yield "eval_after", self.run(net, self.reference["input/index"])[0], 0, 1e-5


@cache
def computed(name: str) -> Computed:
    """Return every key of the file as we compute it, with its tolerances."""
    found: Computed = {}
    for variant in ("", "p/"):
        for protocol in PROTOCOLS:
            for one_window in (False, True):
                prefix = protocol if not one_window else protocol[:-1] + "_w1/" if protocol else "w1/"
                for dtype in (torch.float32, torch.float64):
                    for key, value, rtol, atol in _Run(variant, protocol, dtype, one_window=one_window).found():
                        ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
                        found[f"{variant}{prefix}{_named(key, dtype)}"] = (ours, rtol, atol)
    shapes = []
    for line in arrays(name)["param_shapes_real"]:
        tag = str(line).split()[0]
        if shapes and shapes[-1].startswith(f"{tag} "):
            continue
        a, v = (int(n) for n in tag.split("_")[-2:])
        net = Shifted({"l": 300, "a": a, "v": v}, 50, norm=150, cell=150, hidden=300, dropout=0.0, scale=0.2,
                      sigmoid=False, capped=False, attached=False)  # fmt: skip
        shapes += [f"{tag} {n} {tuple(p.shape)}" for n, p in net.named_parameters()]
    found["param_shapes_real"] = (np.array(shapes), 0, 0)
    return found


def _named(key: str, dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return key
    head, _, rest = key.partition("/")
    return f"{head}64/{rest}" if head in ("res", "loss") else f"{key}64"
