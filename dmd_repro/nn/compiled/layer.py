"""A layer of a bank of encoders on a CPU by compiled code: a clip goes through all of it while it is in cache.

Activations between layers are in lanes: (G, B, d, T), time last and filled with zeros to whole vectors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dmd_repro.nn.compiled.attention import Masks
from dmd_repro.nn.compiled.call import KEPT, LANES, PARAMETERS, LayerCall, Library, TurnCall


def whole(steps: int) -> int:
    """Return a number of steps filled to whole vectors."""
    return -(-steps // LANES) * LANES


class _Turned(torch.autograd.Function):
    """(G, B, T, d) to lanes, or back to T `steps`; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, library: Library, steps: int, to_lanes: bool) -> Tensor:
        ctx.how = library, steps, to_lanes
        return _turned(x, library, steps, to_lanes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        library, steps, to_lanes = ctx.how
        return _turned(grads[0], library, steps, not to_lanes), None, None, None


def _turned(x: Tensor, library: Library, steps: int, to_lanes: bool) -> Tensor:
    x = x.contiguous()
    g, b, d = x.shape[0], x.shape[1], x.shape[3 if to_lanes else 2]
    out = x.new_empty(g, b, d, whole(steps)) if to_lanes else x.new_empty(g, b, steps, d)
    library.run("kernels_turn", TurnCall, **{"from": x}, to=out, n=g * b, rows=steps, columns=d, to_lanes=int(to_lanes))
    return out


def to_lanes(library: Library, x: Tensor) -> Tensor:
    """(G, B, T, d) -> (G, B, d, T filled to whole vectors)."""
    out: Tensor = _Turned.apply(x, library, x.shape[2], True)
    return out


def from_lanes(library: Library, x: Tensor, steps: int) -> Tensor:
    """(G, B, d, T filled) -> (G, B, steps, d)."""
    out: Tensor = _Turned.apply(x, library, steps, False)
    return out


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, key: Tensor | None, value: Tensor | None, bias: Tensor | None, library: Library,
        how: dict[str, Any], *parameters: Tensor,
    ) -> Tensor:  # fmt: skip
        parameters = tuple(p.contiguous() for p in parameters)
        g, b, d, wide = x.shape
        kept: dict[str, Tensor] = {}
        if any(ctx.needs_input_grad):
            heads, keys = how["heads"], how["keys_n"]
            shapes = {"stats": (4, wide), "k": (keys, d), "v": (keys, d), "hidden": (4 * d, wide),
                      "inverse": (heads, wide), "shifts": (heads, wide)}  # fmt: skip
            kept = {name: x.new_empty(g, b, *shapes.get(name, (d, wide))) for name in KEPT}
        y = torch.empty_like(x)
        named = dict(zip(PARAMETERS, parameters, strict=True))
        library.run("kernels_layer", LayerCall, x=x, key=key, value=value, bias=bias, y=y, **named, **kept, **how)
        ctx.library, ctx.how, ctx.few = library, how, len(kept)
        ctx.save_for_backward(x, key, value, bias, *parameters, *kept.values())
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, key, value, bias, *rest = ctx.saved_tensors
        parameters, kept = rest[: len(PARAMETERS)], rest[len(PARAMETERS) :]
        fields = {"x": x, "key": key, "value": value, "bias": bias, **ctx.how, **dict(zip(KEPT, kept, strict=True))}
        fields |= dict(zip(PARAMETERS, parameters, strict=True))
        room = x.new_empty(ctx.library.run("kernels_layer_room", LayerCall, **fields))
        dx = torch.empty_like(x)
        dkey, dvalue = (None if t is None else torch.empty_like(t) for t in (key, value))
        found = [torch.empty_like(p) for p in parameters]
        ctx.library.run(
            "kernels_layer_back", LayerCall, **fields, grad=grads[0].contiguous(), dx=dx, dkey=dkey, dvalue=dvalue,
            room=room, **{f"g_{name}": t for name, t in zip(PARAMETERS, found, strict=True)},
        )  # fmt: skip
        return dx, dkey, dvalue, None, None, None, *found


def layer(
    library: Library, x: Tensor, source: tuple[Tensor, Tensor] | None, parameters: tuple[Tensor, ...], *, heads: int,
    queries: int, keys: int, offset: int | None, encoders: int, bias: Tensor | None, masks: Masks | None,
) -> Tensor:  # fmt: skip
    """x in lanes, source None or (key input, value input), normalised and in lanes -> the layer's output in lanes.

    `parameters` are those of PARAMETERS, (G, ...) each; q is scaled here. What `nn.encoder.EncoderLayer` computes
    without dropout behind its maps.
    """
    how = {
        "groups": x.shape[0], "clips": x.shape[1], "heads": heads, "width": x.shape[2], "queries": queries,
        "keys_n": keys, "causal": int(offset is not None), "offset": offset or 0, "encoders": encoders,
        **({} if masks is None else masks.fields(encoders)),
    }  # fmt: skip
    key, value = source or (None, None)
    out: Tensor = _Layer.apply(x, key, value, None if bias is None else bias.contiguous(), library, how, *parameters)
    return out
