"""How large are the printed gaps beside the noise, in clips and in seeds; and what can six rows show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from dmd_repro.audit.types import (
    ARITHMETIC,
    Check,
    Evidence,
    Said,
    SeedSpread,
    cell,
    clips,
    counted,
    heading,
    in_points,
)
from dmd_repro.papers.tables import PublishedTable, Row, TableBlock
from dmd_repro.stats.paired import most_discordant
from dmd_repro.stats.power import power_two_samples, seeds_for_gap

Z = 1.959964  # two-sided 5 %
Z_POWER = Z + 0.841621  # 80 % power
CHI_SQUARE = 3.841459
FEWEST_RUNS = 5


def standard_error(percent: float, n: int) -> float:
    """Return the standard error, in points, of an accuracy of `percent` on n clips."""
    share = percent / 100
    return 100 * math.sqrt(share * (1 - share) / n)


def noise_floor(evidence: Evidence) -> Iterable[Said]:
    """Yield, per block and column, what the lead over the runner-up is in clips and how many seeds would show it."""
    for table, block in evidence.blocks("table1", "table2", "table5"):
        first = block.rows[0]
        for column in (c for c in block.columns if in_points(first, c) and counted(first, c) and len(block.rows) > 1):
            ordered = sorted(block.rows, key=lambda row: row.cells[column].value, reverse=True)
            yield _lead(evidence, table, ordered[0], ordered[1], column)


def _lead(evidence: Evidence, table: PublishedTable, top: Row, next_: Row, column: str) -> Said:
    n = clips(top.dataset, column)
    high, low = float(top.cells[column].value), float(next_.cells[column].value)
    gap = high - low
    names = f"{top.label} {top.cells[column].text} leads {next_.label} {next_.cells[column].text}"
    text = f"{heading(column)}: {names} by {gap:.1f} points"
    error = math.hypot(standard_error(high, n), standard_error(low, n))
    if column == "f1":
        text += f". Unpaired, the difference has a standard error of about {error:.1f} points (as for an accuracy)."
    else:
        count = round(gap * n / 100)
        text += f", {count} of {n} clips. Unpaired, the difference has a standard error of {error:.1f} points"
        text += f"; the number alone {standard_error(high, n):.1f}."
        exact, approximate = most_discordant(count), int(count**2 / CHI_SQUARE)
        text += (
            f" Paired on the same clips it is significant at 5 % only if the two disagree on at most {exact} clips"
            f" by the exact McNemar test ({approximate} by its chi-square version)."
            if exact
            else f" Paired, {count} clips are never significant by the exact McNemar test."
        )
        needed = math.ceil(2 * (Z_POWER * 100) ** 2 * (high / 100) * (1 - high / 100) / gap**2) if gap else 0
        text += f" Unpaired, 80 % power takes about {needed} clips." if gap else ""
    spread = evidence.spread(top.dataset, column)
    text += _seeds(gap, spread)
    small = gap < Z * error or gap < Z * spread.std * math.sqrt(2)
    return Said("flag" if small else "ok", text, certainty=_certainty(spread), **cell(table, top, column))


def _seeds(gap: float, spread: SeedSpread) -> str:
    if not gap:
        return ""
    n, apart = seeds_for_gap(gap, spread.std), Z * spread.std * math.sqrt(2)
    return (
        f" Over seeds (STD {spread.std:.1f} points, {spread.source}) two single runs of one system differ by up to "
        f"{apart:.1f} points in 95 % of cases; to show this gap with 80 % power takes {n} runs of each."
    )


def _certainty(spread: SeedSpread) -> str:
    return f"{ARITHMETIC}; the seed spread is {spread.source}"


def ablation_power(evidence: Evidence) -> Iterable[Said]:
    """Yield, per data set and column of Table 3, what its six rows can show of the parts."""
    for table, block in evidence.blocks("table3"):
        for column in (c for c in block.columns if in_points(block.rows[0], c)):
            yield _ablation(evidence, table, block, column)


def _ablation(evidence: Evidence, table: PublishedTable, block: TableBlock, column: str) -> Said:
    rows = sorted(block.rows, key=lambda row: len(row.recipe.mask.off) if row.recipe else 0)
    gaps = [float(a.cells[column].value - b.cells[column].value) for a, b in pairwise(rows)]
    spread = evidence.spread(block.rows[0].dataset, column)
    powers = [power_two_samples(FEWEST_RUNS, gap, spread.std) for gap in gaps]
    needed = [seeds_for_gap(gap, spread.std) if gap else None for gap in gaps]
    weak = sum(power < 0.8 for power in powers)
    text = (
        f"{block.key} {heading(column)}: steps between neighbouring rows "
        f"{', '.join(f'{gap:+.1f}' for gap in gaps)} points. With {FEWEST_RUNS} runs a row and a seed STD of "
        f"{spread.std:.1f} ({spread.source}) each is found with a power of "
        f"{', '.join(f'{power:.0%}' for power in powers)} (t test at 5 %, unpaired, before any correction); 80 % takes "
        f"{', '.join('no number' if n is None else str(n) for n in needed)} runs a row. "
        "The paper does not say how many runs a row is. "
        f"Six of the sixteen masks were printed, so no part's effect is known but in the order they were removed."
    )
    return Said(
        "flag" if weak else "ok",
        text,
        table=table,
        metric=column,
        certainty=_certainty(spread),
        setting=rows[0].setting,
    )


CHECKS = (
    Check(
        "noise-floor",
        "What is a printed lead beside the noise of clips and of seeds?",
        "official test clips; a run's accuracy varies over seeds",
        (
            "the numbers may be means over many seeds, whose noise is smaller",
            "systems agree on most clips, so a paired test sees smaller gaps",
        ),
        noise_floor,
    ),
    Check(
        "ablation-power",
        "Can the six rows of Table 3 tell the parts apart?",
        "independent runs a row, normal over seeds",
        ("rows may share seeds and data order, which pairs them", "each row may be a mean over many runs"),
        ablation_power,
        this_paper=True,
    ),
)
