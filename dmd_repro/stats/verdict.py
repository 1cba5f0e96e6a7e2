"""The word on a row if its printed numbers are means: reproduced, worse, better, mixed or inconclusive.

For one cell the quantity is d = (mean over the seeds) - (the printed number), m the margin. The printed number is only
known to its rounding cell, so every bound is widened by half a unit of its last decimal. At level alpha:

- a cell is *within* if the 1 - 2 alpha interval of d lies inside (-m, m): the two one-sided tests (TOST);
- it is *worse* or *better* if the one-sided bound of d lies past the margin, after Holm over the cells of the row.

The row is *reproduced* if every cell is within. All have to be, so no correction is needed (intersection-union). It is
*worse* or *better* if some cell is, *mixed* if one is worse and another better, else *inconclusive*, with its kind. The
error is per row and word; see `stages` for the level. The plain t test never decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from dmd_repro.stats.stages import ALPHA, Stage, next_stage
from dmd_repro.stats.summary import holm, mean_and_std, prediction_interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Word = Literal["reproduced", "worse", "better", "mixed", "inconclusive"]
Kind = Literal["straddles", "not after Holm", "no spread"]
Place = Literal["within", "worse", "better", "straddles"]
MARGIN = 1.0  # points
FEWEST = 5  # runs for a word
POWER, MOST = 0.8, 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """What n runs say about d = mean - printed, in the unit of the metric."""

    d: float
    interval: tuple[float, float]  # 1 - 2 alpha, widened by the rounding cell
    p_equivalence: float  # TOST: the larger of its two p-values
    p_below: float  # one-sided, against d >= -margin
    p_above: float  # one-sided, against d <= +margin
    level: float = ALPHA  # alpha
    n: int = 0

    @property
    def p_difference(self) -> float:
        """The smaller of the two one-sided p-values: they cannot both be small.

        Each is a test at alpha of its own; taking the smaller costs nothing while the standard error is well below the
        margin, and up to alpha more where it is far above it.
        """
        return min(self.p_below, self.p_above)

    @property
    def smallest_margin(self) -> float:
        """The margin beyond which the cell is *within*: the farther end of the interval from 0."""
        return max(abs(end) for end in self.interval)


@dataclass(frozen=True, slots=True)
class Compared:
    """One printed number of a row and the values over the seeds, both in points."""

    values: tuple[float, ...]
    printed: float
    cell: float = 0.0  # half a unit of the last printed decimal
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one cell lies, and what that rests on."""

    place: Place | None  # None: no test exists
    difference: Difference | None
    p_difference: float | None  # adjusted by Holm within the row


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """The word on a row, its kind where it is inconclusive, and its cells in the order given."""

    word: Word
    kind: Kind | None
    cells: tuple[Placed, ...]
    smallest_margin: float | None  # points: beyond it the word would be reproduced; None: no margin would do


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
        level=alpha,
        n=n,
    )


def judge_row(cells: Sequence[Compared], *, margin: float = MARGIN, alpha: float = ALPHA) -> RowVerdict:
    """Return the word on a row from the cells that may be compared, at level `alpha`.

    Raises ValueError for a row without cells.
    """
    if not cells:
        raise ValueError("a row without cells has no word")
    found = [difference(c.values, c.printed, cell=c.cell, margin=margin, alpha=alpha) for c in cells]
    tested = [i for i, d in enumerate(found) if d is not None]
    adjusted = dict(zip(tested, holm([d.p_difference for d in found if d is not None]), strict=True))
    placed = tuple(_placed(c, d, adjusted.get(i), alpha) for i, (c, d) in enumerate(zip(cells, found, strict=True)))
    places = {one.place for one in placed}
    word: Word = "inconclusive"
    kind: Kind | None = None
    if places == {"within"}:
        word = "reproduced"
    elif {"worse", "better"} <= places:
        word = "mixed"
    elif "worse" in places:
        word = "worse"
    elif "better" in places:
        word = "better"
    elif any(d is not None and d.p_difference <= alpha for d in found):
        kind = "not after Holm"
    else:
        kind = "no spread" if None in places else "straddles"
    margins = [None if d is None else d.smallest_margin for d in found]
    most = None if None in margins else max(m for m in margins if m is not None)
    return RowVerdict(word, kind, placed, most)


def _placed(cell: Compared, d: Difference | None, p_holm: float | None, alpha: float) -> Placed:
    if d is None or p_holm is None:
        return Placed(None, d, p_holm)
    place: Place = "straddles"
    if d.p_equivalence <= alpha:
        place = "within"
    elif p_holm <= alpha:
        below = d.p_below < d.p_above
        place = "worse" if below == cell.higher_is_better else "better"
    return Placed(place, d, p_holm)


def one_run_interval(cell: Compared, cells: int, alpha: float = ALPHA) -> tuple[float, float] | None:
    """Return the 1 - alpha/cells interval for ONE more run, widened by the rounding cell; None without a spread."""
    found = prediction_interval(cell.values, 1 - alpha / cells)
    return None if found is None else (found[0] - cell.cell, found[1] + cell.cell)


