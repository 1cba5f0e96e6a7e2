"""The rule of 0.1.0 and the words of today side by side: on the same tables, of the very same method and of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from draws import CELL, NUMBERS, PRINTED, ROWS, STD, Floats, generator, printed_as, rows_of
from old_rule import old_words

from dmd_repro.stats.lottery import even_bet
from dmd_repro.stats.stages import STAGES
from dmd_repro.stats.verdict import Compared, judge_row, one_run_interval

LEVEL = {stage.n: stage.level for stage in STAGES}
AGAINST = ("worse", "better", "mixed")
BETS = 60  # rows a line whose even bet is asked


@dataclass
class Rates:
    """Counts over simulated tables of ROWS rows."""

    tables: int = 0
    old_against: int = 0  # tables with some cell below or above
    old_same: int = 0  # tables with some cell reproduced
    against: int = 0  # rows that are worse, better or mixed
    tables_against: int = 0  # tables with such a row
    bare: int = 0  # rows with an arrow that has no mark: past the margin of a mean, and outside one run too
    incompatible: int = 0  # rows not compatible with one run
    even: list[float] = field(default_factory=list)  # the even bets on the best by the first number, of some rows
    words: Counter[str] = field(default_factory=Counter)

    def share(self, count: int, rows: bool = False) -> float:
        """Return a count as a share of the tables, or of their rows."""
        return count / (self.tables * (ROWS if rows else 1))


def compared(values: Floats, printed: Sequence[float]) -> list[Compared]:
    """Return a row for the rule: values (NUMBERS, n) in points."""
    return [Compared(tuple(v), x, CELL) for v, x in zip(values.tolist(), printed, strict=True)]


def same_method(law: str, what: str, n: int, correlation: float, tables: int) -> Rates:
    """Judge tables whose printed numbers come from the very same method as our runs: any word against is false."""
    draw = generator(n, int(100 * correlation), *law.encode()[:4], *what.encode()[:4])
    ours = PRINTED + STD * rows_of(draw, law, tables * ROWS, n, correlation).reshape(tables, ROWS, NUMBERS, n)
    printed = printed_as(draw, law, what, tables * ROWS, correlation).reshape(tables, ROWS, NUMBERS)
    out = Rates(tables)
    for rows, numbers in zip(ours, printed.tolist(), strict=True):
        family = [list(values) for row in rows for values in row]
        old = old_words(family, [x for row in numbers for x in row], cell=CELL)
        out.old_against += "below" in old or "above" in old
        out.old_same += "reproduced" in old
        words = []
        for row, xs in zip(rows, numbers, strict=True):
            cells = compared(row, xs)
            found = judge_row(cells, alpha=LEVEL[n])
            words.append(found.word)
            ends = [one_run_interval(cell, NUMBERS) for cell in cells]
            outside = [e is not None and not e[0] <= x <= e[1] for e, x in zip(ends, xs, strict=True)]
            out.incompatible += any(outside)
            out.bare += any(o and one.place in AGAINST for o, one in zip(outside, found.cells, strict=True))
            if len(out.even) < BETS:
                k, _ = even_bet(cells[0].values, xs[0] - CELL)
                out.even.append(np.inf if k is None else k)
        out.words.update(words)
        here = sum(word in AGAINST for word in words)
        out.against += here
        out.tables_against += here > 0
    return out


def at_truth(truth: float, std: float, n: int, rows: int) -> tuple[Counter[str], float]:
    """Judge rows whose every mean lies `truth` points below the printed number, at their stage, normal seeds.

    Return the words, and the share of rows with a false one: *reproduced* for a truth of the margin or more, *worse*
    for one of the margin or less, *better*.
    """
    draw = generator(int(1000 * truth), int(1000 * std), n)
    shift = draw.uniform(-CELL, CELL, (rows, NUMBERS, 1))  # the printed number is the truth's neighbour as printed
    ours = PRINTED + shift - truth + std * rows_of(draw, "normal", rows, n, 0.0)
    words = Counter(judge_row(compared(row, [PRINTED] * NUMBERS), alpha=LEVEL[n]).word for row in ours)
    false = words["better"] + words["mixed"] + (words["worse"] if truth <= 1 else 0)
    return words, (false + (words["reproduced"] if truth >= 1 else 0)) / rows


def at_margin(law: str, std: float, n: int, rows: int) -> tuple[float, float]:
    """Judge rows at the margin, above or below, whichever is worse: the shares of false words, at their stage.

    *reproduced*: one number of the row lies at the margin, the others where they were printed. *worse* or *better*:
    all lie at the margin.
    """
    same = other = 0.0
    for side in (1.0, -1.0):
        draw = generator(int(1000 * std), n, int(side > 0), *law.encode()[:4])
        ours = PRINTED + std * rows_of(draw, law, rows, n, 0.0)
        one, every = ours.copy(), ours + side
        one[:, 0] += side
        words = [
            [judge_row(compared(row, [PRINTED] * NUMBERS), alpha=LEVEL[n]).word for row in them]
            for them in (one, every)
        ]
        same = max(same, words[0].count("reproduced") / rows)
        other = max(other, sum(word in AGAINST for word in words[1]) / rows)
    return same, other


def looked_at(law: str, rows: int, looks: Sequence[int]) -> tuple[float, float, float, float]:
    """Look at growing rows again and again: the shares that once got a false word, by today's rule and the old one.

    Return (reproduced, worse or better) by the stages, then by the old rule, each at any of the `looks`. Below the
    margin as in `at_margin`, the STD 0.5 for *reproduced*, where the other numbers do not save the row.
    """
    draw = generator(len(looks), *law.encode()[:4])
    grown = rows_of(draw, law, rows, max(looks), 0.0)
    every = PRINTED - 1.0 + STD * grown
    one = PRINTED + 0.5 * grown
    one[:, 0] -= 1.0
    counts = np.zeros(4)
    for near, far in zip(one, every, strict=True):
        counts += _once_false(near, {"reproduced"}, {"reproduced"}, looks)[[0, 0, 1, 1]] * (1, 0, 1, 0)
        counts += _once_false(far, set(AGAINST), {"below", "above"}, looks)[[0, 0, 1, 1]] * (0, 1, 0, 1)
    return tuple((counts / rows).tolist())


def _once_false(row: Floats, new: set[str], old: set[str], looks: Sequence[int]) -> Floats:
    """Whether a row once got one of the words while it grew: by the stages, by the old rule."""
    once = np.zeros(2)
    for n in looks:
        if n in LEVEL:
            once[0] = max(once[0], judge_row(compared(row[:, :n], [PRINTED] * NUMBERS), alpha=LEVEL[n]).word in new)
        first = old_words([list(v[:n]) for v in row], [PRINTED] * NUMBERS, cell=CELL)
        # of the old rule's cells the first alone is at the margin, where reproduced is false
        once[1] = max(once[1], bool(old & set(first[:1] if "reproduced" in old else first)))
    return once


def one_run_over_looks(law: str, rows: int) -> float:
    """Return how often a row that printed one honest run is once called not compatible, looked at at every stage."""
    draw = generator(7, *law.encode()[:4])
    n = STAGES[-1].n
    ours = PRINTED + STD * rows_of(draw, law, rows, n, 0.8)
    printed = printed_as(draw, law, "one run", rows, 0.8)
    once = 0
    for row, xs in zip(ours, printed.tolist(), strict=True):
        outside = False
        for stage in STAGES:
            cells = compared(row[:, : stage.n], xs)
            ends = [one_run_interval(cell, NUMBERS) for cell in cells]
            outside |= any(e is not None and not e[0] <= x <= e[1] for e, x in zip(ends, xs, strict=True))
        once += outside
    return once / rows


def spread_of_margin(n: int, rows: int = 400) -> float:
    """Return the median of the smallest margin at which a row of the same mean is reproduced, in points."""
    draw = generator(11, n)
    found = []
    for row in PRINTED + STD * rows_of(draw, "normal", rows, n, 0.8):
        margin = judge_row(compared(row, [PRINTED] * NUMBERS), alpha=LEVEL[n]).smallest_margin
        found.append(np.inf if margin is None else margin)
    return float(np.median(found))
