"""The rule of 0.1.0, kept to be compared with: one word a cell, Holm over the whole table, always at 5 %."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.stats.summary import holm
from dmd_repro.stats.verdict import MARGIN, difference

ALPHA = 0.05


def old_words(
    family: Sequence[Sequence[float]], printed: Sequence[float], *, cell: float, margin: float = MARGIN
) -> list[str]:
    """Return reproduced, below, above or inconclusive for each cell of a table: its values, and its printed number."""
    found = [
        difference(values, number, cell=cell, margin=margin) for values, number in zip(family, printed, strict=True)
    ]
    tested = [d for d in found if d is not None]
    equivalence = iter(holm([d.p_equivalence for d in tested]))
    different = iter(holm([d.p_difference for d in tested]))
    words = []
    for d in found:
        word = "inconclusive"
        if d is not None:
            same, other = next(equivalence), next(different)
            if same <= ALPHA:
                word = "reproduced"
            elif other <= ALPHA:
                word = "below" if d.p_below < d.p_above else "above"
        words.append(word)
    return words
