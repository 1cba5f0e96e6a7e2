"""The order of clips: a function of seed, split and epoch only, so every model and mask sees the same batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dmd_repro.seeds import seed_for


def epoch_order(seed: int, split: str, epoch: int, n: int) -> NDArray[np.int64]:
    """Return the order (n,) in which the clips of a split are seen in one epoch."""
    generator = np.random.Generator(np.random.PCG64(seed_for(seed, "order", split, epoch)))
    return generator.permutation(n).astype(np.int64)


def batch_slices(n: int, batch_size: int) -> Iterator[slice]:
    """Yield the slices that cut n clips into batches; the last one may be smaller."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
