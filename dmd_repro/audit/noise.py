"""How large are the printed leads beside the noise, in clips and in seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dmd_repro.audit.types import (
    ARITHMETIC,
    AuditInput,
    Check,
    Said,
    SeedSpread,
    cell,
    clips,
    counted,
    heading,
    in_points,
)
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.stats.paired import most_discordant
from dmd_repro.stats.power import seeds_for_gap

Z = 1.959964  # two-sided 5 %
Z_POWER = Z + 0.841621  # 80 % power
CHI_SQUARE = 3.841459


def standard_error(percent: float, n: int) -> float:
    """Return the standard error, in points, of an accuracy of `percent` on n clips."""
    share = percent / 100
    return 100 * math.sqrt(share * (1 - share) / n)


def noise_floor(evidence: AuditInput) -> Iterable[Said]:
    """Yield, per block and column, what the lead over the runner-up is in clips and beside the seeds; then in all."""
    leads = []
    for table, block in evidence.blocks("table1", "table2", "table5"):
        first = block.rows[0]
        for column in (c for c in block.columns if in_points(first, c) and counted(first, c) and len(block.rows) > 1):
            ordered = sorted(block.rows, key=lambda row: row.cells[column].value, reverse=True)
            leads.append(_lead(evidence, table, ordered[0], ordered[1], column))
    yield from leads
    small = sum(lead.status == "flag" for lead in leads)
    if small:
        head = f"{small} of {len(leads)} leads over the runner-up are within unpaired noise."
        text = f"{head} Of other clips, or of seeds where their spread is measured; paired, a lead can be more."
        yield Said("flag", text, head=head)


def _lead(evidence: AuditInput, table: PublishedTable, top: Row, next_: Row, column: str) -> Said:
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
        text += f"; the number alone {standard_error(high, n):.1f}. {discordant_words(high, low, n)}"
        needed = math.ceil(2 * (Z_POWER * 100) ** 2 * (high / 100) * (1 - high / 100) / gap**2) if gap else 0
        text += f" Unpaired, 80 % power takes about {needed} clips." if gap else ""
    spread = evidence.spread(top, column)
    text += _seeds(gap, spread)
    small = gap < Z * error or (spread is not None and gap < Z * spread.std * math.sqrt(2))
    certainty = f"{ARITHMETIC}; no seed spread is assumed" if spread is None else ARITHMETIC
    return Said("flag" if small else "ok", text, certainty=certainty, **cell(table, top, column))


def discordant_words(high: float, low: float, n: int) -> str:
    """Say on how many clips two systems may disagree for a lead to be significant, paired, at 5 %.

    They can disagree on the lead at least, and at most on as many clips as their errors cover: c clips the better one
    alone gets wrong (no more than it has errors, nor than the other gets right), and lead + c the other way.
    """
    count = round((high - low) * n / 100)
    right, other = round(high * n / 100), round(low * n / 100)
    most = count + 2 * min(n - right, other)
    exact, approximate = most_discordant(count), int(count**2 / CHI_SQUARE)
    if not exact:
        return f"Paired, {count} clips are never significant by the exact McNemar test."
    if exact >= most:
        return (
            f"Paired on the same clips it is always significant at 5 %: the two can disagree on at most {most} clips, "
            "the errors there are."
        )
    return (
        f"Paired on the same clips it is significant at 5 % only if the two disagree on at most {exact} clips by the "
        f"exact McNemar test ({approximate} by its chi-square version); they can disagree on {count} to {most}."
    )


def _seeds(gap: float, spread: SeedSpread | None) -> str:
    if not gap:
        return ""
    even = gap / (Z * math.sqrt(2))
    text = f" Over seeds: as single runs it exceeds the noise (95 %) only if the seed STD is below {even:.2f}."
    if spread is None:
        return text
    runs = seeds_for_gap(gap, spread.std)
    return f"{text} Measured: {spread.words}; at that STD 80 % power takes {runs} runs of each."


CHECKS = (
    Check(
        "noise-floor",
        "What is a printed lead beside the noise of clips and of seeds?",
        "official test clips; a run's accuracy varies over seeds; a seed spread counts from five runs on",
        (
            "the numbers may be means over many seeds, whose noise is smaller",
            "systems agree on most clips, so a paired test sees smaller gaps",
        ),
        noise_floor,
    ),
)
