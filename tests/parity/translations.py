"""MCTN beside the arrays of its authors' Keras code: outputs, losses, gradients, ten batches, both recurrent cells."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.mctn.net import CyclicTranslation
from dmd_repro.training.optimizers import make_optimizer
from parity.loading import Computed, arrays

FILES = ("systems/mctn",)
_GIVEN = "given to both implementations"
NOT_COMPARED = {
    **{f"{name}/*": _GIVEN for name in ("state", "pert", "input", "pool")}, "batch_index": _GIVEN,
    "config_json": "a note on what computed the file",
    "loss_names": "the columns of traj/loss, read here to order ours",
}  # fmt: skip
INPUTS = {"l": "text", "a": "audio", "v": "vision"}
NOISE = ("dec1.W3.bias", "dec2.W3.bias", "reg.att.bias")  # gradients of 1e-8 and less, of which Adam makes steps
BETWEEN = (
    "encoded", "decoded", "cycled_encoded", "cycled_decoded", "encoded2", "decoded2", "reg_activations",
    "reg_attention", "reg_sent",
)  # fmt: skip


class _Run:
    """The file in one variant, cell and precision."""

    def __init__(self, variant: str, old: bool, dtype: torch.dtype) -> None:
        self.reference, self.variant, self.old, self.dtype = arrays(FILES[0]), variant, old, dtype
        self.settings = json.loads(str(self.reference["config_json"]))

    def tensor(self, key: str, index: Any = slice(None)) -> Tensor:
        """Return an array, or some rows of it."""
        return torch.as_tensor(self.reference[key][index]).to(self.dtype)

    def clips(self, prefix: str, index: Any = slice(None)) -> tuple[dict[str, Tensor], Tensor]:
        """Return l, a, v -> (B, T, D) and the labels (B,)."""
        x = {m: self.tensor(f"{prefix}/{n}", index) for m, n in INPUTS.items()}
        return x, self.tensor(f"{prefix}/labels", index)

    def build(self) -> tuple[CyclicTranslation, dict[str, nn.Parameter]]:
        """Return the net with the variant's weights, and its parameters in the reference's order."""
        c = self.settings["cfg"]
        net = CyclicTranslation(
            self.settings["D"], c["translation1"]["hidden_dim"], c["translation2"]["hidden_dim"],
            c["regression"]["reg_hidden_dim"], old_cell=self.old, static=True, shared_gate=True,
        )  # fmt: skip
        found: dict[str, Tensor] = {}
        for prefix in ("state/", *(["pert/"] if self.variant else [])):
            found |= {k[len(prefix) :]: self.tensor(k) for k in self.reference if k.startswith(prefix)}
        net.to(self.dtype).load_state_dict(found)
        named = dict(net.named_parameters())
        return net, {str(n): named[str(n)] for n in self.reference["grad/names"]}

    def losses(self, net: CyclicTranslation, x: dict[str, Tensor], y: Tensor) -> tuple[dict[str, Tensor], Any, Tensor]:
        """Return every loss by the reference's name, what lies between, and the score."""
        score, found = net(x["l"], translate=True)
        terms = net.terms(found, x)
        terms["l2"] = 0.01 * terms["l2"]
        terms["reg"] = (score[:, 0] - y).abs().mean()
        terms["total"] = 0.1 * (terms["trans1"] + terms["cycle"] + terms["trans2"]) + terms["reg"] + terms["l2"]
        return terms, found, score

    def found(self) -> Computed:
        """Return every key of this variant, cell and precision."""
        wide = self.dtype == torch.float64
        out: Computed = {}

        def note(key: str, value: Any, rtol: float, atol: Any) -> None:
            ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
            out[key] = (ours, *((1e-9, 1e-11) if wide else (rtol, atol)))

        net, named = self.build()
        x, y = self.clips("input")
        terms, between, score = self.losses(net, x, y)
        end = "64" if wide else ""
        for name, value in {**{n: between[n] for n in BETWEEN}, "score": score}.items():
            note(f"res{end}/{name}", value, 0, 1e-6)
        for name, value in terms.items():
            note(f"loss{end}/{name}", value, 1e-6, 1e-9)
        if wide and not self.old:
            for name in ("alpha_dec1", "alpha_dec1_cycle", "alpha_dec2"):
                note(f"derived/{name}", between[name], 0, 0)
        terms["total"].backward()
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in named.values()]
        note(f"grad/norm{end}", torch.stack([g.norm() for g in grads]), 1e-4, 1e-8)
        if not wide:
            note("grad/names", np.array(list(named)), 0, 0)
            note("grad/sum", torch.stack([g.sum() for g in grads]), 1e-4, 1e-6)
            note("grad/absmax", torch.stack([g.abs().max() for g in grads]), 1e-4, 1e-8)
            samples = [g.flatten()[np.linspace(0, g.numel() - 1, 8).astype(np.int64)] for g in grads]
            note("grad/sample8", torch.stack(samples), 1e-4, 1e-7)
        rates = {"traj": 1e-4} if self.old or self.variant else {"traj": 1e-4, "traj_lr1e-2": 1e-2}
        for name, rate in rates.items():
            self.trajectory(name, rate, end, note)
        return out

    def trajectory(self, name: str, rate: float, end: str, note: Any) -> None:
        """Note the keys of ten batches."""
        net, named = self.build()
        config = TrainConfig(optimizer="adam_keras", learning_rate=rate, adam_eps=1e-7)
        optimizer = make_optimizer([{"params": list(net.parameters())}], config, captured=False, on_gpu=False)
        rows, norms = [], [[float(p.detach().norm()) for p in named.values()]]
        for batch in self.reference["batch_index"]:
            net.zero_grad()
            terms, _, _ = self.losses(net, *self.clips("pool", batch))
            terms["total"].backward()
            rows.append([float(terms[str(n)].detach()) for n in self.reference["loss_names"]])
            optimizer.step()
        norms.append([float(p.detach().norm()) for p in named.values()])
        high = 100 if rate > 1e-3 else 1
        note(f"{name}/loss{end}", rows, 1e-5, 1e-8)
        loose = np.array([1e-2 * rate if n in NOISE else 2e-7 for n in named])  # of a step or so of noise
        note(f"{name}/param_norm{end}", norms, 1e-5, loose)
        with torch.no_grad():
            note(f"{name}/eval_after{end}", net(self.clips("input")[0]["l"], translate=False)[0], 0, 1e-6 * high)


@cache
def computed(name: str) -> Computed:
    """Return every key of a file as we compute it, with its tolerances."""
    assert name == FILES[0]
    found: Computed = {}
    for cell in ("", "oldcell/"):
        for variant in ("", "p/"):
            for dtype in (torch.float32, torch.float64):
                run = _Run(variant, bool(cell), dtype)
                found |= {f"{cell}{variant}{key}": value for key, value in run.found().items()}
    return found