def runs_to_tell(
    cells: Sequence[Compared], stages: Sequence[Stage], margin: float = MARGIN, power: float = POWER
) -> int | None:
    """Return about how many runs would give a row a word with `power`, were its means and spreads the true ones.

    A stage beyond the runs at hand where there is one; more than the last stage has are counted at 0.05, as a new plan
    of one look would. None where no number up to MOST would: a mean lies at the margin, or nothing spreads.
    """
    known = [(mean_and_std(c.values), c) for c in cells if len(c.values) > 1]
    gaps = [(mean - c.printed, std, c.cell) for (mean, std), c in known if std > 0]
    n = max((len(c.values) for c in cells), default=0)
    if len(gaps) < len(cells) or not gaps:
        return None

    def enough(runs: int, alpha: float) -> bool:
        return power_of_row(gaps, runs, margin=margin, alpha=alpha) >= power

    following = next_stage(tuple(stages), n)
    while following is not None:
        if enough(following.n, following.level):
            return following.n
        following = next_stage(tuple(stages), following.n)
    return fewest(lambda runs: enough(runs, ALPHA), max(n, stages[-1].n))


def fewest(enough: Callable[[int], bool], above: int) -> int | None:
    """Return the fewest runs beyond `above` for which `enough(runs)` holds; None beyond MOST. It must stay true."""
    low, high = above, above + 1
    while not enough(high):
        if high >= MOST:
            return None
        low, high = high, min(MOST, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def power_of_row(
    gaps: Sequence[tuple[float, float, float]], n: int, *, margin: float = MARGIN, alpha: float = ALPHA
) -> float:
    """Return the chance that n runs give a row of cells (true d, spread, rounding cell) the word its truth deserves.

    *Reproduced* where every true d is inside the margin: the product over the cells, which is the least it can be as
    long as cells do not move against each other. *Worse* or *better* where one is not: the most telling cell alone, at
    the level Holm asks of the first.
    """
    if all(abs(d) < margin for d, _, _ in gaps):
        return math.prod(power_reproduced(n, std, true=d, cell=c, margin=margin, alpha=alpha) for d, std, c in gaps)
    first = alpha / len(gaps)
    out = [(d, std, c) for d, std, c in gaps if abs(d) >= margin]
    return max(power_different(n, std, true=d, cell=c, margin=margin, alpha=first) for d, std, c in out)


def power_reproduced(
    n: int, std: float, *, true: float = 0.0, cell: float = 0.0, margin: float = MARGIN, alpha: float = ALPHA
) -> float:
    """Return the chance that n runs put a cell *within* the margin if d is truly `true` and runs spread by `std`.

    Normal runs: given the sample STD the mean has to fall into a known window, which is averaged over the chi-square
    law of the sample variance. Accurate to 1e-7.
    """
    import numpy as np
    from scipy.special import chdtri, gammaln, ndtr

    if n < 2 or std <= 0:
        raise ValueError("power needs n >= 2 and a positive spread")
    error, df = std / math.sqrt(n), n - 1
    t, most, shift = t_quantile(1 - alpha, df), (margin - cell) / error, true / error
    low, high = np.sqrt(chdtri(df, [1 - 1e-13, 1e-13]))
    high = min(high, most / t * math.sqrt(df))  # a larger sample STD leaves no window
    if high <= low:
        return 0.0
    nodes, weights = _legendre()
    chi = (low + high) / 2 + (high - low) / 2 * nodes
    density = np.exp((df - 1) * np.log(chi) - chi**2 / 2 - (df / 2 - 1) * math.log(2) - gammaln(df / 2))
    reach = most - t * chi / math.sqrt(df)
    window = ndtr(reach - shift) - ndtr(-reach - shift)
    return float((high - low) / 2 * np.sum(weights * density * window))


@cache
def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    return np.polynomial.legendre.leggauss(96)


def power_different(
    n: int, std: float, *, true: float, cell: float = 0.0, margin: float = MARGIN, alpha: float = ALPHA
) -> float:
    """Return the chance that n runs put a cell past the margin, on the side of `true`, if d is truly `true`."""
    from scipy.special import nctdtr

    if n < 2 or std <= 0:
        raise ValueError("power needs n >= 2 and a positive spread")
    shift = (abs(true) - margin - cell) / (std / math.sqrt(n))
    if shift > 37:  # the noncentral t law underflows, and the power is 1 to every digit
        return 1.0
    return float(1.0 - nctdtr(n - 1, shift, t_quantile(1 - alpha, n - 1)))


def in_unit(placed: Placed, point: float) -> Placed:
    """Return a cell judged in points with its difference in the printed unit, of which a point is `point`."""
    d = placed.difference
    if d is None:
        return placed
    low, high = d.interval
    return replace(placed, difference=replace(d, d=d.d * point, interval=(low * point, high * point)))
