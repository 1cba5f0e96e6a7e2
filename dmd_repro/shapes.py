"""One grammar for shapes: axis letters, and the check that names them in its message.

Letters: B clips, T_l T_a T_v steps, D_l D_a D_v feature widths, d model width, S stacked seeds, E encoders of a bank,
H heads. A number stands for itself, `_` for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dmd_repro.errors import DataError

MODALITIES = ("l", "a", "v")  # language, acoustic, visual: one order everywhere
MODALITY_NAMES = {"l": "language", "a": "acoustic", "v": "visual"}
SPLITS = ("train", "valid", "test")
EVALUATED = ("valid", "test")  # what is predicted after every epoch; only valid is ever selected by


class HasShape(Protocol):
    """Anything with a shape: a numpy array, a torch tensor, a header that was read but not loaded."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_shape(name: str, x: HasShape, pattern: str, known: Mapping[str, int] | None = None) -> dict[str, int]:
    """Match the shape of `x` against `pattern` ("B T_l D_l") and return the sizes the letters took.

    Letters already in `known` must agree with it. Raises DataError naming the array, the pattern and the shape found.
    """
    sizes = dict(known or {})
    axes = pattern.split()
    shape = tuple(int(n) for n in x.shape)
    ok = len(axes) == len(shape)
    for axis, n in zip(axes, shape, strict=False):
        if axis == "_":
            continue
        want = int(axis) if axis.isdigit() else sizes.setdefault(axis, n)
        ok = ok and want == n
    if not ok:
        fixed = {k: v for k, v in (known or {}).items() if k in axes}
        with_ = f" with {', '.join(f'{k} = {v}' for k, v in fixed.items())}" if fixed else ""
        raise DataError.at(
            name, expected=f"shape ({', '.join(axes)}){with_}", got=str(shape), do="Check which array was stored here"
        )
    return sizes
