"""Who wants to know what the kernels do: a kernel of our own passes by torch's counters, so it tells them itself."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Watcher = Callable[[float, tuple[Tensor | None, ...]], None]  # told the operations of products, and what was touched
WATCHERS: list[Watcher] = []


def did(flops: float, *touched: Tensor | None) -> None:
    """Tell of one launch; nobody listens but `dmd bench` while it counts."""
    for watcher in WATCHERS:
        watcher(flops, touched)


def causal_pairs(queries: int, keys: int, offset: int | None) -> int:
    """Return how many pairs of a query and a key it sees there are: query i sees keys up to i + `offset`."""
    if offset is None:
        return queries * keys
    rising = max(0, min(queries, keys - 1 - offset))  # queries that do not see all keys
    return rising * (offset + 1) + rising * (rising - 1) // 2 + (queries - rising) * keys
