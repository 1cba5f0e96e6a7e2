"""File G: single parts: margin loss, cosine losses, graph units, positions, masks, attention, encoders."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from dmd_repro.nn.attention import blocked_attention
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.nn.encoder import EncoderBank, Layout, position_table
from dmd_repro.nn.layers import Members, initialise, named_slices
from dmd_repro.systems import losses
from dmd_repro.systems.edges import EDGES, VERTICES
from dmd_repro.systems.graph import GraphUnit
from parity.loading import Computed, arrays, load

NOT_COMPARED = {
    "hinge/*/ids": "given to both implementations",
    "hinge/*/feats": "given to both implementations",
    "hinge/*/is_tensor": "the authors return the number 0.0 where no anchor is usable; ours is always a tensor",
    "cos?d/x": "given to both implementations",
    "cos?d/y": "given to both implementations",
    "dist/weights": "given to both implementations",
    "dist/x": "given to both implementations",
    "dist/y": "given to both implementations",
    "kernel_*/state/*": "given to both implementations",
    "kernel_*/logits": "given to both implementations",
    "kernel_*/reprs": "given to both implementations",
    "pos/channel0": "given to both implementations",
    "mha/q": "given to both implementations",
    "mha/k": "given to both implementations",
    "mha/state/*": "given to both implementations",
    "mha/weights": "the mean over heads of the attention weights, which nothing in the model reads",
    "enc_*/x": "given to both implementations",
    "enc_*/k": "given to both implementations",
    "enc_*/gout": "given to both implementations",
    "enc_*/state/*": "given to both implementations",
}
UNIT, SLOPE = (1e-5, 1e-6), (1e-4, 1e-6)


def _slope(theirs: np.ndarray) -> tuple[float, float]:
    """Gradients of one array share the noise of its largest element."""
    return 1e-4, 1e-6 * max(1.0, float(np.abs(theirs).max()))


def _tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x)).requires_grad_(x.dtype == np.float32)


def _hinge(z: dict[str, np.ndarray]) -> Computed:
    found = Computed()
    for case in {k.split("/")[1] for k in z if k.startswith("hinge/")}:
        rows = _tensor(z[f"hinge/{case}/feats"])
        loss = losses.margin_by_distance(rows[None], torch.from_numpy(z[f"hinge/{case}/ids"])[:, 0][None], 0.15)
        found[f"hinge/{case}/loss"] = (loss.item(), *UNIT)
        loss.sum().backward()
        found[f"hinge/{case}/grad"] = (rows.grad, *SLOPE)
    return found


def _cosine(z: dict[str, np.ndarray]) -> Computed:
    x, y = _tensor(z["cos3d/x"]), _tensor(z["cos3d/y"])  # (T, N, d)

    def ours(axis: str) -> torch.Tensor:
        return losses.orthogonality(x.transpose(0, 1)[None], y.transpose(0, 1)[None], axis)

    loss = ours("batch")
    loss.sum().backward()
    element = np.stack([
        [losses.orthogonality(x[t, :, c].detach().view(1, -1, 1, 1), y[t, :, c].detach().view(1, -1, 1, 1), "batch")
         .item() for c in range(x.shape[2])] for t in range(x.shape[0])
    ])  # fmt: skip
    flat_x, flat_y = (torch.from_numpy(z[f"cos2d/{k}"]) for k in "xy")  # (N, d)
    pair = {"l": flat_x[None], "v": flat_y[None]}
    edge, prior = torch.from_numpy(z["dist/weights"])[None, None], torch.zeros(1)
    dist = {"l": torch.from_numpy(z["dist/x"])[None], "v": torch.from_numpy(z["dist/y"])[None]}
    flat = losses.distil_features(pair, torch.ones(1, 1, 4), prior, [("l", "v")]).item()
    return {
        "cos3d/loss": (loss.item(), *UNIT),
        "cos3d/torch19_loss": (loss.item(), *UNIT),
        "cos3d/elementwise": (element, *UNIT),
        "cos3d/grad_x": (x.grad, *SLOPE),
        "cos3d/grad_y": (y.grad, *SLOPE),
        "cos3d/loss_feature_dim": (ours("feature").item(), *UNIT),
        "cos2d/loss": (flat, *UNIT),
        "dist/l1": (losses.distil_logits(dist, edge, prior, [("l", "v")]).item(), *UNIT),
        "dist/min_cosine": (losses.distil_features(dist, edge, prior, [("l", "v")]).item(), *UNIT),
    }


def _kernels(z: dict[str, np.ndarray]) -> Computed:
    found = Computed()
    for unit in ("homo", "hetero"):
        at = f"kernel_{unit}"
        kernel = GraphUnit(unit, 6, 4, softmax_scale=1 / 8, stack=1)
        load(
            kernel,
            {k.removeprefix(f"{at}/state/"): v for k, v in z.items() if k.startswith(f"{at}/state/")},
            f"{unit}/",
        )
        logits, reprs = _tensor(z[f"{at}/logits"]), _tensor(z[f"{at}/reprs"])  # (3, B, ...), vertices l, v, a
        logit = {m: logits[i][None] for i, m in enumerate(VERTICES)}
        feature = {m: reprs[i][None] for i, m in enumerate(VERTICES)}
        edges, scores = kernel(logit, feature)
        distance = losses.distil_features if unit == "hetero" else losses.distil_logits
        reg = 10 * losses.edge_regulariser(edges, kernel.prior)
        of_logit = losses.distil_logits(logit, edges, kernel.prior, EDGES)
        of_repr = 10 * distance(feature, edges, kernel.prior, EDGES)
        (reg + of_logit + of_repr).sum().backward()
        found |= {
            f"{at}/edges": (edges[0].detach(), *UNIT),
            f"{at}/edges_origin": (scores[0].sum(1, keepdim=True).detach(), *UNIT),
            f"{at}/reg": (reg.item(), *UNIT),
            f"{at}/logit": (of_logit.item(), *UNIT),
            f"{at}/repr": (of_repr.item(), *UNIT),
            f"{at}/grad_logits": (logits.grad, *SLOPE),
            f"{at}/grad_reprs": (reprs.grad, *SLOPE),
        }
        for name, p, e in named_slices(kernel):
            found[f"{at}/grad/{name.removeprefix(f'{unit}/')}"] = (p.grad[0, e], *SLOPE)  # type: ignore[index]
    return found


def _encoder(width: int, heads: int, layers: int) -> EncoderBank:
    return EncoderBank(
        ["e"], width, heads, layers, rates=[0.0], embed_dropout=0.0, relu_dropout=0.0, res_dropout=0.0,
        stream=DropoutStream([0]),
    )  # fmt: skip


def _encoders(z: dict[str, np.ndarray]) -> Computed:
    found = Computed()
    for at in ("enc_self", "enc_cross_qlt", "enc_cross_qgt", "enc_cross_eq"):
        bank = _encoder(10, 2, 2)
        load(bank, {k.removeprefix(f"{at}/state/"): v for k, v in z.items() if k.startswith(f"{at}/state/")}, "e.")
        x = _tensor(z[f"{at}/x"])
        source = _tensor(z[f"{at}/k"]) if f"{at}/k" in z else None
        out = bank([x.transpose(0, 1)[None]], None if source is None else [source.transpose(0, 1)[None]])[0]
        ours = out[0].transpose(0, 1)
        (ours * torch.from_numpy(z[f"{at}/gout"])).sum().backward()
        found |= {f"{at}/out": (ours.detach(), *UNIT), f"{at}/grad_x": (x.grad, *_slope(z[f"{at}/grad_x"]))}
        if source is not None:
            found[f"{at}/grad_k"] = (source.grad, *_slope(z[f"{at}/grad_k"]))
        for name, p, e in named_slices(bank):
            key = f"{at}/grad/{name.removeprefix('e.')}"
            found[key] = (p.grad[0, e], *_slope(z[key]))  # type: ignore[index]
    return found


def _attention(z: dict[str, np.ndarray]) -> Computed:
    block = _encoder(10, 2, 1).blocks[0]
    names = {
        f"e.layers.0.self_attn.{k.removeprefix('mha/state/')}": v for k, v in z.items() if k.startswith("mha/state/")
    }
    initialise(block, (0,))
    load(block.in_proj, names)
    load(block.out_proj, names)
    q, k = (torch.from_numpy(z[f"mha/{x}"]).transpose(0, 1)[None] for x in "qk")
    one = Members((0,), {})
    out = block.out_proj(block._attend(q, (k, k), block.maps(one), one, abs(k.shape[2] - q.shape[2]), None))
    return {"mha/out": (out[0].transpose(0, 1).detach(), *UNIT)}


def _hidden_keys(queries: int, keys: int) -> np.ndarray:
    """Ask attention itself which keys a query does not see: values that are one-hot per key show the weights."""
    values = torch.eye(keys)[None]
    flat = torch.zeros(1, queries, keys), torch.zeros(1, keys, keys)
    weights = blocked_attention(*flat, values, offset=abs(keys - queries), stream=DropoutStream([1]))
    return weights[0].T.numpy() == 0


def _positions(z: dict[str, np.ndarray]) -> Computed:
    found = Computed()
    cpu = torch.device("cpu")
    for key in (k for k in z if k.startswith("pos/table_")):
        table = position_table(z[key].shape[0] - 1, z[key].shape[1], torch.float32, cpu)
        found[key] = (torch.cat([torch.zeros_like(table[:1]), table]), 0.0, 1e-7)
    first = torch.from_numpy(z["pos/channel0"])  # (B, T): channel 0 of the input
    bank = _encoder(10, 2, 1)
    x = torch.cat([first[..., None], torch.zeros(*first.shape, 9)], -1)[None]
    embedded = bank._embed(x, Layout(0, x.shape[2]))[0]
    embedded[..., 0] -= 10**0.5 * first
    table = torch.cat([torch.zeros(1, 10), position_table(first.shape[1], 10, torch.float32, cpu)])
    nearest = (embedded[..., None, :] - table).square().sum(-1).argmin(-1)
    found["pos/positions"] = (nearest, 0, 0)
    for key in (k for k in z if k.startswith("mask/")):
        found[key] = (_hidden_keys(*(int(n) for n in key.removeprefix("mask/").split("x"))), 0, 0)
    return found


@cache
def computed(name: str) -> Computed:
    """Return our value and the tolerance for every key of file G that is compared."""
    z = arrays(name)
    return {**_hinge(z), **_cosine(z), **_kernels(z), **_encoders(z), **_attention(z), **_positions(z)}
