"""Weights and inputs out of names: FNV-1a seeds, splitmix64 numbers, one rounding to float16."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEP, FIRST, SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))  # splitmix64


def seed(name: str) -> int:
    """Return the 64-bit FNV-1a hash of a name."""
    found = 0xCBF29CE484222325
    for byte in name.encode():
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


def mixed(name: str, count: int) -> NDArray[np.uint64]:
    """Return the first `count` 64-bit numbers of a name."""
    state = np.arange(count, dtype=np.uint64) + np.uint64(seed(name)) + STEP
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    return state ^ (state >> np.uint64(31))


def unit(name: str, count: int) -> Floats:
    """Return numbers in [0, 1): the upper 24 bits."""
    return (mixed(name, count) >> np.uint64(40)).astype(np.float64) / 2**24


def tensor(name: str, shape: Sequence[int], a: float, b: float) -> Floats:
    """Return the tensor of a name: a + b (2u - 1), each number rounded once to float16."""
    values = a + b * (2 * unit(name, math.prod(shape)) - 1)
    return values.astype(np.float16).astype(np.float64).reshape(shape)


def scale(name: str, shape: Sequence[int], scales: Iterable[Sequence[Any]] = ()) -> tuple[float, float]:
    """Return a and b of a weight: the file's own rule, or that of its number of axes and name."""
    for pattern, a, b in scales:
        if fnmatchcase(name, pattern):
            if isinstance(b, str):
                kind, factor = b.split("*")
                n = {"fan_in": math.prod(shape[1:]), "rows": shape[0]}[kind]
                return a, float(factor) * math.sqrt(3 / n)
            return a, float(b)
    if len(shape) > 1:
        return 0.0, math.sqrt(3 / math.prod(shape[1:]))
    return (1.0 if name.endswith("running_var") or (name.endswith(".weight") and "norm" in name) else 0.0), 0.15


def weights(figures: Mapping[str, Any]) -> dict[str, Floats]:
    """Return every parameter of a file by name."""
    shapes = {name: entry[0] for name, entry in figures["gradients"].items()}
    return {n: tensor(n, s, *scale(n, s, figures["scales"])) for n, s in shapes.items()}


def padded(x: Floats, steps: Sequence[int], side: str) -> Floats:
    """Return clips (N, T, D) with so many steps of each set to 0 at one side."""
    x = x.copy()
    for clip, n in enumerate(steps):
        x[clip, :n] *= side != "left"
        x[clip, x.shape[1] - n :] *= side != "right"
    return x


def sequences(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Floats]:
    """Return text, audio and vision of `inputs` or of a trajectory's `pool`: (clips, steps, width), one vector a clip.

    Where a file has random draws they are there as `draw_l` ..., each (clips, width of z).
    """
    found, clips = {}, len(inputs["labels"])
    order = "avl" if "dims_a_v_l" in settings else "lav"
    widths = dict(zip(order, settings[f"dims_{'_'.join(order)}"], strict=True))
    if "text_steps" in settings and order == "avl":
        steps = {"l": settings["text_steps"]}  # acoustic and visual are pooled: no time axis
    else:
        steps = dict(zip("lav", settings.get("steps_l_a_v") or [settings["steps"]] * 3, strict=True))
    for m, source in (("l", "text"), ("a", "audio"), ("v", "vision")):
        shape = (clips, steps[m], widths[m]) if m in steps else (clips, widths[m])
        x = tensor(inputs[source][0], shape, *inputs[source][1:])
        found[source] = padded(x, inputs["padding"][source], inputs["padding_side"]) if m in steps else x
    for k, (name, *scales) in inputs.get("draws", {}).items():
        width = dict(zip("ylav", settings["z_y_l_a_v"], strict=True))[k]
        found[f"draw_{k}"] = tensor(name, (clips, width), *scales)
    return found


def probe(name: str, shape: Sequence[int]) -> Floats:
    """Return what a gradient is projected on: it sees a turn that a norm does not."""
    return tensor(f"probe/{name}", shape, 0.0, 1.0)
