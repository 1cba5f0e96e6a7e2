"""Which stack goes where, so that all processes end together: the longest first, each to whoever is free first.

In that order the end is at most 4/3 of the earliest there is (Graham 1969). Where one stack is so long that the others
wait for it, it is cut over its seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapreplace

from dmd_repro.planning.stacks import Stack

# A stack of k seeds takes as long as ALONE + k: what a step on a card takes whatever its seeds (benchmarks.md).
ALONE = 4
WORTH = 0.05  # the share of the time to the end that a cut must save


def loads(seconds: Sequence[float], sides: int) -> list[tuple[float, ...]]:
    """Return the seconds that each of several processes gets, begun in this order: the next goes to the least loaded.

    No shorter time of any of them moves the end back, so with the most that each can take it is a bound.
    """
    found: list[list[float]] = [[] for _ in range(max(1, sides))]
    free = [(0.0, side) for side in range(len(found))]
    for one in seconds:
        ends, side = free[0]
        found[side].append(one)
        heapreplace(free, (ends + one, side))
    return [tuple(one) for one in found]


def most_seconds(seconds: Sequence[float], sides: int = 1) -> float:
    """Return when the last of them ends, begun in this order."""
    return max(map(sum, loads(seconds, sides)), default=0.0)


def stack_seconds(stack: Stack, seconds: Mapping[str, float]) -> float:
    """Return the seconds a stack can take, from those of its runs by id."""
    return sum(seconds[job.run_id] for job in stack)


def divide(
    stacks: Sequence[Stack], seconds: Mapping[str, float], sides: int, *, may_cut: Callable[[Stack], bool]
) -> list[tuple[Stack, float]]:
    """Return the stacks in the order in which `sides` processes begin them, with the most seconds that each takes.

    `seconds`: the most that each run can take as one of its stack, by run id. Those are cut that hold up the end, which
    together take longer then. On one side, nothing changes.
    """
    pieces = [(stack, stack_seconds(stack, seconds)) for stack in stacks]
    if sides < 2:
        return pieces
    pieces.sort(key=_length)
    while True:
        tried = [_cut(pieces, i) for i, (stack, _) in enumerate(pieces) if len(stack) > 1 and may_cut(stack)]
        best = min(tried, key=lambda one: _end(one, sides), default=pieces)
        if _end(best, sides) > (1 - WORTH) * _end(pieces, sides) or best is pieces:
            return pieces
        pieces = best


def _length(piece: tuple[Stack, float]) -> float:
    return -piece[1]


def _end(pieces: Sequence[tuple[Stack, float]], sides: int) -> float:
    return most_seconds([seconds for _, seconds in pieces], sides)


def _cut(pieces: Sequence[tuple[Stack, float]], at: int) -> list[tuple[Stack, float]]:
    """Return the pieces with one of them in two halves."""
    stack, seconds = pieces[at]
    half = -(-len(stack) // 2)
    parts = [(part, seconds * (ALONE + len(part)) / (ALONE + len(stack))) for part in (stack[:half], stack[half:])]
    return sorted([*pieces[:at], *parts, *pieces[at + 1 :]], key=_length)
