"""DMD as one would write it down: one seed, one encoder after the other, every score in memory. No tricks.

The yardstick of `dmd bench --against plain`: the same mathematics and the same parameter names as `dmd_repro.systems`
(a test loads the weights of one into the other and compares losses and gradients), the authors' way of computing it:
all heads and projections, all queries of every layer, masks made in each call, a loop over the anchors of the margin
loss. Batch first throughout: (B, T, d). Official protocol, with `padding` zeros or masked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.systems.dmd.config import DMDConfig

ORDER = ("l", "v", "a")  # of the graph units and of the concatenations
EDGES = [(student, teacher) for student in ORDER for teacher in ORDER if student != teacher]
FAVOURED = {"homo": [0.0, 0, 1, 0, 1, 0], "hetero": [0.0, 0, 1, 0, 1, 1]}


def positions(x: Tensor) -> Tensor:
    """Return the sinusoidal positions of (B, T, d), none where channel 0 is exactly 0."""
    steps, d = x.shape[1:]
    half = d // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32, device=x.device) * -(math.log(10000) / max(half - 1, 1)))
    angles = torch.arange(1, steps + 1, dtype=torch.float32, device=x.device).unsqueeze(1) * rates
    table = F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, d % 2))
    return table.to(x.dtype) * (x[..., :1] != 0)


class Attention(nn.Module):
    """Multi-head attention with one packed projection; every weight is held."""

    def __init__(self, d: int, heads: int, rate: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, rate
        self.in_proj_weight, self.in_proj_bias = nn.Parameter(torch.empty(3 * d, d)), nn.Parameter(torch.zeros(3 * d))
        self.out_proj = nn.Linear(d, d)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None) -> Tensor:
        """(B, Tq, d), (B, Tk, d) twice, which keys are no padding (B, Tk) -> (B, Tq, d)."""
        b, tq, d = query.shape
        tk = key.shape[1]
        wq, wk, wv = self.in_proj_weight.chunk(3)
        bq, bk, bv = self.in_proj_bias.chunk(3)
        q = F.linear(query, wq, bq) * (d // self.heads) ** -0.5
        k, v = F.linear(key, wk, bk), F.linear(value, wv, bv)
        q, k, v = (x.reshape(b, -1, self.heads, d // self.heads).transpose(1, 2) for x in (q, k, v))
        scores = q @ k.transpose(2, 3)  # (B, H, Tq, Tk)
        if valid is not None:
            scores = scores + (~valid * -1e9).to(scores.dtype)[:, None, None]
        scores = scores + torch.triu(torch.full((tq, tk), -torch.inf, device=q.device), 1 + abs(tk - tq))
        weights = F.dropout(torch.softmax(scores, dim=-1), self.rate, self.training)
        return self.out_proj((weights @ v).transpose(1, 2).reshape(b, tq, d))


class PlainLayer(nn.Module):
    """Attention and feed-forward, each behind a LayerNorm and added to its input."""

    def __init__(self, d: int, heads: int, rate: float, config: DMDConfig) -> None:
        super().__init__()
        self.self_attn = Attention(d, heads, rate)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))
        self.relu_rate, self.res_rate = config.relu_dropout, config.res_dropout

    def forward(self, x: Tensor, key: Tensor | None, value: Tensor | None, valid: Tensor | None) -> Tensor:
        """(B, Tq, d), sources (B, Tk, d) or None for self-attention -> (B, Tq, d)."""
        norm, feed = self.layer_norms
        normed = norm(x)
        key, value = (normed, normed) if key is None else (norm(key), norm(value))
        x = x + F.dropout(self.self_attn(normed, key, value, valid), self.res_rate, self.training)
        middle = F.dropout(F.relu(self.fc1(feed(x))), self.relu_rate, self.training)
        return x + F.dropout(self.fc2(middle), self.res_rate, self.training)


class PlainEncoder(nn.Module):
    """A transformer encoder of one modality, or across two."""

    def __init__(self, d: int, heads: int, rate: float, config: DMDConfig) -> None:
        super().__init__()
        self.rate = config.embed_dropout
        self.layers = nn.ModuleList(PlainLayer(d, heads, rate, config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(d)

    def embed(self, x: Tensor) -> Tensor:
        """Scale, add positions, drop."""
        return F.dropout(math.sqrt(x.shape[2]) * x + positions(x), self.rate, self.training)

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """(B, Tq, d), source (B, Tk, d), which of the keys are no padding -> (B, Tq, d)."""
        x = self.embed(x)
        key = None if source is None else self.embed(source)
        value = None if source is None else self.embed(source)
        for layer in self.layers:
            x = layer(x, key, value, valid)
        return self.layer_norm(x)


class Unit(nn.Module):
    """A graph distillation unit."""

    def __init__(self, unit: str, width: int, hidden: int, config: DMDConfig) -> None:
        super().__init__()
        self.W_logit, self.W_repr = nn.Linear(1, hidden), nn.Linear(width, hidden)
        self.W_edge = nn.Linear(4 * hidden, 1)
        self.prior = torch.softmax(torch.tensor(FAVOURED[unit]) / 0.25, dim=0)
        self.scale = config.edge_softmax_scale

    def forward(self, logits: Mapping[str, Tensor], reprs: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, 1) and representations (B, width) -> edges (6, B)."""
        z = {m: torch.cat([self.W_logit(logits[m]), self.W_repr(reprs[m])], dim=1) for m in ORDER}
        scores = [self.W_edge(torch.cat([z[j], z[i]], dim=1)).squeeze(1) for j, i in EDGES]
        return torch.softmax(torch.stack(scores) * self.scale, dim=0)


