"""Banks of transformer encoders: E encoders of one shape, for S seeds, run together wherever their lengths agree.

After the encoder of the MulT code that the authors reuse: pre-LayerNorm blocks, sinusoidal positions that skip padded
steps, a causal mask that also holds across modalities, and no key-padding mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from dmd_repro.nn import compiled
from dmd_repro.nn.attention import HIDDEN, attention, draw_masks
from dmd_repro.nn.compiled import layer as compiled_layer
from dmd_repro.nn.dropout import Dropout, DropoutStream, draws_of, lane_threshold, noise_and_more
from dmd_repro.nn.layers import LayerNorm, Linear, Members, affine, feed_forward, folded, normalise
from dmd_repro.nn.once import made_once


@made_once(64)
def position_table(steps: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (steps, width): row t holds position t + 1, sines in the first half and cosines in the second.

    Frequencies are 10000^(-i / (half - 1)); an odd width gets a last column of zeros (fairseq's table, used by MulT).
    """
    half = width // 2
    # in float32 whatever the model's precision: these are the values the authors' code adds
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / max(half - 1, 1)))
    angles = torch.arange(1, steps + 1, dtype=torch.float32).unsqueeze(1) * rates
    table = torch.zeros(steps, width)
    table[:, :half], table[:, half : 2 * half] = angles.sin(), angles.cos()
    return table.to(device=device, dtype=dtype)


def take_step(x: Tensor, at: Tensor | None) -> Tensor:
    """(G, B, T, d), steps (G, B) -> (G, B, 1, d): one step of each clip; None: the last."""
    if at is None:
        return x[:, :, -1:]
    # a sum with one summand: the gradient of `gather` asks a GPU's host in deterministic mode, so no step is captured
    chosen = torch.arange(x.shape[2], device=x.device) == at.unsqueeze(2)
    return torch.where(chosen.unsqueeze(3), x, 0.0).sum(2, keepdim=True)


def last_valid(valid: Tensor) -> Tensor:
    """(..., T) bool -> (...): the last step that is not padding; the last of all where every step is."""
    steps = valid.shape[-1]
    order = torch.arange(1, steps + 1, device=valid.device) * valid
    return (order.amax(-1) - 1) % steps


class Layout(NamedTuple):
    """Where a sequence lies in the whole one it was cut from, and which of its steps are not padding."""

    first: int
    steps: int  # of the whole; positions and the causal mask count by it
    valid: Tensor | None = None  # (S, B, T) bool: other steps are hidden as keys; None: padding is data

    @property
    def place(self) -> tuple[int, int]:
        """What sequences that run together have in common."""
        return self.first, self.steps


class Laid(NamedTuple):
    """A sequence (S, B, T, d) with its layout."""

    x: Tensor
    layout: Layout

    @classmethod
    def of(cls, x: Tensor | Laid) -> Laid:
        """Take a tensor as a whole sequence without padding."""
        return x if isinstance(x, Laid) else cls(x, Layout(0, x.shape[2]))


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


