"""Files A and C: the whole model on six clips: outputs, losses, edges, gradients, in float32 and float64."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import torch

from dmd_repro.nn.layers import named_slices
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.dmd.config import PRESETS, DMDConfig
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.edges import EDGES
from dmd_repro.systems.graph import edge_prior
from parity.loading import DEVICE, INERT, VARIANTS, Computed, arrays, load, state

DATASETS = {"A_mosi_aligned": "mosi", "C_mosei_aligned": "mosei"}
SOURCES = {"l": "text", "a": "audio", "v": "vision"}
FORWARD, LOSS, GRADIENT = (0.0, 1e-5), (1e-5, 1e-9), (1e-4, 1e-6)  # reference/README.md, suggested tolerances
FLOAT64 = (1e-6, 1e-7)  # the authors' float64 run keeps float32 position tables, as ours does

NOT_COMPARED = {
    "loss/ortview": "a repair one user chose (cosine over view(N, -1), which mixes clips): not offered by this tool",
    "loss64/ortview": "the same repair in float64",
    "loss/combined_ortview": "the total under that repair",
    "loss64/combined_ortview": "the total under that repair in float64",
    "input/text": "given to both implementations",
    "input/audio": "given to both implementations",
    "input/vision": "given to both implementations",
    "input/labels": "given to both implementations",
}


def build(name: str, variant: str) -> tuple[DMD, Batch]:
    """Return our model with the reference parameters, and the reference batch."""
    z = arrays(name)
    inputs = {m: torch.from_numpy(z[f"input/{SOURCES[m]}"])[None] for m in MODALITIES}
    model = DMD(
        PRESETS[DATASETS[name]],
        dims={m: x.shape[3] for m, x in inputs.items()},
        steps={m: x.shape[2] for m, x in inputs.items()},
    )
    load(model, state(z, variant))
    inputs = {m: x.to(DEVICE) for m, x in inputs.items()}
    return model.to(DEVICE), Batch(inputs, torch.from_numpy(z["input/labels"])[None].to(DEVICE))


def silence_dropout(model: DMD) -> DMD:
    """Set every dropout rate to 0: train mode then computes what eval mode does."""
    for module in model.modules():
        if hasattr(module, "rate"):
            module.rate = 0.0
        if hasattr(module, "rates"):
            module.rates = (0.0,) * len(module.rates)
    return model


def loss_values(model: DMD, out: object, batch: Batch) -> dict[str, torch.Tensor]:
    """Return every loss of the reference by its own name, from our terms."""
    terms, weights, f = model.loss_terms(out, batch), model.loss_weights(), out.features  # type: ignore[attr-defined]
    found = {f"task_{'all' if n == 'output' else n}": terms[f"task.{n}"] for n in (
        "output", "c", *(f"{m}_{u}" for m in MODALITIES for u in ("homo", "hetero")))}  # fmt: skip
    found["task"] = sum(found.values())
    for m in MODALITIES:
        found |= {f"recon_{m}": terms[f"rec.{m}"], f"cyc_{m}": terms[f"cyc.{m}"], f"ort_{m}": terms[f"ort.{m}"]}
        found[f"ortfeat_{m}"] = losses.orthogonality(f.private[m], f.common[m], "feature")
    for group in ("recon", "cyc", "ort", "ortfeat"):
        found[group] = sum(found[f"{group}_{m}"] for m in MODALITIES)
    found["sim"] = terms["mar"]
    for unit in ("homo", "hetero"):
        found[f"{unit}_reg"] = 10 * terms[f"dtl_{unit}.reg"]
        found[f"{unit}_logit"] = terms[f"dtl_{unit}.logit"]
    reprs = f.representations["homo"]
    found["homo_repr"] = 10 * losses.distil_logits(reprs, out.edges["homo"], model.homo_unit.prior, EDGES)  # type: ignore[attr-defined]
    found["hetero_repr"] = 10 * terms["dtl_hetero.repr"]
    found["homo"] = 0.05 * (found["homo_reg"] + found["homo_logit"])
    found["hetero"] = 0.05 * (found["hetero_reg"] + found["hetero_logit"] + found["hetero_repr"])
    found["combined"] = losses.total(terms, weights)
    found["combined_ortfeat"] = found["combined"] + 0.01 * (found["ortfeat"] - found["ort"])
    return found


def outputs(out: object) -> dict[str, np.ndarray]:
    """Return all 38 outputs of the authors' forward pass by their names, in their layouts."""
    f, heads = out.features, out.heads  # type: ignore[attr-defined]
    channel_major, time_first = (0, 2, 1), (1, 0, 2)

    def of(x: torch.Tensor, axes: tuple[int, ...] | None = None) -> np.ndarray:
        x = x[0].detach().cpu().numpy()
        return x if axes is None else x.transpose(axes)

    found = {"output_logit": out.prediction[0].detach().cpu().numpy(), "logits_c": heads["c"][0].detach().cpu().numpy()}  # type: ignore[attr-defined]
    for m in MODALITIES:
        found |= {
            f"origin_{m}": of(f.x[m], channel_major),
            f"s_{m}": of(f.private[m], time_first),
            f"c_{m}": of(f.common[m], time_first),
            f"recon_{m}": of(f.rebuilt[m], channel_major),
            f"s_{m}_r": of(f.private_again[m], channel_major),
            f"c_{m}_sim": of(f.margin[m]),
            f"proj_s_{m}": of(f.proj_cosine[m]),
            f"last_h_{m}": of(f.reinforced[m]),
        }
        for unit in ("homo", "hetero"):
            found[f"repr_{m}_{unit}"] = of(f.representations[unit][m])
            found[f"logits_{m}_{unit}"] = heads[f"{m}_{unit}"][0].detach().cpu().numpy()
    return found


