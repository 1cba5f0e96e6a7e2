"""What a plan's number of seeds can settle, said before any of it is trained."""

from __future__ import annotations

from statistics import median

from dmd_repro.papers.tables import PublishedTable
from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.evidence import why_no_word
from dmd_repro.results.rule import points_of
from dmd_repro.results.runs import Runs
from dmd_repro.results.tables import measure_table
from dmd_repro.stats.summary import mean_and_std
from dmd_repro.stats.verdict import ALPHA, FEWEST, MARGIN, half_cell, power_different, power_reproduced

ASSUMED = 1.1  # points: sample STD of ACC2 and ACC7 over 10 seeds in one independent study of DMD on MOSI
ASSUMED_WORDS = "assumed: one independent study of DMD on MOSI found it over 10 seeds"
FAR_OFF = 2.0  # points: the difference whose detection is named
TOO_LITTLE, ENOUGH, MOST = 0.2, 0.8, 1000


def power_lines(table: PublishedTable, plan: TablePlan, records: Records, margin: float = MARGIN) -> list[str]:
    """Return what to print under a plan: the power of its verdicts at this n, margin and a spread known or assumed.

    Raises RunError if the folder of runs cannot be read.
    """
    rows = {key: row for key, row in plan.rows.items() if row.status == "planned"}
    if not rows:
        return []
    n = max(len(row.runs) for row in rows.values())
    asked = [row for row in table.rows if row.key in rows]
    silent = list(dict.fromkeys(row.label for row in asked if why_no_word(row)))
    cells = sum(len(row.cells) for row in asked if not why_no_word(row))
    lines = [f"verdicts: none for {', '.join(silent)}, whose evidence is ours or second-hand"] if silent else []
    if not cells:
        return lines
    standings = {(row.features or {}).get("standing") for row in rows.values()}
    if "official" not in standings:
        lines.append("verdicts: none on these data, which are not the official split; the power below is for it")
    if n < FEWEST:
        lines.append(f"power: {n} runs a row give no headline verdict; it takes {FEWEST}")
        return lines
    std, source = _spread(table, plan, records)
    half = half_cell(1)
    at_best = power_reproduced(n, std, cell=half, margin=margin)
    corrected = power_reproduced(n, std, cell=half, margin=margin, alpha=ALPHA / cells)
    off = power_different(n, std, true=margin + FAR_OFF, cell=half, margin=margin)
    lines.append(
        f"power: {n} runs a row, margin {points_of(margin)}, spread {std:.2f} points ({source}): 'reproduced' is found "
        f"in {at_best:.0%} of cases if the mean is the printed number ({corrected:.0%} if all {cells} cells count "
        f"against it), 'below' or 'above' in {off:.0%} if it is {points_of(margin + FAR_OFF)} off"
    )
    if at_best < TOO_LITTLE:
        lines.append(f"{n} seeds cannot settle this: {ENOUGH:.0%} takes {runs_needed(std, half, margin)}")
    return lines


def runs_needed(std: float, half: float, margin: float = MARGIN, power: float = ENOUGH) -> str:
    """Return the fewest runs that find 'reproduced' with a power, in words; "over 1000 runs" beyond that."""
    low, high = FEWEST - 1, FEWEST
    while high <= MOST and power_reproduced(high, std, cell=half, margin=margin) < power:
        low, high = high, 2 * high
    if high > MOST:
        return f"over {MOST} runs"
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_reproduced(middle, std, cell=half, margin=margin) >= power
        low, high = (low, middle) if enough else (middle, high)
    return f"{high} runs"


def _spread(table: PublishedTable, plan: TablePlan, records: Records) -> tuple[float, str]:
    """Return the median spread over seeds of the plan's own finished runs, or the assumed one."""
    found, runs = [], 0
    for measured in measure_table(table, plan, Runs(records)).values():
        for values in measured.values.values():
            if len(values) > 1 and (std := mean_and_std(list(values.values()))[1]) > 0:
                found.append(std)
                runs = max(runs, len(values))
    if not found:
        return ASSUMED, ASSUMED_WORDS
    return median(found), f"median over the plan's finished rows, up to {runs} runs each"
