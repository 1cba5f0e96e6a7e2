"""A layer of a bank of encoders on a CPU by compiled code: a clip goes through all of it while it is in cache.

Activations between layers are in lanes: (G, B, d, T), time last and filled with zeros to whole vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmd_repro.nn.compiled.attention import Masks, call_fields
from dmd_repro.nn.compiled.call import LANES, PARAMETERS, PLACES, LayerCall, Library, TurnCall, product
from dmd_repro.nn.compiled.memory import Held
from dmd_repro.nn.dropout import DropoutStream, draws_of, lane_threshold, noise_and_more


def whole(steps: int) -> int:
    """Return a number of steps filled to whole vectors."""
    return -(-steps // LANES) * LANES


class _Turn(torch.autograd.Function):
    """Lanes to rows or rows to lanes; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, library: Library, steps: int, to_lanes: bool) -> Tensor:
        ctx.how = library, steps, to_lanes
        return _turned(x, library, steps, to_lanes=to_lanes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        library, steps, to_lanes = ctx.how
        return _turned(grads[0], library, steps, to_lanes=not to_lanes), None, None, None


def _turned(x: Tensor, library: Library, steps: int, *, to_lanes: bool) -> Tensor:
    x = x.contiguous()
    g, b, d = x.shape[0], x.shape[1], x.shape[3 if to_lanes else 2]
    out = x.new_empty(g, b, d, whole(steps)) if to_lanes else x.new_empty(g, b, steps, d)
    sizes = {"n": g * b, "rows": steps, "columns": d, "to_lanes": int(to_lanes)}
    library.run("kernels_turn", TurnCall, {"from": x, "to": out, **sizes})
    return out


def from_lanes(library: Library, x: Tensor, steps: int) -> Tensor:
    """(G, B, d, T filled) -> (G, B, steps, d)."""
    out: Tensor = _Turn.apply(x, library, steps, False)
    return out


def to_lanes(library: Library, x: Tensor) -> Tensor:
    """(G, B, T, d) -> (G, B, d, T filled)."""
    out: Tensor = _Turn.apply(x, library, x.shape[2], True)
    return out


class MapDrops(NamedTuple):
    """Dropout behind a layer's three maps: the keys of its draws, place after place, and the rate of each place."""

    keys: Tensor  # (S, draws, 2) int32
    noise: Tensor  # what keys are mixed into, with 64 words more that may be read
    rates: tuple[float, ...]  # of PLACES

    @classmethod
    def drawn(cls, stream: DropoutStream, n: int, rates: Sequence[float]) -> MapDrops | None:
        """Take the draws of one layer from the stream, as `Dropout` on its tensors would; None: nothing is dropped.

        n: elements of a seed behind the first and the last map; 4 n are behind the ReLU.
        """
        sizes = [size for size, rate in zip((n, 4 * n, n), rates, strict=True) if rate]
        if not sizes:
            return None
        return cls(stream.take(sum(draws_of(size) for size in sizes)), noise_and_more(), tuple(rates))

    def fields(self) -> dict[str, Any]:
        """Return them by the names of the struct."""
        return {
            "drawn": self.keys, "drawn_s": self.keys.stride(0), "noise": self.noise,
            **{f"least_{place}": lane_threshold(rate) for place, rate in zip(PLACES, self.rates, strict=True)},
            **{f"scale_{place}": 1 / (1 - rate) for place, rate in zip(PLACES, self.rates, strict=True)},
        }  # fmt: skip


class _Layer(torch.autograd.Function):
    """A layer of tensors by their names in the struct: what goes in, `x` first, and parameters."""

    @staticmethod
    def forward(
        ctx: Any, library: Library, how: dict[str, Any], flops: tuple[float, float], names: tuple[str, ...],
        *tensors: Tensor,
    ) -> Tensor:  # fmt: skip
        x, held = tensors[0], None
        fields = how | dict(zip(names, tensors, strict=True))
        if any(ctx.needs_input_grad):
            each = library.size("kernels_layer_kept", LayerCall, fields)
            held = Held({"kept": (x.shape[0] * x.shape[1] * each,)})
        y = torch.empty_like(x)
        library.run("kernels_layer", LayerCall, fields | {"y": y} | (held.parts if held else {}), flops[0])
        ctx.library, ctx.how, ctx.flops, ctx.names, ctx.held = library, how, flops[1], names, held
        ctx.save_for_backward(*tensors)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        fields = ctx.how | dict(zip(ctx.names, ctx.saved_tensors, strict=True)) | ctx.held.parts
        room = Held({"room": (ctx.library.size("kernels_layer_room", LayerCall, fields),)})
        found = {name: torch.empty_like(fields[name]) for name in ctx.names if name != "bias"}
        fields |= {("g_" if name in PARAMETERS else "d") + name: x for name, x in found.items()}
        fields |= {"grad": grads[0].contiguous(), **room.parts}
        ctx.library.run("kernels_layer_back", LayerCall, fields, ctx.flops)
        return None, None, None, None, *(found.get(name) for name in ctx.names)


def _computed(
    library: Library, how: dict[str, Any], drops: MapDrops | None, flops: tuple[float, float],
    tensors: Mapping[str, Tensor | None],
) -> Tensor:  # fmt: skip
    given = {name: x.contiguous() for name, x in tensors.items() if x is not None}
    how = how if drops is None else how | drops.fields()
    out: Tensor = _Layer.apply(library, how, flops, tuple(given), *given.values())
    return out


def layer(
    library: Library, x: Tensor, source: tuple[Tensor, Tensor] | None, parameters: Sequence[Tensor], *, heads: int,
    queries: int, keys: int, offset: int | None, encoders: int, bias: Tensor | None, masks: Masks | None,
    drops: MapDrops | None,
) -> Tensor:  # fmt: skip
    """x in lanes, source None or (key input, value input), normalised and in lanes -> the layer's output in lanes.

    `parameters` are those of PARAMETERS, (G, ...) each; q is scaled here. What `encoder_layer.EncoderLayer` computes.
    """
    d = x.shape[2]
    how = call_fields(x.shape[:2], heads, d, queries, keys, offset, encoders, masks)
    key, value = source or (None, None)
    maps, scores = 2.0 * x.shape[0] * x.shape[1] * d * d * (10 * queries + 2 * keys), product(how, d)
    tensors = {"x": x, "key": key, "value": value, "bias": bias, **dict(zip(PARAMETERS, parameters, strict=True))}
    return _computed(library, how, drops, (maps + 2 * scores, 2 * maps + 5 * scores), tensors)


def feed(
    library: Library, x: Tensor, read: Tensor | None, parameters: Sequence[Tensor], *, steps: int,
    drops: MapDrops | None,
) -> Tensor:  # fmt: skip
    """x in lanes -> y + feed(norm(y)) in lanes, y = x + drop(read): the second half of a layer, with `read` in lanes.

    `parameters` are the second half of PARAMETERS, (G, ...) each; one encoder a seed.
    """
    d = x.shape[2]
    how = call_fields(x.shape[:2], 1, d, steps, steps, None, 1, None)
    maps = 2.0 * x.shape[0] * x.shape[1] * d * d * 8 * steps
    tensors = {"x": x, "read": read, **dict(zip(PARAMETERS[6:], parameters, strict=True))}
    return _computed(library, how, drops, (maps, 2 * maps), tensors)


def attend(
    library: Library, x: Tensor, source: Tensor | None, parameters: Sequence[Tensor], *, heads: int, queries: int,
    keys: int,
) -> Tensor:  # fmt: skip
    """x in lanes, source None or normalised and in lanes -> what the output map gives, in lanes: a layer's first half.

    `parameters` are the first half of PARAMETERS, (G, ...) each; one encoder a seed, every key seen, no dropout.
    """
    d = x.shape[2]
    how = call_fields(x.shape[:2], heads, d, queries, keys, None, 1, None)
    maps, scores = 2.0 * x.shape[0] * x.shape[1] * d * d * 2 * (queries + keys), product(how, d)
    tensors = {"x": x, "key": source, "value": source, **dict(zip(PARAMETERS[:6], parameters, strict=True))}
    return _computed(library, how, None, (maps + 2 * scores, 2 * maps + 5 * scores), tensors)