class EncoderBank(nn.Module):
    """E transformer encoders of one width and depth; those whose inputs have equal lengths run as one."""

    def __init__(
        self,
        names: Sequence[str],
        width: int,
        heads: int,
        layers: int,
        *,
        rates: Sequence[float],
        embed_dropout: float,
        relu_dropout: float,
        res_dropout: float,
        stream: DropoutStream,
        causal: bool = True,
    ) -> None:
        """`rates` is the attention dropout of each encoder; `names` their names in the authors' code."""
        super().__init__()
        self.names, self.width, self.heads, self.causal = tuple(names), width, heads, causal
        self.embed_dropout = Dropout(embed_dropout, stream)
        self.blocks = nn.ModuleList(
            EncoderLayer(
                [f"{n}.layers.{i}" for n in names], width, heads,
                rates=rates, relu_dropout=relu_dropout, res_dropout=res_dropout, stream=stream,
            )
            for i in range(layers)
        )  # fmt: skip
        self.norm = LayerNorm([f"{n}.layer_norm" for n in names], width, stack=len(stream.seeds))

    def forward(
        self,
        queries: Sequence[Tensor | Laid],
        sources: Sequence[Tensor | Laid] | None = None,
        *,
        last_only: bool = False,
    ) -> list[Tensor]:
        """E queries (S, B, Tq, d) and, across modalities, E sources (S, B, Tk, d) -> E outputs (S, B, Tq, d).

        With `last_only` only the last step leaves, (S, B, d): the last valid one where padding is marked. Other steps
        of the last layer are then not computed. A plain tensor is a whole sequence, whose padding is data.
        """
        asked = [Laid.of(x) for x in queries]
        read = asked if sources is None else [Laid.of(x) for x in sources]
        together: dict[tuple[object, ...], list[int]] = {}
        for e, (query, key) in enumerate(zip(asked, read, strict=True)):
            alike = (query.x.shape[2], key.x.shape[2], query.layout.place, key.layout.place)
            together.setdefault(alike, []).append(e)
        outputs: list[Tensor | None] = [None] * len(asked)

        pieces: dict[int, tuple[Tensor, ...]] = {}

        def gathered(tensors: Sequence[Tensor | None]) -> Tensor | None:
            """Stack the members' tensors to (G, B, ...)."""
            found = [x for x in tensors if x is not None]
            return torch.stack(found, dim=1).flatten(0, 1) if found else None

        for members in together.values():
            mine, theirs = [asked[e] for e in members], [read[e] for e in members]
            x = torch.stack([one.x for one in mine], dim=1)  # (S, e, B, Tq, d)
            keys_valid = gathered([one.layout.valid for one in theirs])
            own = gathered([one.layout.valid for one in mine]) if last_only else None
            at = None if own is None else last_valid(own)
            hidden = None if keys_valid is None else ~keys_valid
            source = None if sources is None else gathered([one.x for one in theirs])
            where = (mine[0].layout, theirs[0].layout)
            out = self._run(x.flatten(0, 1), source, Members(members, pieces), where, hidden, last_only, at)
            for e, piece in zip(members, out.view(x.shape[0], len(members), *out.shape[1:]).unbind(1), strict=True):
                outputs[e] = piece[:, :, 0] if last_only else piece
        return [o for o in outputs if o is not None]

    def _run(
        self,
        x: Tensor,
        source: Tensor | None,
        members: Members,
        where: tuple[Layout, Layout],
        hidden: Tensor | None,
        last_only: bool,
        at: Tensor | None,
    ) -> Tensor:
        query, key_place = where
        offset = query.first - key_place.first + abs(key_place.steps - query.steps) if self.causal else None
        library = self._compiled(x, offset) if len(self.blocks) > last_only else None
        if library is not None:
            return self._run_compiled(library, x, source, members, where, offset, hidden, last_only, at)
        embedded = self._embed(x, query)
        x = self.embed_dropout(embedded)
        pair = None
        if source is not None:
            embedded = self._embed(source, key_place)
            # Drawn separately for key and value: in training the two differ. All layers read the same ones, and the
            # first LayerNorm, shared by query, key and value, has its scale and shift in the maps behind it.
            key = normalise(self.embed_dropout(embedded))
            pair = (key, normalise(self.embed_dropout(embedded)) if self.embed_dropout.active else key)
        for i, block in enumerate(self.blocks):
            one = last_only and i == len(self.blocks) - 1
            x = block(x, pair, members, offset=offset, hidden=hidden, one=one, at=at if one else None)
        return self.norm(x, members)

    def _run_compiled(
        self,
        library: compiled.Library,
        x: Tensor,
        source: Tensor | None,
        members: Members,
        where: tuple[Layout, Layout],
        offset: int | None,
        hidden: Tensor | None,
        last_only: bool,
        at: Tensor | None,
    ) -> Tensor:
        """`_run` by compiled code, all but a last layer of which one step is asked for."""
        queries = x.shape[2]
        keys = queries if source is None else source.shape[2]
        (x,) = self._begin(library, x, where[0], members, outputs=1)
        pair = None
        if source is not None:
            made = self._begin(library, source, where[1], members, outputs=2)
            pair = made[0], made[-1]  # without dropout they are one
        blocks = [cast(EncoderLayer, block) for block in self.blocks]
        for block in blocks[: len(blocks) - last_only]:
            x = block.in_lanes(library, x, pair, members, steps=(queries, keys), offset=offset, hidden=hidden)
        if not last_only:
            weight, shift = self.norm.group("weight", members), self.norm.group("bias", members)
            return compiled.finish(library, x, weight, shift, queries)
        rows = None
        if pair is not None:
            rows = compiled.from_lanes(library, pair[0], keys), compiled.from_lanes(library, pair[1], keys)
        x = compiled.from_lanes(library, x, queries)
        x = blocks[-1](x, rows, members, offset=offset, hidden=hidden, one=True, at=at)
        return self.norm(x, members)

    def _begin(
        self, library: compiled.Library, x: Tensor, place: Layout, members: Members, *, outputs: int
    ) -> tuple[Tensor, ...]:
        """Return inputs with positions, dropped `outputs` times (normalised where two are asked for), in lanes."""
        drop, drops = self.embed_dropout, None
        if drop.active:
            n = x.numel() // len(drop.stream.seeds)
            keys = tuple(drop.stream.take(draws_of(n)) for _ in range(outputs))
            drops = compiled.Drops(keys, noise_and_more(), lane_threshold(drop.rate), 1 / (1 - drop.rate))
        table = position_table(place.steps, self.width, x.dtype, x.device)[place.first : place.first + x.shape[2]]
        return compiled.begin(library, x, table, encoders=len(members.places), drops=drops, normed=outputs > 1)

    def _compiled(self, x: Tensor, offset: int | None) -> compiled.Library | None:
        """Return the compiled kernels if they compute this bank's layers."""
        return compiled.compiled_kernels(x) if compiled.fits(self.width // self.heads, offset) else None

    def _embed(self, x: Tensor, place: Layout) -> Tensor:
        """Scale by sqrt(width) and add positions, none where channel 0 is exactly 0 before scaling (-0 counts)."""
        table = position_table(place.steps, self.width, x.dtype, x.device)[place.first : place.first + x.shape[2]]
        return math.sqrt(self.width) * x + table * (x[..., :1] != 0)
