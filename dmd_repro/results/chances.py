"""What a printed number may be: the chance that the measured method prints it or better, as a mean, one run or a best.

Only where the runs may be compared with the row, all of them ended and learned, and there are three or more: a normal
model of collapsed seeds would mislead. The chances explain; they decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import Printed
from dmd_repro.stats.chances import Chance, Hypothesis, chance_or_more
from dmd_repro.stats.summary import Summary
from dmd_repro.stats.verdict import half_cell

FEWEST = 3
ASKED: tuple[tuple[Hypothesis, int], ...] = (("mean", 1), ("mean", 5), ("best", 5), ("best", 20))
WORDS = {("mean", 1): "one run", ("mean", 5): "mean of 5", ("best", 5): "best of 5", ("best", 20): "best of 20"}


def chances_of(metric: str, printed: Printed, summary: Summary) -> tuple[Chance, ...]:
    """Return the chance of the printed number or better under each hypothesis; () where no normal model holds."""
    mean, std = summary.mean, summary.std
    if mean is None or std is None or std == 0 or summary.n < FEWEST:
        return ()
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    edge = sign * float(printed.value) - half_cell(printed.decimals)
    return _chances(edge, sign * mean, std, summary.n)


@lru_cache(maxsize=4096)
def _chances(edge: float, mean: float, std: float, n: int) -> tuple[Chance, ...]:
    return tuple(chance_or_more(hypothesis, k, edge, mean, std, n) for hypothesis, k in ASKED)


def to_json(chances: tuple[Chance, ...]) -> list[Mapping[str, Any]]:
    """Return chances as plain JSON values; `low` and `high` are the ends of the 90 % posterior interval."""
    return [{"as": c.hypothesis, "k": c.k, "chance": c.value, "low": c.low, "high": c.high} for c in chances]
