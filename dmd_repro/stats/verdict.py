"""The headline verdict on one printed number, one rule for all: reproduced, below, above or inconclusive.

The quantity is d = (mean over all seeds) - (the paper's number), m the margin. The paper's number is only known to its
rounding cell, so every bound is widened by half a unit of its last decimal.

- reproduced: the 90 % interval of d lies inside (-m, m); this is the two one-sided tests (TOST) at 5 %;
- below / above: the one-sided 95 % bound of d lies past -m / +m;
- inconclusive: neither. Fewer than 5 runs, equal runs or a failed run allow no verdict but this, with the reason.

Over a family (the measured cells of a table) the p-values are adjusted by Holm, equivalence and difference apart; the
intervals stay as they are. The plain t test never decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dmd_repro.stats.summary import CONSTANT, NO_RUNS, TOO_FEW, holm, mean_and_std, t_quantile

Word = Literal["reproduced", "below", "above", "inconclusive"]
MARGIN = 1.0  # points
ALPHA = 0.05
FEWEST = 5  # runs for a headline verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """What n runs say about d = mean - printed, in the unit of the metric."""

    d: float
    interval: tuple[float, float]  # 90 %, widened by the rounding cell
    p_equivalence: float  # TOST: the larger of its two p-values
    p_below: float  # one-sided, against d >= -margin
    p_above: float  # one-sided, against d <= +margin

    @property
    def p_difference(self) -> float:
        """The smaller of the two one-sided p-values: they cannot both be small.

        Each is a test at 5 % of its own; taking the smaller costs nothing while the standard error is well below the
        margin, and up to 5 % more where it is far above it.
        """
        return min(self.p_below, self.p_above)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, and what it rests on."""

    word: Word
    difference: Difference | None
    p_equivalence: float | None  # adjusted over the family
    p_difference: float | None  # adjusted over the family
    why: str | None  # why there is no other word, where that is not the data's doing


def half_cell(decimals: int) -> float:
    """Return half a unit of the last printed decimal: how far the number before rounding may have been."""
    return 0.5 * 10.0**-decimals


def difference(
    values: Sequence[float], printed: float, *, cell: float = 0.0, margin: float = MARGIN, alpha: float = ALPHA
) -> Difference | None:
    """Compare values over seeds with a printed number known to ± `cell`; None for n < 2 or equal values."""
    from scipy.special import stdtr

    if len(values) < 2:
        return None
    mean, std = mean_and_std(values)
    if std == 0:
        return None
    n, d = len(values), mean - printed
    error, df = std / math.sqrt(n), n - 1
    half = t_quantile(1 - alpha, df) * error + cell

    def upper_tail(x: float) -> float:
        return float(stdtr(df, -x / error))

    return Difference(
        d=d,
        interval=(d - half, d + half),
        p_equivalence=max(upper_tail(d - cell + margin), upper_tail(margin - cell - d)),
        p_below=upper_tail(-margin - cell - d),
        p_above=upper_tail(d - cell - margin),
    )


def verdicts(
    family: Sequence[Sequence[float]],
    printed: Sequence[float],
    *,
    cells: Sequence[float],
    failed: Sequence[int],
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> list[Verdict]:
    """Return one verdict per cell of a family: its values over seeds, printed number, rounding cell, failed runs.

    A cell that allows no verdict is not part of the family Holm's correction counts.
    """
    found = [
        difference(values, number, cell=cell, margin=margin, alpha=alpha)
        for values, number, cell in zip(family, printed, cells, strict=True)
    ]
    whys = [_why(values, n) for values, n in zip(family, failed, strict=True)]
    decided = [i for i, why in enumerate(whys) if why is None]
    tested = {i: d for i in decided if (d := found[i]) is not None}
    equivalence = dict(zip(tested, holm([d.p_equivalence for d in tested.values()]), strict=True))
    different = dict(zip(tested, holm([d.p_difference for d in tested.values()]), strict=True))
    out = []
    for i, (one, why) in enumerate(zip(found, whys, strict=True)):
        word: Word = "inconclusive"
        if i in tested:
            if equivalence[i] <= alpha:
                word = "reproduced"
            elif different[i] <= alpha:
                word = "below" if tested[i].p_below < tested[i].p_above else "above"
        out.append(Verdict(word, one, equivalence.get(i), different.get(i), why))
    return out


def _why(values: Sequence[float], failed: int) -> str | None:
    if failed:
        return f"{failed} of {len(values) + failed} runs failed, and leaving them out would flatter the mean"
    if not values:
        return NO_RUNS
    if len(values) == 1:
        return TOO_FEW
    if min(values) == max(values):
        return CONSTANT
    if len(values) < FEWEST:
        return f"{len(values)} runs: a verdict needs {FEWEST}"
    return None


def power_reproduced(
    n: int, std: float, *, true: float = 0.0, cell: float = 0.0, margin: float = MARGIN, alpha: float = ALPHA
) -> float:
    """Return the chance that n runs give *reproduced* (before Holm) if d is truly `true` and one run spreads by `std`.

    Normal runs: given the sample STD the mean has to fall into a known window, which is averaged over the chi-square
    law of the sample variance. Accurate to about 1e-5.
    """
    import numpy as np
    from scipy.special import chdtri, ndtr

    if n < 2 or std <= 0:
        raise ValueError("power needs n >= 2 and a positive spread")
    error, df = std / math.sqrt(n), n - 1
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    sample = np.sqrt(chdtri(df, 1 - quantiles) / df)  # sample STD / true STD, at equally likely values
    reach = (margin - cell) / error - t_quantile(1 - alpha, df) * sample
    shift = true / error
    window = np.where(reach > 0, ndtr(reach - shift) - ndtr(-reach - shift), 0.0)
    return float(np.mean(window))


def power_different(
    n: int, std: float, *, true: float, cell: float = 0.0, margin: float = MARGIN, alpha: float = ALPHA
) -> float:
    """Return the chance that n runs give *below* (or *above*, by the sign of `true`) if d is truly `true`."""
    from scipy.special import nctdtr

    if n < 2 or std <= 0:
        raise ValueError("power needs n >= 2 and a positive spread")
    shift = (abs(true) - margin - cell) / (std / math.sqrt(n))
    return float(1.0 - nctdtr(n - 1, shift, t_quantile(1 - alpha, n - 1)))
