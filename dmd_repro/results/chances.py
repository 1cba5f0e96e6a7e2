"""What a printed number may be: the chance that the measured method prints it, as a mean, one run or a best of several.

Only where the runs may be compared with the row, none failed, and three or more learned. Where some did not learn, a
run is a draw from a mixture, and that is said. The chances explain; they decide no word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scipy.special import stdtr

from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Printed
from dmd_repro.stats.chances import Chance, Hypothesis, Mixture, best_by_validation, chances
from dmd_repro.stats.summary import Summary
from dmd_repro.stats.verdict import half_cell

FEWEST = 3
SHOWN: tuple[tuple[Hypothesis, int], ...] = (("one run", 1), ("mean", 5), ("best", 5), ("best", 20))
WORDS = {("one run", 1): "one run", ("mean", 5): "mean of 5", ("best", 5): "best of 5", ("best", 20): "best of 20"}


def chances_of(
    metric: str,
    printed: Printed,
    learned: Summary,
    others: Sequence[float] = (),
    scores: Sequence[tuple[float, float]] = (),
) -> tuple[Chance, ...]:
    """Return the chance of the printed number or better, and or worse, under each hypothesis; () without a model.

    `learned`: the values of the runs that learned; `others`: those of the runs that did not; `scores`: (validation MAE,
    value) of each run, for the best by validation.
    """
    mean, std = learned.mean, learned.std
    if mean is None or std is None or std == 0 or learned.n < FEWEST:
        return ()
    sign, half = 1.0 if METRICS[metric].higher_is_better else -1.0, half_cell(printed.decimals)
    value = sign * float(printed.value)
    mixture = Mixture(learned.n, tuple(sign * other for other in others))
    pairs = () if others else tuple((-loss, sign * score) for loss, score in scores)
    return _chances((value - half, value + half), sign * mean, std, learned.n, mixture, pairs)


@lru_cache(maxsize=4096)
def _chances(
    edges: tuple[float, float],
    mean: float,
    std: float,
    n: int,
    mixture: Mixture,
    pairs: tuple[tuple[float, float], ...],
) -> tuple[Chance, ...]:
    found = chances(edges, mean, std, n, mixture)
    return (*found, *best_by_validation(edges, [loss for loss, _ in pairs], [score for _, score in pairs]))


@dataclass(frozen=True, slots=True)
class MarginChances:
    """The chances that the method's mean lies below, within and above the margin around a printed number."""

    below: float
    within: float
    above: float

    def to_json(self) -> dict[str, float]:
        """Return them as plain JSON values; they sum to 1."""
        return {"below": self.below, "within": self.within, "above": self.above}


def margin_chances(printed: Printed, runs: Summary, margin: float) -> MarginChances | None:
    """Return where the mean over all seeds may lie: Student t around ours, the usual reference prior.

    `margin` is in the printed unit. None for fewer than three runs, or runs without a spread.
    """
    if runs.mean is None or not runs.std or runs.n < FEWEST:
        return None
    error, value = runs.std / math.sqrt(runs.n), float(printed.value)
    below, upto = (float(stdtr(runs.n - 1, (value + way * margin - runs.mean) / error)) for way in (-1, 1))
    return MarginChances(below, upto - below, 1 - upto)


def shown(found: Sequence[Chance]) -> tuple[Chance, ...]:
    """Return the few that stand in a narrow table, of the number or better, in the order of `WORDS`."""
    by = {(one.hypothesis, one.k): one for one in found if one.direction == "better"}
    return tuple(by[key] for key in SHOWN if key in by)


def to_json(found: Sequence[Chance]) -> list[Mapping[str, Any]]:
    """Return chances as plain JSON values; `low` and `high` are the ends of the 90 % posterior interval."""
    return [
        {"as": c.hypothesis, "k": c.k, "or": c.direction, "chance": c.value, "low": c.low, "high": c.high}
        for c in found
    ]
