"""One layer of a bank of encoders: E layers of one shape, for S seeds, computed together (`encoder.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmd_repro.nn import compiled
from dmd_repro.nn.attention import HIDDEN, attention, draw_masks
from dmd_repro.nn.compiled import layer as compiled_layer
from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.nn.layers import LayerNorm, Linear, Members, affine, feed_forward, folded, normalise


def take_step(x: Tensor, at: Tensor | None) -> Tensor:
    """(G, B, T, d), steps (G, B) -> (G, B, 1, d): one step of each clip; None: the last."""
    if at is None:
        return x[:, :, -1:]
    # a sum with one summand: the gradient of `gather` asks a GPU's host in deterministic mode, so no step is captured
    chosen = torch.arange(x.shape[2], device=x.device) == at.unsqueeze(2)
    return torch.where(chosen.unsqueeze(3), x, 0.0).sum(2, keepdim=True)


class EncoderLayer(nn.Module):
    """One layer of E encoders: attention and feed-forward, each behind a LayerNorm and added to its input."""

    row_scale: Tensor

    def __init__(
        self,
        names: Sequence[str],
        width: int,
        heads: int,
        *,
        rates: Sequence[float],
        relu_dropout: float,
        res_dropout: float,
        stream: DropoutStream,
    ) -> None:
        super().__init__()
        stack = len(stream.seeds)
        self.width, self.heads, self.stream = width, heads, stream
        self.rates = tuple(rates)  # attention dropout of each encoder
        attention = [f"{n}.self_attn" for n in names]
        # one 3E x E matrix, as the authors initialise it: the bound counts 4E, not 2E
        self.in_proj = Linear(
            [f"{n}.in_proj" for n in attention], width, 3 * width, stack=stack, xavier=True, separator="_"
        )
        self.out_proj = Linear([f"{n}.out_proj" for n in attention], width, width, stack=stack, xavier=True)
        self.fc1 = Linear([f"{n}.fc1" for n in names], width, 4 * width, stack=stack, xavier=True)
        self.fc2 = Linear([f"{n}.fc2" for n in names], 4 * width, width, stack=stack, xavier=True)
        self.norm_attention = LayerNorm([f"{n}.layer_norms.0" for n in names], width, stack=stack)
        self.norm_feed = LayerNorm([f"{n}.layer_norms.1" for n in names], width, stack=stack)
        self.relu_dropout = Dropout(relu_dropout, stream)
        self.res_dropout = Dropout(res_dropout, stream)
        scale = torch.ones(3 * width, dtype=torch.float64)  # exact in whatever precision the model computes
        scale[:width] = (width // heads) ** -0.5  # of q, after its bias
        self.register_buffer("row_scale", scale, persistent=False)

    def forward(
        self,
        x: Tensor,
        source: tuple[Tensor, Tensor] | None,
        members: Members,
        *,
        offset: int | None,
        hidden: Tensor | None = None,
        one: bool = False,
        at: Tensor | None = None,
    ) -> Tensor:
        """x (G, B, Tq, d), source None (self-attention) or (key input, value input), normalised, each (G, B, Tk, d).

        Query i sees keys up to i + `offset`; None: all. `hidden` (G, B, Tk) marks keys that are padding. `one` asks for
        one step of each clip, `at` (G, B) or the last: (G, B, 1, d).
        """
        normed = normalise(x)
        pair, maps = source or (normed, normed), self.maps(members)
        bias = None if hidden is None else (hidden * HIDDEN).to(x.dtype)
        if one:
            bias, offset = _of_one(pair[0], offset, bias, at, x.shape[2]), None
            x, normed = take_step(x, at), take_step(normed, at)
        attended = self._attend(normed, pair, maps, members, offset, bias)
        out = self.out_proj.group("weight", members), self.out_proj.group("bias", members)
        first = folded(self.norm_feed, self.fc1, members)
        second = self.fc2.group("weight", members), self.fc2.group("bias", members)
        if self.relu_dropout.active or self.res_dropout.active:
            x = x + self.res_dropout(affine(attended, *out))
            middle = self.relu_dropout(torch.relu(affine(normalise(x), *first)))
            return x + self.res_dropout(affine(middle, *second))
        x = affine(attended, *out, add=x)
        return feed_forward(normalise(x), *first, *second, add=x)

    def in_lanes(
        self,
        library: compiled.Library,
        x: Tensor,
        source: tuple[Tensor, Tensor] | None,
        members: Members,
        *,
        steps: tuple[int, int],
        offset: int | None,
        hidden: Tensor | None,
    ) -> Tensor:
        """`forward` of all steps by compiled code, on activations in lanes; `steps` are those of queries and keys."""
        rates = [self.rates[e] if self.training else 0.0 for e in members.places]
        masks = draw_masks(x.shape[1] * self.heads, *steps, offset, rates, self.stream)
        behind = [drop.rate if drop.active else 0.0 for drop in (self.res_dropout, self.relu_dropout, self.res_dropout)]
        drops = compiled_layer.MapDrops.drawn(self.stream, len(rates) * x.shape[1] * steps[0] * self.width, behind)
        order = (self.norm_attention, self.in_proj, self.out_proj, self.norm_feed, self.fc1, self.fc2)
        parameters = tuple(part.group(name, members) for part in order for name in ("weight", "bias"))
        bias = None if hidden is None else (hidden * HIDDEN).to(x.dtype)
        return compiled_layer.layer(
            library, x, source, parameters, heads=self.heads, queries=steps[0], keys=steps[1], offset=offset,
            encoders=len(rates), bias=bias, masks=masks, drops=drops,
        )  # fmt: skip

    def _attend(
        self,
        query: Tensor,
        source: tuple[Tensor, Tensor],
        maps: tuple[Tensor, Tensor],
        members: Members,
        offset: int | None,
        bias: Tensor | None,
    ) -> Tensor:
        """Attention before the output map, (G, B, Tq, d); `bias` (G, B, Tk) is added to the scores of each key."""
        rates = [self.rates[e] if self.training else 0.0 for e in members.places]
        q, k, v = self._split(query, source, maps)
        return attention(q, k, v, heads=self.heads, offset=offset, stream=self.stream, rates=rates, hidden=bias)

    def maps(self, members: Members) -> tuple[Tensor, Tensor]:
        """Return weight (G, 3d, d) and bias (G, 3d) from normalised inputs to q (scaled), k and v."""
        weight, bias = folded(self.norm_attention, self.in_proj, members)
        scale = self.row_scale.to(weight.dtype)
        return weight * scale.unsqueeze(1), bias * scale

    def _split(
        self, query: Tensor, source: tuple[Tensor, Tensor], maps: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return q (scaled), k, v, each (G, B, T, d), in as few products as the inputs that coincide allow."""
        (key, value), (weight, bias), d = source, maps, self.width
        if query is key and key is value:
            q, k, v = affine(query, weight, bias).chunk(3, dim=-1)
            return q, k, v
        q = affine(query, weight[:, :d], bias[:, :d])
        if key is value:
            k, v = affine(key, weight[:, d:], bias[:, d:]).chunk(2, dim=-1)
        else:
            k = affine(key, weight[:, d : 2 * d], bias[:, d : 2 * d])
            v = affine(value, weight[:, 2 * d :], bias[:, 2 * d :])
        return q, k, v


def _of_one(key: Tensor, offset: int | None, bias: Tensor | None, at: Tensor | None, queries: int) -> Tensor | None:
    """Return what is added to the scores of one query a clip, at (G, B) or the last of `queries`: (G, B, Tk)."""
    at_most = None if offset is None else (queries - 1 if at is None else at.unsqueeze(2)) + offset
    if at_most is None or (isinstance(at_most, int) and at_most >= key.shape[2] - 1):
        return bias
    past = torch.arange(key.shape[2], device=key.device) > at_most
    blocked = torch.zeros(key.shape[:3], dtype=key.dtype, device=key.device) if bias is None else bias
    return blocked.masked_fill(past, -torch.inf)
