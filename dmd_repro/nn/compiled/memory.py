"""Memory that compiled kernels work in, kept from step to step: the system clears every page it gives anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

LINE = 16  # float32 of a cache line: where every part begins
MOST = 32  # pieces that are kept while nobody uses them
_free: list[Tensor] = []


class Held:
    """A piece of memory, cut into named tensors; it can be used again once nobody holds this."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        sizes = {name: -(-_product(shape) // LINE) * LINE for name, shape in shapes.items()}
        self.whole, at = _take(sum(sizes.values())), 0
        self.parts: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            self.parts[name] = self.whole[at : at + _product(shape)].view(*shape)
            at += sizes[name]

    def __del__(self) -> None:
        """Give it back; of those that nobody uses the smallest goes where there are many."""
        if _free is None:  # the interpreter ends
            return
        _free.append(self.whole)
        if len(_free) > MOST:
            _free.sort(key=Tensor.numel)
            del _free[0]


def _product(shape: Sequence[int]) -> int:
    n = 1
    for side in shape:
        n *= side
    return n


def _take(n: int) -> Tensor:
    """Return the smallest free piece that holds n float32, or a new one."""
    fitting = [i for i, piece in enumerate(_free) if piece.numel() >= n]
    if fitting:
        return _free.pop(min(fitting, key=lambda i: _free[i].numel()))
    with torch.inference_mode(mode=False):
        return torch.empty(n)
