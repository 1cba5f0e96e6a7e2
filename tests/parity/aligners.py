"""MulT's CTC module and average pooling beside the reference's arrays, alone and in front of EF-LSTM."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmd_repro.nn.align import CTCAligner, ctc_cost, pool_to
from dmd_repro.systems.ef_lstm.net import EarlyFusion
from parity.loading import VARIANTS, Computed, arrays

_GIVEN = "given to both implementations"
NOT_COMPARED = {
    "*state/*": _GIVEN, "*pert/*": _GIVEN, "*/input": _GIVEN, "*/left_pad": _GIVEN, "ef/input/*": _GIVEN,
    "ef/pool/*": _GIVEN, "ef/batch_index": _GIVEN, "input/*": _GIVEN, "gout": _GIVEN,
    "*warpctc_grad_norm": "warp-ctc's own gradients, which are less exact than torch's",
    "avgpool/*/mmsa_v1/*": "the pooling of an older release, a fault since mended: not offered",
    "info_json": "a note on the measured rounding",
    **{f"avgpool/{size}/{kind}": _GIVEN for kind in ("audio", "vision")
       for size in ("375to50", "500to50", "55to50", "13to5", "10to5", "17_12", "18_9")},
}  # fmt: skip
Yielded = Iterator[tuple[str, Any, float, float]]
SINGLE = ("small", "audio_mosi", "vision_mosi")


def _tight(dtype: torch.dtype, rtol: float, atol: float) -> tuple[float, float]:
    return (1e-9, 1e-10) if dtype == torch.float64 else (rtol, atol)


def _state(reference: dict[str, np.ndarray], at: str, variant: str, dtype: torch.dtype) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for prefix in (f"{at}state/", *([f"{at}pert/"] if variant else [])):
        found |= {k[len(prefix) :]: torch.as_tensor(v).to(dtype) for k, v in reference.items() if k.startswith(prefix)}
    return found


def _aligner(state: dict[str, Tensor], dtype: torch.dtype, prefix: str = "") -> CTCAligner:
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    weight = own["pred_output_position_inclu_blank.weight_ih_l0"]
    module = CTCAligner(weight.shape[1], weight.shape[0] // 4 - 1).to(dtype)
    module.load_state_dict(own)
    return module


def _norms(module: nn.Module) -> Tensor:
    return torch.stack([torch.zeros(()) if p.grad is None else p.grad.norm() for p in module.parameters()])


def _single(reference: dict[str, np.ndarray], at: str, variant: str, dtype: torch.dtype) -> Yielded:
    module = _aligner(_state(reference, f"{at}/", variant, dtype), dtype)
    x = torch.as_tensor(reference[f"{at}/input"]).to(dtype).requires_grad_()
    aligned, scores = module(x)
    each = torch.stack([ctc_cost(scores[i : i + 1]) for i in range(len(scores))])
    total = ctc_cost(scores)
    total.backward()
    head = f"{at}/{variant}"
    fine = dtype == torch.float64
    yield f"{head}aligned", aligned, *_tight(dtype, 1e-5, 2e-6)
    yield f"{head}ctc_each", each, *_tight(dtype, 1e-5, 0)
    yield f"{head}ctc_sum", total, *_tight(dtype, 1e-5, 0)
    if not fine:
        yield f"{head}warpctc_each", each, 1e-5, 0
        yield f"{head}logits_every25", scores[:, ::25], 1e-5, 2e-6
    yield f"{head}logits", scores, *_tight(dtype, 1e-5, 2e-6)
    yield f"{head}grad_input_norm", x.grad.norm(), *_tight(dtype, 2e-4, 0)
    if not variant:
        yield f"{at}/grad/names", np.array([n for n, _ in module.named_parameters()]), 0, 0
    yield f"{head}grad/norm", _norms(module), *_tight(dtype, 2e-4, 1e-6)


class _WithEarlyFusion(nn.Module):
    """The two aligners in front of MFN's net, under the reference's names."""

    def __init__(self, state: dict[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        width = state["model.lstm.weight_ih"].shape[1]
        self.model = EarlyFusion(width, state["model.fc1.weight"].shape[0], 0.0)
        self.a2l, self.v2l = _aligner(state, dtype, "a2l."), _aligner(state, dtype, "v2l.")
        self.to(dtype).load_state_dict(state)

    def forward(self, x: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the prediction, the aligned modalities and the two costs."""
        (a, scores_a), (v, scores_v) = self.a2l(x["audio"]), self.v2l(x["vision"])
        said, _ = self.model(torch.cat([x["text"], a, v], dim=2))
        return said, a, v, ctc_cost(scores_a), ctc_cost(scores_v)


