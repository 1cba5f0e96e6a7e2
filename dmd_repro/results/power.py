"""What a plan's seeds can settle, said before any of it is trained: for the rule that will decide each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.evidence import why_no_word
from dmd_repro.results.rule import points_of
from dmd_repro.results.runs import Measured, Runs
from dmd_repro.results.tables import measure_table
from dmd_repro.stats.stages import ALPHA, STAGES, Stage, reached, stages_of
from dmd_repro.stats.summary import mean_and_std
from dmd_repro.stats.verdict import FEWEST, MOST, POWER, fewest, half_cell, power_different, power_of_row

ASSUMED = 1.1  # points: sample STD of ACC2 and ACC7 over 10 seeds in one independent study of DMD on MOSI
FAR_OFF = 2.0  # points beyond the margin: the difference whose detection is named

Gaps = tuple[tuple[float, float, float], ...]  # of each printed cell: true d, spread, rounding cell, in points


@dataclass(frozen=True, slots=True)
class RowPower:
    """A planned row: the power of *reproduced* at the plan's runs, were its means the printed ones."""

    key: str
    label: str
    n: int
    gaps: Gaps
    measured: bool  # whether the spread is of the row's own runs

    def reproduced(self, stage: Stage, margin: float) -> float:
        """The least chance of *reproduced* at a stage."""
        return power_of_row(self.gaps, stage.n, margin=margin, alpha=stage.level)

    def different(self, stage: Stage, margin: float) -> float:
        """The chance of *worse* or *better* if one number, the one that spreads most, is far off."""
        _, std, cell = max(self.gaps, key=lambda gap: gap[1])
        level = stage.level / len(self.gaps)
        return power_different(stage.n, std, true=margin + FAR_OFF, cell=cell, margin=margin, alpha=level)

    def needed(self, margin: float, one_look: bool) -> Stage | None:
        """The first stage that finds *reproduced* with enough power; beyond the last, a plan of one look; or None."""
        found = next((stage for stage in STAGES if self.reproduced(stage, margin) >= POWER), None)
        if found and not one_look:
            return found
        n = fewest(lambda runs: self.reproduced(Stage(runs, ALPHA), margin) >= POWER, FEWEST - 1)
        return None if n is None else Stage(n, ALPHA)


def assumed_power(row: Row, n: int) -> RowPower:
    """Return the power of a row of which no run is at hand: every printed number spreads as assumed."""
    return _row_power(row, n, Measured())


def row_powers(table: PublishedTable, plan: TablePlan, records: Records) -> list[RowPower]:
    """Return the power of every planned row that may have a word, at its own spread where it has one.

    Raises as `power_lines` does.
    """
    planned = {key: row for key, row in plan.rows.items() if row.status == "planned"}
    measured = measure_table(table, plan, Runs(records))
    return [
        _row_power(row, len(planned[row.key].runs), measured[row.key])
        for row in table.rows
        if row.key in planned and row.cells and not why_no_word(row)
    ]


def power_lines(table: PublishedTable, plan: TablePlan, records: Records) -> list[str]:
    """Return what to print under a plan: the power of its words, the worst row by name, and the runs each row needs.

    Raises RunError if the folder of runs cannot be read.
    """
    planned = {key: row for key, row in plan.rows.items() if row.status == "planned"}
    rows = [row for row in table.rows if row.key in planned and row.cells]
    if not rows:
        return []
    silent = list(dict.fromkeys(row.label for row in rows if why_no_word(row)))
    rows = [row for row in rows if not why_no_word(row)]
    lines = [f"words: none for {', '.join(silent)}, whose evidence is ours or second-hand"] if silent else []
    if not rows:
        return lines
    if "official" not in {(row.features or {}).get("standing") for row in planned.values()}:
        lines.append("words: none on these data, which are not the official split; the power below is for it")
    margin, stages = plan.margin, stages_of(plan.one_look)
    measured = measure_table(table, plan, Runs(records))
    powers = [_row_power(row, len(planned[row.key].runs), measured[row.key]) for row in rows]
    n = max(one.n for one in powers)
    there = reached(stages, n)
    if not there:
        lines.append(f"power: {n} runs a row give no word; the first stage takes {stages[0].n}")
    else:
        lines += _at(there[-1], n, powers, margin)
    return [*lines, _recommended(powers, margin, plan.one_look)]


def _at(stage: Stage, n: int, powers: Sequence[RowPower], margin: float) -> list[str]:
    worst = min(powers, key=lambda one: (one.reproduced(stage, margin), one.different(stage, margin)))
    spread = max(std for _, std, _ in worst.gaps)
    source = "of its finished runs" if worst.measured else "assumed, as one study of DMD on MOSI found over 10 seeds"
    best = max(one.reproduced(stage, margin) for one in powers)
    of = f", worst row {worst.label} ({worst.key})" if worst.reproduced(stage, margin) < best else ""
    at = f"{stage.n} runs a row" + ("" if n == stage.n else f" (the stage that {n} reach)")
    return [
        f"power: {at}, level {stage.level:g}, margin {points_of(margin)}{of}, {len(worst.gaps)} numbers, spread "
        f"{spread:.2f} points ({source}): 'reproduced' is found in at least {worst.reproduced(stage, margin):.0%} of "
        f"cases if the printed numbers are its means, 'worse' or 'better' in {worst.different(stage, margin):.0%} if "
        f"one is {points_of(margin + FAR_OFF)} off"
    ]


def _recommended(powers: Sequence[RowPower], margin: float, one_look: int | None) -> str:
    by: dict[Stage | None, list[RowPower]] = {}
    for one in powers:
        by.setdefault(one.needed(margin, one_look is not None), []).append(one)
    parts = []
    for stage in sorted(by, key=lambda s: MOST + 1 if s is None else s.n):
        who = "every row" if len(by) == 1 else ", ".join(one.key for one in by[stage])
        if stage is None:
            parts.append(f"over {MOST} for {who}")
        elif one_look is None and stage in STAGES:
            once = max(one.n for one in (row.needed(margin, one_look=True) for row in by[stage]) if one)
            parts.append(f"{stage.n} for {who}" + (f" ({once} with --one-look)" if once < stage.n else ""))
        else:
            parts.append(f"{stage.n} for {who}, read once (--one-look)")
    return f"recommended runs a row, for {POWER:.0%} power: {'; '.join(parts)}"


def _row_power(row: Row, n: int, measured: Measured) -> RowPower:
    """Take the row's own spread where it has one of two runs or more that learned, else the assumed one."""
    gaps, own = [], False
    for column, printed in row.cells.items():
        point = METRICS[row.metric_id(column)].point
        values = _learned(measured.values.get(column, {}), measured)
        std = mean_and_std(values)[1] / point if len(values) > 1 else 0.0
        own = own or std > 0
        gaps.append((0.0, std or ASSUMED, half_cell(printed.decimals) / point))
    return RowPower(row.key, row.label, n, tuple(gaps), own)


def _learned(by_seed: Mapping[int, float], measured: Measured) -> list[float]:
    return [value for seed, value in by_seed.items() if seed not in measured.not_learned]
