"""EF-LSTM, LF-LSTM, TFN and LMF beside the reference's arrays: outputs, intermediates, losses, gradients, ten batches.

Both precisions and every variant a file has: the initial weights, p/ (constant tensors replaced) and t/ (after a quick
training, where predictions spread over the label range).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.nn.pooling import mean_of_steps
from dmd_repro.systems.ef_lstm.net import EarlyFusion, EarlyFusionMMSA
from dmd_repro.systems.lf_lstm.net import LateFusion
from dmd_repro.systems.lmf.net import LowRankFusion
from dmd_repro.systems.tfn.net import TensorFusion
from parity.loading import Computed, arrays

NOT_COMPARED = {
    "state/*": "given to both implementations",
    "pert/*": "given to both implementations",
    "tstate/*": "given to both implementations",
    "input/*": "given to both implementations; the pooled vectors are compared as pool_check",
    "pool/*": "given to both implementations",
    "batch_index": "given to both implementations",
    "config_json": "a note on what computed the file",
    "noise_json": "a note on the measured rounding",
}
NO_RATES = {"a": 0.0, "v": 0.0, "l": 0.0, "post": 0.0}
Settings = dict[str, Any]


class Case(NamedTuple):
    """How a file's net is built, fed, scored and trained."""

    net: Callable[[Settings], nn.Module]
    forward: Callable[[nn.Module, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
    summed: bool  # the loss is summed over the batch, not averaged
    trajectories: dict[str, Callable[[nn.Module], torch.optim.Optimizer]]
    clip: float | None = None  # of the gradient's L2 norm


def _early(net: nn.Module, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    said, between = net(torch.cat([x["text"], x["audio"], x["vision"]], dim=2))
    if isinstance(net, EarlyFusion):
        return said, {"hx": between["hidden"], "cx": between["cell"]}
    return said, {"lstm.out": between["states"], "lstm.h": between["hidden"], "lstm.c": between["cell"]}


def _late(net: nn.Module, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    said, between = net({"l": x["text"], "a": x["audio"], "v": x["vision"]})
    return said, {"h_cat": between["hidden"]}


def _pooled(net: nn.Module, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    said, between = net(x["text"], x["audio"].squeeze(1), x["vision"].squeeze(1))
    named = {"a": "Feature_a", "v": "Feature_v", "l": "Feature_t", "fused": "Feature_f"}
    out = {key: between[ours] for ours, key in named.items()}
    if isinstance(net, LowRankFusion):  # the reference lists the products rank first
        out["Feature_f"] = between["fused"]
    return said, out


def _adam(lr: float, decay: float = 0.0, *, skip: tuple[str, ...] = ()) -> Callable[[nn.Module], torch.optim.Optimizer]:
    def make(net: nn.Module) -> torch.optim.Optimizer:
        kept = [p for n, p in net.named_parameters() if n not in skip]
        return torch.optim.Adam(kept, lr=lr, weight_decay=decay)

    return make


def _two_groups(
    factor: float, rest: float, decay: float, skip: tuple[str, ...] = ()
) -> Callable[[nn.Module], torch.optim.Optimizer]:
    def make(net: nn.Module) -> torch.optim.Optimizer:
        named = [(n, p) for n, p in net.named_parameters() if n not in skip]
        groups = [
            {"params": [p for n, p in named if n.endswith("_factor")], "lr": factor},
            {"params": [p for n, p in named if not n.endswith("_factor")], "lr": rest},
        ]
        return torch.optim.Adam(groups, weight_decay=decay)

    return make


def _by_modality(values: list[int], order: str) -> dict[str, int]:
    return dict(zip(order, values, strict=True))


FROZEN, UNTRAINED = ("output_range", "output_shift"), ("fusion_weights", "fusion_bias")
CASES: dict[str, Case] = {
    "EF_LSTM_mfn_small": Case(
        lambda c: EarlyFusion(sum(c["dims_lav"]), c["h"], 0.0), _early, False, {"traj": _adam(1e-2)}
    ),
    "EF_LSTM_mmsa_small": Case(
        lambda c: EarlyFusionMMSA(sum(c["dims_lav"]), c["T"], c["hidden"], c["num_layers"], 0.0),
        _early, False, {"traj": _adam(1e-3, 0.005)},
    ),
    "LF_LSTM_unaligned_small": Case(
        lambda c: LateFusion(_by_modality(c["dims_lav"], "lav"), _by_modality(c["hidden_lav"], "lav"), c["mid"], 0.0),
        _late, False, {"traj": _adam(1e-3)}, clip=0.8,
    ),
    "TFN_justin_small": Case(
        lambda c: TensorFusion(_by_modality(c["input_dims_avt"], "avl"), _by_modality(c["hidden_avt"], "avl"),
                               c["text_out"], c["post_fusion_dim"], NO_RATES),
        _pooled, True, {"traj": _adam(1e-3, skip=FROZEN)},
    ),
    "TFN_mmsa_small": Case(
        lambda c: TensorFusion(_by_modality(c["dims_lav"], "lav"), _by_modality(c["args"]["hidden_dims"], "lav"),
                               c["args"]["text_out"], c["args"]["post_fusion_dim"], NO_RATES),
        _pooled, False, {"traj": _adam(1e-3, skip=FROZEN)},
    ),
    "LMF_justin_small": Case(
        lambda c: LowRankFusion(_by_modality(c["input_dims_avt"], "avl"), _by_modality(c["hidden_avt"], "avl"),
                                c["text_out"], c["rank"], NO_RATES),
        _pooled, True,
        {"traj": _two_groups(5e-4, 1e-3, 0.002), "traj_pre2020": _two_groups(5e-4, 1e-3, 0.002, UNTRAINED)},
    ),
    "LMF_mmsa_small": Case(
        lambda c: LowRankFusion(_by_modality(c["dims_lav"], "lav"), _by_modality(c["args"]["hidden_dims"], "lav"),
                                c["args"]["hidden_dims"][0] // 2, c["args"]["rank"], NO_RATES),
        _pooled, False,
        {"traj": _two_groups(5e-4, 2e-3, 0.005, UNTRAINED), "traj_all": _two_groups(5e-4, 2e-3, 0.005)},
    ),
}  # fmt: skip


def _watched(net: nn.Module) -> dict[str, Tensor]:
    """Return a dict that each forward pass fills with every submodule's output, by the reference's names."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, out: Any) -> None:
            if isinstance(module, nn.LSTM):
                seen.update({f"{name}.out": out[0], f"{name}.h": out[1][0], f"{name}.c": out[1][1]})
            else:
                seen[name] = out

        return hook

    for name, module in net.named_modules():
        if isinstance(module, (nn.Linear, nn.LSTM, nn.BatchNorm1d)):
            module.register_forward_hook(keep(name))
    return seen


def _state(reference: dict[str, np.ndarray], variant: str) -> dict[str, np.ndarray]:
    prefixes = {"": ("state/",), "p/": ("state/", "pert/"), "t/": ("state/", "tstate/")}[variant]
    return {k[len(p) :]: x for p in prefixes for k, x in reference.items() if k.startswith(p)}


class _Run:
    """One variant in one precision."""

    def __init__(self, name: str, variant: str, dtype: torch.dtype) -> None:
        self.reference, self.case, self.dtype, self.variant = (
            arrays(name),
            CASES[name.removeprefix("systems/")],
            dtype,
            variant,
        )
        self.settings = json.loads(str(self.reference["config_json"]))

    def tensors(self, prefix: str, index: np.ndarray | None = None) -> dict[str, Tensor]:
        """Return the inputs or the pool, or some clips of it."""
        names = ("text", "audio", "vision", "labels")
        picked = {n: self.reference[f"{prefix}/{n}"] for n in names}
        return {n: torch.as_tensor(x if index is None else x[index]).to(self.dtype) for n, x in picked.items()}

    def build(self) -> nn.Module:
        """Return the net with the variant's weights and buffers."""
        net = self.case.net(self.settings)
        state = {k: torch.as_tensor(x) for k, x in _state(self.reference, self.variant).items()}
        net.load_state_dict(state)
        return net.to(self.dtype)

    def loss(self, net: nn.Module, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return predictions and the training loss."""
        said, _ = self.case.forward(net, x)
        errors = (said[:, 0] - x["labels"]).abs()
        return said, errors.sum() if self.case.summed else errors.mean()

    def found(self) -> Iterator[tuple[str, Any, float, float]]:
        """Yield (key without variant and precision, ours, relative and absolute tolerance)."""
        fine = self.dtype == torch.float64
        tight = (lambda r, a: (1e-9, 1e-11)) if fine else (lambda r, a: (r, a))
        x = self.tensors("input")
        net = self.build().eval()
        seen = _watched(net)
        with torch.no_grad():
            said, between = self.case.forward(net, x)
        yield "out/pred", said, *tight(0, 3e-6 if self.variant == "t/" else 1e-6)
        for name, value in {**seen, **between}.items():
            yield f"mid/{name}", value, *tight(0, 5e-6)
        yield "loss/eval_l1_mean", (said[:, 0] - x["labels"]).abs().mean(), *tight(1e-6, 0)

        net = self.build().train()
        said, loss = self.loss(net, x)
        loss.backward()
        yield "train/pred", said, *tight(0, 3e-6)
        yield "loss/train", loss, *tight(1e-6, 0)
        for name, buffer in net.named_buffers():
            yield f"buf_after/{name}", buffer, *tight(1e-6, 1e-6)
        gradients = {n: p.grad for n, p in net.named_parameters()}
        yield "grad/names", np.array(list(gradients)), 0, 0
        if not fine and not self.variant:
            yield "param_shapes", np.array([str(tuple(p.shape)) for p in net.parameters()]), 0, 0
        yield "grad/is_none", np.array([g is None for g in gradients.values()]), 0, 0
        nan = torch.full((8,), torch.nan, dtype=self.dtype)
        flat = [nan[:1] * torch.nan if g is None else g.flatten() for g in gradients.values()]
        yield "grad/norm", [float(g.norm()) for g in flat], *tight(1e-4, 1e-6)
        yield "grad/sum", [float(g.sum()) for g in flat], *tight(1e-4, 2e-5)
        yield "grad/absmax", [float(g.abs().max()) for g in flat], *tight(1e-4, 1e-6)
        places = [np.linspace(0, len(g) - 1, 8).astype(np.int64) for g in flat]
        yield "grad/sample8", torch.stack([g[i] for g, i in zip(flat, places, strict=True)]), *tight(1e-4, 2e-6)
        for name, make in self.case.trajectories.items():
            for key, value, *tolerance in self.trajectory(name, make):
                yield key, value, *tight(*tolerance)

    def trajectory(
        self, name: str, make: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> Iterator[tuple[str, Any, float, float]]:
        """Yield the keys of ten batches of training."""
        net = self.build().train()
        optimizer = make(net)
        losses, norms = [], []
        for batch in self.reference["batch_index"]:
            net.zero_grad()
            _, loss = self.loss(net, self.tensors("pool", batch))
            loss.backward()
            losses.append(float(loss.detach()))
            norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), self.case.clip or float("inf"))))
            optimizer.step()
        sharp = 1e-5 if self.variant else 2e-4  # base: Adam on gradients near zero
        yield f"{name}/loss", losses, sharp, 0
        yield f"{name}/grad_norm_before_clip", norms, 1e-3 if self.variant else 5e-3, 1e-6
        yield f"{name}/param_norm_after", [float(p.detach().norm()) for p in net.parameters()], 1e-4, 1e-6
        net.eval()
        with torch.no_grad():
            said, _ = self.case.forward(net, self.tensors("input"))
        yield f"{name}/eval_after", said, 0, 5e-6 if self.variant else 1e-3
        for key, buffer in net.named_buffers():
            yield f"{name}/buf_after/{key}", buffer, 1e-5, 1e-5


@cache
def computed(name: str) -> Computed:
    """Return every key of a file as we compute it, with its tolerances."""
    found: Computed = {}
    variants = ["", "p/"] + (["t/"] if any(k.startswith("t/") for k in arrays(name)) else [])
    for variant in variants:
        for dtype in (torch.float32, torch.float64):
            for key, value, rtol, atol in _Run(name, variant, dtype).found():
                ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
                found[f"{variant}{_named(key, dtype)}"] = (ours, rtol, atol)
    return {k: v for k, v in found.items() if k in arrays(name)} | _pool(name)


def _named(key: str, dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return key
    head, _, rest = key.partition("/")
    return f"{key}64" if head == "grad" else f"{head}64/{rest}"


def _pool(name: str) -> Computed:
    """Compare the pooled vectors with what our pooling makes of the sequences."""
    reference = arrays(name)
    if "input/audio_seq" not in reference:
        return {}
    found: Computed = {}
    for kind in ("audio", "vision"):
        x = torch.as_tensor(reference[f"input/{kind}_seq"]).float()
        if "input/visual_max" in reference and kind == "vision":
            x = x / torch.as_tensor(reference["input/visual_max"]).float()
        dtype = torch.float64 if "input/visual_max" in reference else torch.float32
        found[f"input/{kind}"] = (mean_of_steps(x, dtype).numpy().reshape(reference[f"input/{kind}"].shape), 0, 1e-7)
    return found
