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
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, key: Tensor | None, value: Tensor | None, bias: Tensor | None, library: Library,
        how: dict[str, Any], *parameters: Tensor,
    ) -> Tensor:  # fmt: skip
        parameters = tuple(p.contiguous() for p in parameters)
        held = None
        if any(ctx.needs_input_grad):
            each = library.size("kernels_layer_kept", LayerCall, how)
            held = Held({"kept": (x.shape[0] * x.shape[1] * each,)})
        y = torch.empty_like(x)
        fields = {
            "x": x,
            "key": key,
            "value": value,
            "bias": bias,
            "y": y,
            **dict(zip(PARAMETERS, parameters, strict=True)),
        }
        fields |= held.parts if held else {}
        library.run("kernels_layer", LayerCall, fields | how, flops(how, backward=False))
        ctx.library, ctx.how, ctx.held = library, how, held
        ctx.save_for_backward(x, key, value, bias, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, key, value, bias, *parameters = ctx.saved_tensors
        fields = {"x": x, "key": key, "value": value, "bias": bias, **ctx.how, **ctx.held.parts}
        fields |= dict(zip(PARAMETERS, parameters, strict=True))
        room = Held({"room": (ctx.library.size("kernels_layer_room", LayerCall, fields),)})
        dx = torch.empty_like(x)
        dkey, dvalue = (None if t is None else torch.empty_like(t) for t in (key, value))
        found = [torch.empty_like(p) for p in parameters]
        fields |= {"grad": grads[0].contiguous(), "dx": dx, "dkey": dkey, "dvalue": dvalue, **room.parts}
        fields |= {f"g_{name}": t for name, t in zip(PARAMETERS, found, strict=True)}
        ctx.library.run("kernels_layer_back", LayerCall, fields, flops(ctx.how, backward=True))
        return dx, dkey, dvalue, None, None, None, *found


def flops(how: Mapping[str, Any], *, backward: bool) -> float:
    """Return the operations of a layer's products, its attention's included."""
    d, queries, keys = how["width"], how["queries"], how["keys_n"]
    maps = 2.0 * how["groups"] * how["clips"] * d * d * (10 * queries + 2 * keys)
    return 2 * maps + 5 * product(how, d) if backward else maps + 2 * product(how, d)


def layer(
    library: Library, x: Tensor, source: tuple[Tensor, Tensor] | None, parameters: tuple[Tensor, ...], *, heads: int,
    queries: int, keys: int, offset: int | None, encoders: int, bias: Tensor | None, masks: Masks | None,
    drops: MapDrops | None,
) -> Tensor:  # fmt: skip
    """x in lanes, source None or (key input, value input), normalised and in lanes -> the layer's output in lanes.

    `parameters` are those of PARAMETERS, (G, ...) each; q is scaled here. What `nn.encoder.EncoderLayer` computes.
    """
    how = call_fields(x.shape[:2], heads, x.shape[2], queries, keys, offset, encoders, masks)
    if drops is not None:
        how |= drops.fields()
    key, value = source or (None, None)
    out: Tensor = _Layer.apply(x, key, value, None if bias is None else bias.contiguous(), library, how, *parameters)
    return out
