"""What each part is worth when every set of parts has been measured: Shapley values and pairwise interactions.

Shapley, "A value for n-person games" (1953); the interaction index of Grabisch and Roubens, International Journal of
Game Theory 28 (1999). Pure functions of a table from sets of parts to a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

Worth = Mapping[frozenset[str], float]


def coalitions(players: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield every set of players, the smaller first."""
    for size in range(len(players) + 1):
        for chosen in combinations(players, size):
            yield frozenset(chosen)


def shapley_values(worth: Worth, players: Sequence[str]) -> dict[str, float]:
    """Return each player's mean marginal worth over all orders in which the players can join.

    They add up to worth(all) - worth(none). `worth` must hold every set of players (KeyError).
    """
    n = len(players)
    return {
        i: math.fsum(
            math.factorial(len(s)) * math.factorial(n - len(s) - 1) / math.factorial(n) * (worth[s | {i}] - worth[s])
            for s in coalitions([p for p in players if p != i])
        )
        for i in players
    }


def interactions(worth: Worth, players: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return, for each pair, how much more both are worth together than the sum of each alone, averaged over the rest.

    Above 0: they help each other; below 0: one does the other's work.
    """
    n = len(players)
    out = {}
    for i, j in combinations(players, 2):
        rest = [p for p in players if p not in (i, j)]
        out[i, j] = math.fsum(
            math.factorial(len(s)) * math.factorial(n - len(s) - 2) / math.factorial(n - 1)
            * (worth[s | {i, j}] - worth[s | {i}] - worth[s | {j}] + worth[s])
            for s in coalitions(rest)
        )  # fmt: skip
    return out
