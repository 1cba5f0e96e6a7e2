"""File F: MulT on six clips: prediction, fused last steps, loss and gradients, in float32 and float64."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import torch

from dmd_repro.nn.layers import named_slices
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.mult.config import PRESETS, MulTConfig
from dmd_repro.systems.mult.model import MulT
from parity.dmd import SOURCES
from parity.loading import DEVICE, INERT, VARIANTS, Computed, arrays, load, state

PRESET = PRESETS["mosei", "unaligned"]  # the defaults of the authors' main.py, which the reference was made with
FORWARD, LOSS, FLOAT64 = (0.0, 1e-5), (1e-5, 1e-9), (1e-9, 1e-10)
# A hidden unit of trans_l_with_v lies on its ReLU's kink: in p/ the authors' own float32 and float64 differ there by
# 3e-4, and which side float32 falls on is the processor's affair. The float64 comparison is the strict one.
GRADIENT, ON_A_KINK, KINK = 1e-4, 1e-3, "trans_l_with_v."

NOT_COMPARED = {
    "input/text": "given to both implementations",
    "input/audio": "given to both implementations",
    "input/vision": "given to both implementations",
    "input/labels": "given to both implementations",
}


def build(name: str, variant: str) -> tuple[MulT, Batch]:
    """Return our model with the reference parameters, and the reference batch."""
    z = arrays(name)
    inputs = {m: torch.from_numpy(z[f"input/{SOURCES[m]}"])[None] for m in MODALITIES}
    model = MulT(
        PRESET,
        dims={m: x.shape[3] for m, x in inputs.items()},
        steps={m: x.shape[2] for m, x in inputs.items()},
    )
    load(model, state(z, variant), "mult/")
    inputs = {m: x.to(DEVICE) for m, x in inputs.items()}
    return model.to(DEVICE), Batch(inputs, torch.from_numpy(z["input/labels"])[None].to(DEVICE))


def config_matches(reference_json: str, ours: MulTConfig) -> bool:
    """Compare the authors' arguments with our preset, field by field."""
    theirs = json.loads(reference_json)
    pairs = {
        "num_heads": ours.heads, "out_dropout": ours.output_dropout,
        "lonly": True, "aonly": True, "vonly": True, "attn_mask": True, "output_dim": 1,
        **{k: getattr(ours, k) for k in ("layers", "attn_dropout", "attn_dropout_a", "attn_dropout_v", "relu_dropout",
                                         "res_dropout", "embed_dropout")},
    }  # fmt: skip
    return {k: v for k, v in theirs.items() if not k.startswith("orig_d")} == pairs


def _outputs(out: ModelOutput) -> dict[str, np.ndarray]:
    last = torch.cat([out.features.reinforced[m] for m in MODALITIES], dim=-1)
    return {"pred": out.prediction[0].detach().cpu().numpy(), "last_hs": last[0].detach().cpu().numpy()}


def _gradients(model: MulT, names: np.ndarray) -> list[np.ndarray]:
    found = {
        n.removeprefix("mult/"): p.grad[0, e].cpu().numpy() for n, p, e in named_slices(model) if p.grad is not None
    }
    return [found[str(n)] for n in names]


@cache
def computed(name: str) -> Computed:
    """Return our value and the tolerance for every key of file F."""
    z, found = arrays(name), Computed()
    names = z["grad/names"]
    for v in VARIANTS:
        model, batch = build(name, v)
        out = model.eval()(batch, keep_features=True)
        found |= {f"{v}out/{k}": (x, *FORWARD) for k, x in _outputs(out).items()}
        loss = losses.total(model.loss_terms(out, batch), model.loss_weights()).sum()
        found[f"{v}loss/l1"] = (loss.item(), *LOSS)
        loss.backward()
        grads = _gradients(model, names)
        wide = [g.astype(np.float64) for g in grads]
        samples = np.array([g.ravel()[np.linspace(0, g.size - 1, 8).astype(np.int64)] for g in grads])
        # a sum or a sample cancels, so its noise is that of the largest element
        rtol = np.array([ON_A_KINK if str(n).startswith(KINK) else GRADIENT for n in names])
        scale = np.array([np.abs(g).max() for g in wide])
        sizes = np.array([g.size for g in grads])
        found[f"{v}grad/norm"] = (np.array([np.linalg.norm(g) for g in wide]), rtol, 1e-6)
        found[f"{v}grad/sum"] = (np.array([g.sum() for g in wide]), rtol, 1e-5 + rtol * scale * np.sqrt(sizes))
        found[f"{v}grad/sample8"] = (samples, rtol[:, None], 1e-5 + (rtol * scale)[:, None])

        model, batch = build(name, v)
        model.double().eval()
        batch = Batch({m: x.double() for m, x in batch.inputs.items()}, batch.labels.double())
        out = model(batch, keep_features=True)
        found |= {f"{v}out64/{k}": (x, *FLOAT64) for k, x in _outputs(out).items()}
        loss = losses.total(model.loss_terms(out, batch), model.loss_weights()).sum()
        found[f"{v}loss64/l1"] = (loss.item(), *FLOAT64)
        loss.backward()
        found[f"{v}grad/norm64"] = (np.array([np.linalg.norm(g) for g in _gradients(model, names)]), *FLOAT64)

        slices = {
            n.removeprefix("mult/"): p.detach()[0, e].cpu().numpy() for n, p, e in named_slices(build(name, v)[0])
        }
        group = "pert" if v else "state"
        found |= {f"{group}/{n}": (x, 0, 0) for n, x in slices.items() if f"{group}/{n}" in z}
    found |= {key: (z[key], 0, 0) for key in z if key.startswith("state/") and key.endswith(INERT)}
    found["grad/names"] = (np.array(sorted(slices)), 0, 0)
    found["grad/is_none"] = (np.zeros(len(names), dtype=bool), 0, 0)
    for source in SOURCES.values():
        steps_of_zeros = (np.cumsum(np.abs(z[f"input/{source}"]).sum(2), axis=1) == 0).sum(1)
        found[f"input/left_pad_{source}"] = (np.minimum(z[f"input/left_pad_{source}"], steps_of_zeros), 0, 0)
    same = config_matches(str(z["config_json"]), PRESET)
    found["config_json"] = (z["config_json"] if same else "another preset", 0, 0)
    return found