def config_matches(reference_json: str, ours: DMDConfig) -> bool:
    """Compare the authors' arguments with our preset, field by field."""
    theirs = json.loads(reference_json)
    pairs = {
        "dst_feature_dim_nheads": [ours.d, ours.heads], "nlevels": ours.layers, "batch_size": ours.batch_size,
        "learning_rate": ours.learning_rate, "grad_clip": ours.clip_value, "patience": ours.plateau_patience,
        "early_stop": ours.early_stop, "update_epochs": ours.accumulate, "attn_dropout": ours.attn_dropout,
        "attn_dropout_a": ours.attn_dropout_a, "attn_dropout_v": ours.attn_dropout_v, "relu_dropout": ours.relu_dropout,
        "res_dropout": ours.res_dropout, "embed_dropout": ours.embed_dropout, "text_dropout": ours.text_dropout,
        "output_dropout": ours.output_dropout, "gd_size_low": ours.gd_homo, "gd_size_high": ours.gd_hetero,
        "w_losses_low": [1, ours.repr_weight], "w_losses_high": [1, ours.repr_weight],
        **{f"conv1d_kernel_size_{m}": ours.kernel(m) for m in MODALITIES},
    }  # fmt: skip
    return all(theirs[name] == value for name, value in pairs.items())


def gradients(model: DMD, names: np.ndarray) -> list[np.ndarray | None]:
    """Return the gradient of each parameter in the reference's order; None where there is none."""
    found = {n: None if p.grad is None else p.grad[0, e].cpu().numpy() for n, p, e in named_slices(model)}
    return [found[str(n)] for n in names]