class PlainDMD(nn.Module):
    """The full model."""

    def __init__(self, config: DMDConfig, dims: Mapping[str, int], steps: Mapping[str, int]) -> None:
        super().__init__()
        self.config = c = config
        d = c.d
        t = {m: steps[m] - c.kernel(m) + 1 for m in ORDER}

        def head(suffix: str, width: int, hidden: int, last: str = "out_layer") -> None:
            for name, n_in, n_out in (("proj1", width, hidden), ("proj2", hidden, width), (last, width, 1)):
                self.add_module(f"{name}{suffix}", nn.Linear(n_in, n_out))

        for m in ORDER:
            self.add_module(f"proj_{m}", nn.Conv1d(dims[m], d, c.kernel(m), bias=False))
            self.add_module(f"encoder_s_{m}", nn.Conv1d(d, d, 1, bias=False))
            self.add_module(f"decoder_{m}", nn.Conv1d(2 * d, d, 1, bias=False))
            self.add_module(f"align_c_{m}", nn.Linear(d * t[m], d))
            self.add_module(f"proj_cosine_{m}", nn.Linear(d * t[m], d))
            self.add_module(f"self_attentions_c_{m}", PlainEncoder(d, c.heads, c.attention_rate(m), c))
            self.add_module(f"trans_{m}_mem", PlainEncoder(2 * d, c.heads, c.attn_dropout, c))
            self.add_module(f"weight_{m}", nn.Linear(2 * d, 2 * d))
            for s in ORDER:
                if s != m:
                    self.add_module(f"trans_{m}_with_{s}", PlainEncoder(d, c.heads, c.attention_rate(s), c))
            head(f"_{m}_low", d * t[m], d)
            head(f"_{m}_high", 2 * d, 2 * d)
        self.encoder_c = nn.Conv1d(d, d, 1, bias=False)
        self.weight_c = nn.Linear(3 * d, 3 * d)
        head("_c", 3 * d, 3 * d)
        head("", 9 * d, 9 * d)
        homo, hetero = Unit("homo", d, c.gd_homo, c), Unit("hetero", 2 * d, c.gd_hetero, c)
        self.units = nn.ModuleDict({"homo": homo, "hetero": hetero})

    def head(self, suffix: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width) -> logit, hidden after ReLU, residual sum."""
        first, second, last = (getattr(self, f"{name}{suffix}") for name in ("proj1", "proj2", "out_layer"))
        hidden = F.relu(first(x))
        summed = second(F.dropout(hidden, self.config.output_dropout, self.training)) + x
        return last(summed), hidden, summed

    def valid(self, x: Tensor, kernel: int) -> Tensor | None:
        """(B, T, D) -> (B, T'): from the first to the last step that is not zero; None where padding is data."""
        if self.config.padding == "zeros":
            return None
        found = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        for i, clip in enumerate(x):
            steps = (clip != 0).any(1).nonzero().flatten()
            found[i, steps[0] if len(steps) else -1 : (int(steps[-1]) + 1) if len(steps) else None] = True
        return found.unfold(1, kernel, 1).any(-1)

    def forward(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Inputs (B, T, D), labels (B,) -> prediction (B, 1) and every term of the loss, by the project's names."""
        c, b = self.config, len(labels)
        com, prt, aligned, terms = {}, {}, {}, {}
        valid: dict[str, Tensor | None] = {}
        for m in ORDER:
            valid[m] = self.valid(inputs[m], c.kernel(m))
            x = inputs[m].transpose(1, 2)  # (B, D, T)
            x = F.dropout(x, c.text_dropout, self.training) if m == "l" else x
            x = getattr(self, f"proj_{m}")(x)
            seen = valid[m]
            x = mask(x, seen)
            com[m], prt[m] = self.encoder_c(x), getattr(self, f"encoder_s_{m}")(x)  # (B, d, T')
            rec = getattr(self, f"decoder_{m}")(torch.cat([prt[m], com[m]], dim=1))
            again = getattr(self, f"encoder_s_{m}")(rec)
            terms[f"rec.{m}"], terms[f"cyc.{m}"] = squared(rec, x, valid[m]), squared(prt[m], again, valid[m])
            apart = cosine(mask(prt[m], valid[m]), com[m], dim=0).clamp_min(0)  # over the clips: (d, T')
            terms[f"ort.{m}"] = apart.mean() if seen is None else apart[:, seen.any(0)].mean()
            aligned[m] = getattr(self, f"align_c_{m}")(com[m].flatten(1))
            getattr(self, f"proj_cosine_{m}")(prt[m].flatten(1))
        com, prt = ({m: x.transpose(1, 2) for m, x in part.items()} for part in (com, prt))  # (B, T', d)
        logits: dict[str, dict[str, Tensor]] = {"homo": {}, "hetero": {}}
        reprs: dict[str, dict[str, Tensor]] = {"homo": {}, "hetero": {}}
        common, gates = [], []
        for m in ORDER:
            logits["homo"][m], reprs["homo"][m], _ = self.head(f"_{m}_low", com[m].flatten(1))
            common.append(last(getattr(self, f"self_attentions_c_{m}")(com[m], valid=valid[m]), valid[m]))
            crossed = [
                getattr(self, f"trans_{m}_with_{s}")(prt[m], prt[s], valid[s]) for s in ("l", "a", "v") if s != m
            ]
            reinforced = last(getattr(self, f"trans_{m}_mem")(torch.cat(crossed, dim=2), valid=valid[m]), valid[m])
            logits["hetero"][m], _, reprs["hetero"][m] = self.head(f"_{m}_high", reinforced)
            gates.append(torch.sigmoid(getattr(self, f"weight_{m}")(reinforced)))
        fused = torch.cat(common, dim=1)
        terms["task.c"] = (self.head("_c", fused)[0].squeeze(1) - labels).abs().mean()
        prediction = self.head("", torch.cat([*gates, torch.sigmoid(self.weight_c(fused))], dim=1))[0]
        terms["task.output"] = (prediction.squeeze(1) - labels).abs().mean()
        terms["mar"] = margin(torch.cat([aligned[m] for m in ("l", "a", "v")]), labels.repeat(3), c.margin_scale)
        for name, unit in self.units.items():
            graph = cast(Unit, unit)
            edges, prior = graph(logits[name], reprs[name]), graph.prior.to(labels.device)
            for m in ORDER:
                terms[f"task.{m}_{name}"] = (logits[name][m].squeeze(1) - labels).abs().mean()
            weight = edges + prior.unsqueeze(1)
            distance = [(logits[name][j] - logits[name][i].detach()).abs().sum(1) for j, i in EDGES]
            terms[f"dtl_{name}.logit"] = (torch.stack(distance) * weight).mean(1).sum()
            terms[f"dtl_{name}.reg"] = (edges.mean(1) - prior).square().sum()
            if name == "hetero":
                angles = [cosine(reprs[name][j], reprs[name][i].detach(), dim=1).clamp_min(0).mean() for j, i in EDGES]
                terms[f"dtl_{name}.repr"] = (torch.stack(angles) * weight.mean(1)).sum()
        assert len(prediction) == b
        return prediction, terms


def mask(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, d, T) without its padded steps."""
    return x if valid is None else x * valid.unsqueeze(1)


def last(x: Tensor, valid: Tensor | None) -> Tensor:
    """(B, T, d) -> (B, d): the last step of each clip that is no padding."""
    if valid is None:
        return x[:, -1]
    return torch.stack([clip[int(steps.nonzero()[-1])] for clip, steps in zip(x, valid, strict=True)])


def squared(x: Tensor, y: Tensor, valid: Tensor | None) -> Tensor:
    """(B, d, T) twice -> the mean squared difference, over the steps that are no padding."""
    if valid is None:
        return F.mse_loss(x, y)
    return (mask(x - y, valid)).square().sum() / (valid.sum() * x.shape[1])


def cosine(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Cosine along an axis, with the 1e-12 of torch's CosineEmbeddingLoss."""
    return (x * y).sum(dim) / (((x * x).sum(dim) + 1e-12) * ((y * y).sum(dim) + 1e-12)).sqrt()


def margin(rows: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Rows (R, d), labels (R,): the margin loss, anchor by anchor."""
    unit = rows / (rows.square().sum(1, keepdim=True) + 1e-8).sqrt()
    similar, found = unit @ unit.T, []
    for i in range(len(rows)):
        same = labels == labels[i]
        positive, negative = same.clone(), ~same
        positive[i] = False
        if not (positive.any() and negative.any()):
            continue
        room = scale * (labels[negative] - labels[i]).abs()
        found.append(F.relu(similar[i][negative] + room - similar[i][positive].unsqueeze(1)).mean())
    return torch.stack(found).mean() if found else rows.sum() * 0
