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
from dmd_repro.nn.dropout import Dropout, DropoutStream, draws_of, lane_threshold, noise_and_more
from dmd_repro.nn.encoder_layer import EncoderLayer
from dmd_repro.nn.layers import LayerNorm, Members, normalise
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