def _gradient_keys(model: DMD, z: dict[str, np.ndarray], v: str) -> Computed:
    grads = gradients(model, z[f"{v}grad/names"])

    def each(f: object) -> np.ndarray:
        return np.array([np.nan if g is None else f(g.astype(np.float64)) for g in grads])  # type: ignore[operator]

    clipped = [None if g is None else g.clip(-0.6, 0.6) for g in grads]
    # A sum or a sample cancels, so its noise is that of the largest element. In A's p/ one ReLU of trans_a_with_l sits
    # on its kink in float32 and moves that encoder's gradients by 4e-5; the float64 comparison below has no such step.
    scale = np.abs(z[f"{v}grad/absmax"])
    sizes = np.array([1 if g is None else g.size for g in grads])
    samples = np.array([
        np.full(8, np.nan) if g is None else g.ravel()[np.linspace(0, g.size - 1, 8).astype(np.int64)] for g in grads
    ])  # fmt: skip
    ours = {n: p.detach()[0, e].double().norm().item() for n, p, e in named_slices(model)}
    return {
        f"{v}grad/names": (np.array([str(n) for n in z[f"{v}grad/names"] if str(n) in ours]), 0, 0),
        f"{v}grad/is_none": (np.array([g is None for g in grads]), 0, 0),
        f"{v}grad/norm": (each(np.linalg.norm), *GRADIENT),
        f"{v}grad/absmax": (each(lambda g: np.abs(g).max()), *GRADIENT),
        f"{v}grad/sum": (each(np.sum), 1e-4, 1e-4 + 1e-5 * np.nan_to_num(scale) * np.sqrt(sizes)),
        f"{v}grad/sample8": (samples, 1e-4, 1e-5 + 1e-5 * np.nan_to_num(scale)[:, None]),
        f"{v}grad/param_norm": (np.array([ours[str(n)] for n in z[f"{v}grad/names"]]), 1e-5, 1e-6),
        f"{v}grad/norm_clipped": (
            np.array([np.nan if g is None else np.linalg.norm(g.astype(np.float64)) for g in clipped]), *GRADIENT),
        f"{v}grad/n_clipped": (
            np.array([0 if g is None else int((np.abs(g) >= np.float32(0.6)).sum()) for g in clipped]), 1e-3, 1),
    }  # fmt: skip


def _double(name: str, v: str, z: dict[str, np.ndarray]) -> Computed:
    model, batch = build(name, v)
    model = silence_dropout(model.double()).train()
    for unit in ("homo", "hetero"):
        getattr(model, f"{unit}_unit").prior = torch.from_numpy(z[f"prior64/{unit}"]).to(DEVICE)
    batch = Batch({m: x.double() for m, x in batch.inputs.items()}, batch.labels.double())
    out = model(batch, keep_features=True)
    found: Computed = {f"{v}res64/{k}": (x, *FLOAT64) for k, x in outputs(out).items() if f"{v}res64/{k}" in z}
    values = loss_values(model, out, batch)
    found |= {f"{v}loss64/{k}": (x.detach().cpu().numpy()[0], *FLOAT64) for k, x in values.items()}
    for unit in ("homo", "hetero"):
        scores = out.features.edge_scores[unit]
        found[f"{v}graph64/edges_{unit}"] = (out.edges[unit][0].detach().cpu().numpy(), *FLOAT64)
        found[f"{v}graph64/edges_origin_{unit}"] = (scores[0].sum(1, keepdim=True).detach().cpu().numpy(), *FLOAT64)
    values["combined"].sum().backward()
    grads = [np.nan if g is None else np.linalg.norm(g) for g in gradients(model, z[f"{v}grad/names"])]
    found[f"{v}grad/norm64"] = (np.array(grads), 1e-5, 1e-9)
    clipped = [np.nan if g is None else np.linalg.norm(g.clip(-0.6, 0.6)) for g in gradients(model, z["grad/names"])]
    found[f"{v}grad/norm_clipped64"] = (np.array(clipped), 1e-5, 1e-9)
    return found