def _early_fusion(reference: dict[str, np.ndarray], variant: str, dtype: torch.dtype) -> Yielded:
    state = _state(reference, "ef/", variant, dtype)

    def clips(prefix: str, index: Any = slice(None)) -> dict[str, Tensor]:
        names = ("text", "audio", "vision", "labels")
        return {n: torch.as_tensor(reference[f"ef/{prefix}/{n}"][index]).to(dtype) for n in names}

    net, x = _WithEarlyFusion(state, dtype), clips("input")
    said, a, v, cost_a, cost_v = net(x)
    l1 = (said[:, 0] - x["labels"]).abs().mean()
    head = f"ef/{variant}"
    for key, value in (("out/pred", said), ("mid/audio_aligned", a), ("mid/vision_aligned", v)):
        yield f"{head}{key}", value, *_tight(dtype, 1e-5, 2e-6)
    for key, value in (("l1", l1), ("ctc_a", cost_a), ("ctc_v", cost_v), ("combined", l1 + cost_a + cost_v)):
        yield f"{head}loss/{key}", value, *_tight(dtype, 1e-5, 0)
    if not variant:
        yield "ef/grad/names", np.array([n for n, _ in net.named_parameters()]), 0, 0
    l1.backward(retain_graph=True)
    yield f"{head}grad/norm_l1_only", _norms(net), *_tight(dtype, 2e-4, 1e-7)
    (cost_a + cost_v).backward()
    yield f"{head}grad/norm", _norms(net), *_tight(dtype, 2e-4, 1e-6)

    net = _WithEarlyFusion(state, dtype)
    parts = (net.model, net.a2l, net.v2l)
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in parts]
    terms, norms = [], []
    for batch in reference["ef/batch_index"]:
        net.zero_grad()
        x = clips("pool", batch)
        said, _, _, cost_a, cost_v = net(x)
        losses = torch.stack([(said[:, 0] - x["labels"]).abs().mean(), cost_a, cost_v])
        losses.sum().backward()
        terms.append(losses.tolist())
        norms.append([float(nn.utils.clip_grad_norm_(part.parameters(), 0.8)) for part in parts])
        for optimizer in optimizers:
            optimizer.step()
    yield f"{head}traj/terms", terms, *_tight(dtype, 2e-5, 0)
    yield f"{head}traj/norm_before_clip_model_a_v", norms, *_tight(dtype, 1e-3, 1e-6)
    yield (
        f"{head}traj/param_norm_after",
        [float(p.detach().norm()) for p in net.parameters()],
        *_tight(dtype, 1e-4, 1e-6),
    )
    yield f"{head}traj/eval_after", net(clips("input"))[0], *_tight(dtype, 0, 1e-5)


def _pooling(reference: dict[str, np.ndarray]) -> Yielded:
    for key in reference:
        kind = key.rpartition("/")[2]
        if key.startswith("avgpool/") and "/mmsa/" in key:  # avgpool/375to50/mmsa/audio
            size = key.split("/")[1]
            x = torch.as_tensor(reference[f"avgpool/{size}/{kind}"]).float()
            yield key, pool_to(x, int(size.partition("to")[2])), 0, 1e-6
        if key.startswith("avgpool/") and kind.endswith("_out"):  # avgpool/17_12/audio_out
            x = torch.as_tensor(reference[key.removesuffix("_out")]).float()
            yield key, pool_to(x, reference[key].shape[1]), 0, 1e-6


def _units(reference: dict[str, np.ndarray], variant: str, dtype: torch.dtype) -> Yielded:
    for cost in ("grad_ctc", "grad_out"):
        module = _aligner(_state(reference, "", variant, dtype), dtype)
        aligned, scores = module(torch.as_tensor(reference["input/x"]).to(dtype))
        if cost == "grad_ctc":
            total = ctc_cost(scores)
            yield f"{variant}res/aligned", aligned, *_tight(dtype, 1e-5, 1e-6)
            yield f"{variant}res/logits", scores, *_tight(dtype, 1e-5, 1e-6)
            yield f"{variant}loss/ctc_sum", total, *_tight(dtype, 1e-6, 0)
        else:
            total = (aligned * torch.as_tensor(reference["gout"]).to(dtype)).sum()
        total.backward()
        grads = [p.grad for p in module.parameters()]
        if dtype == torch.float32:
            yield f"{variant}{cost}/names", np.array([n for n, _ in module.named_parameters()]), 0, 0
            yield f"{variant}{cost}/is_none", np.array([g is None for g in grads]), 0, 0
            yield f"{variant}{cost}/sum", torch.stack([g.sum() for g in grads]), 1e-4, 1e-4
            yield f"{variant}{cost}/absmax", torch.stack([g.abs().max() for g in grads]), 1e-4, 1e-6
            picked = [g.flatten()[np.linspace(0, g.numel() - 1, 8).astype(np.int64)] for g in grads]
            yield f"{variant}{cost}/sample8", torch.stack(picked), 1e-4, 2e-5
        yield f"{variant}{cost}/norm", _norms(module), *_tight(dtype, 1e-4, 1e-7)


def _all(name: str, variant: str, dtype: torch.dtype) -> Yielded:
    reference = arrays(name)
    if name.endswith("ctc_units"):
        yield from _units(reference, variant, dtype)
    else:
        for at in SINGLE:
            yield from _single(reference, at, variant, dtype)
        yield from _early_fusion(reference, variant, dtype)
    if not variant and dtype == torch.float32:
        yield from _pooling(reference)


@cache
def computed(name: str) -> Computed:
    """Return every key of a file as we compute it, with its tolerances."""
    found: Computed = {}
    for variant in VARIANTS:
        for dtype in (torch.float32, torch.float64):
            for key, value, rtol, atol in _all(name, variant, dtype):
                ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
                if dtype == torch.float64:
                    wide = f"{key}64"
                    if name.endswith("ctc_units"):
                        wide = key.replace("res/", "res64/").replace("loss/", "loss64/") if "grad" not in key else wide
                    found[wide] = (ours, rtol, atol)
                else:
                    found[key] = (ours, rtol, atol)
    return found