@cache
def computed(name: str) -> Computed:
    """Return our value and the tolerance for every key of file A or C that is compared."""
    z, found = arrays(name), Computed()
    outputs_of_base: dict[str, np.ndarray] = {}
    for v in VARIANTS:
        model, batch = build(name, v)
        evaluated = outputs(model.eval()(batch, keep_features=True))
        for k, x in evaluated.items():
            if f"{v}res/{k}" in z:
                found[f"{v}res/{k}"] = (x, *FORWARD)
        if v:  # outputs that the perturbation cannot reach: ours must not move either
            same = [k for k, x in evaluated.items() if np.array_equal(x, outputs_of_base[k])]
            found["p/res_unchanged_keys"] = (np.array(sorted(same)), 0, 0)
        outputs_of_base = evaluated
        model = silence_dropout(model).train()
        out = model(batch)
        values = loss_values(model, out, batch)
        found |= {f"{v}loss/{k}": (x.detach().cpu().numpy()[0], *LOSS) for k, x in values.items()}
        for unit in ("homo", "hetero"):
            scores = out.features.edge_scores[unit][0].sum(1, keepdim=True)
            found[f"{v}graph/edges_{unit}"] = (out.edges[unit][0].detach().cpu().numpy(), *FORWARD)
            found[f"{v}graph/edges_origin_{unit}"] = (scores.detach().cpu().numpy(), *FORWARD)
        order = ("l", "v", "a")
        found[f"{v}torch19/ort_lva"] = (np.array([values[f"ort_{m}"].item() for m in order]), 1e-6, 1e-7)
        slopes = []
        for m in order:
            private = out.features.private[m].detach().requires_grad_()
            losses.orthogonality(private, out.features.common[m].detach(), "batch").sum().backward()
            slopes.append(private.grad.double().norm().item())  # type: ignore[union-attr]
        found[f"{v}torch19/ort_grad_s_norm_lva"] = (np.array(slopes), 1e-5, 1e-9)
        values["combined"].sum().backward(retain_graph=True)
        found |= _gradient_keys(model, z, v)
        model.zero_grad()
        values["combined_ortfeat"].sum().backward()
        grads = gradients(model, z[f"{v}grad/names"])
        norms = [np.nan if g is None else np.linalg.norm(g.astype(np.float64)) for g in grads]
        found[f"{v}grad_ortfeat/norm"] = (np.array(norms), *GRADIENT)
        norms = [np.nan if g is None else np.linalg.norm(g.clip(-0.6, 0.6).astype(np.float64)) for g in grads]
        found[f"{v}grad_ortfeat/norm_clipped"] = (np.array(norms), *GRADIENT)
        found |= _double(name, v, z)
    slices = {n: p.detach()[0, e].cpu().numpy() for n, p, e in named_slices(build(name, "")[0])}
    found |= {f"state/{n}": (x, 0, 0) for n, x in slices.items()}
    slices = {n: p.detach()[0, e].cpu().numpy() for n, p, e in named_slices(build(name, "p/")[0])}
    found |= {f"pert/{n}": (x, 0, 0) for n, x in slices.items() if f"pert/{n}" in z}
    names = [*slices, *(k[6:] for k in z if k.startswith("state/") and k.endswith(INERT))]
    found["state_own_names"] = (np.array(sorted(names)), 0, 0)
    for unit in ("homo", "hetero"):
        found |= {f"prior/{unit}": (edge_prior(unit).numpy(), 0, 1e-7)}
        found |= {f"prior64/{unit}": (edge_prior(unit).numpy(), 0, 1e-7)}
    for source in SOURCES.values():
        stated = z[f"input/left_pad_{source}"]  # a clip may begin with more zeros than its padding
        pad = [
            min(n, (np.cumsum(np.abs(x).sum(1)) == 0).sum()) for n, x in zip(stated, z[f"input/{source}"], strict=True)
        ]
        found[f"input/left_pad_{source}"] = (np.array(pad), 0, 0)
    found["config_json"] = (
        z["config_json"] if config_matches(str(z["config_json"]), PRESETS[DATASETS[name]]) else "another preset",
        0,
        0,
    )
    for key in z:
        if key.startswith("state/") and key.endswith(INERT):
            found[key] = (z[key], 0, 0)
    return found
