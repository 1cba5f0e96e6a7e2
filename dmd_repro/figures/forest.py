"""Forest: every row of a table, printed, ours and others' side by side, with the interval of each mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmd_repro.figures.cells import LEAST, ROW_HEIGHT, Line, columns_of, data_notes, draw_printed, lines_of, name_rows
from dmd_repro.figures.page import COLOURS, MARK, PALE, Page, drawing, panels
from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.results.types import ComparedBlock, ComparisonTable
from dmd_repro.stats.summary import summarise

OURS, THEIRS = COLOURS[0], COLOURS[1]
NOTES = (
    "Black: printed, in grey what rounds to it. Blue: the mean of our runs with its 95 % interval over seeds (Student "
    "t; hollow: one run alone, or one among them failed or did not learn; n: runs of those planned). Orange: the same "
    "of runs by others, each a line. A row without blue was not run here.",
)
APART = (
    "Runs that may not be compared with the printed numbers stand apart, in a panel and on an axis of their own: "
    "no printed number is in it."
)


def draw_forest(table: ComparisonTable) -> list[Page]:
    """Return one page of all rows; it needs no run, for printed and re-run numbers stand by themselves."""
    columns = columns_of(table)
    apart = any(
        line.cell.values and not line.comparable for b in table.blocks for c in columns for line in lines_of(b, c)
    )
    heights = [max(LEAST, 0.5 + ROW_HEIGHT * len(block.rows)) for block in table.blocks]
    notes = [*data_notes(table), *NOTES, *([APART] if apart else [])]
    if not any(row.runs for row in table.rows):
        notes.insert(0, f"No run is recorded: what is printed, and what others measured. dmd reproduce {table.name}")
    with drawing():
        figure, axes = panels(
            len(table.blocks), len(columns) * (2 if apart else 1), size=(2.4, sum(heights) / len(heights)), left=1.6,
            title=f"Printed and measured: {table.title}", mark=table.mark, notes=notes, height_ratios=heights,
        )  # fmt: skip
        for block, row in zip(table.blocks, axes, strict=True):
            names = [one.row.label for one in block.rows]
            for i, column in enumerate(columns):
                where: list[Any] = row[2 * i : 2 * i + 2] if apart else [row[i], None]
                _panel(where, block, column)
                where[0].set_title(COLUMNS[column] if i else f"{block.title}\n{COLUMNS[column]}", loc="left")
                name_rows(where[0], names if i == 0 else [""] * len(names))
                if where[1] is not None and not where[1].lines:
                    where[1].set_axis_off()
                elif where[1] is not None:
                    name_rows(where[1], [""] * len(names))
                    where[1].set_title(f"{COLUMNS[column]}, not comparable", loc="left", color=MARK)
    measured = sum(bool(row.runs) for row in table.rows)
    said = f"{len(table.rows)} rows of {table.name}, {measured} of them measured here, with 95 % intervals over seeds"
    return [Page(table.name.replace("/", "-"), figure, table.mark, said)]


def _panel(where: Sequence[Any], block: ComparedBlock, column: str) -> None:
    there = {line.row.row.key: line for line in lines_of(block, column)}
    for at, row in enumerate(block.rows):
        if row.row.key not in there:
            continue
        line = there[row.row.key]
        draw_printed(where[0], at, line.cell)
        for i, reading in enumerate(line.cell.reruns):
            _mean(where[0], at + 0.22 + 0.12 * i, list(reading.values.values()), THEIRS, failed=False)
        if line.cell.values:
            axis = where[0] if line.comparable else where[1]
            _mean(axis, at - (0.18 if line.comparable else 0.0), list(line.cell.values.values()), OURS,
                  failed=bool(row.failed or row.not_learned))  # fmt: skip
        _words(where, at, line)


def _mean(axis: Any, at: float, values: Sequence[float], colour: str, *, failed: bool) -> None:
    summary = summarise(values)
    if summary.interval:
        axis.plot(summary.interval, [at, at], color=colour, linewidth=1.2)
    hollow = summary.interval is None or failed
    axis.plot([summary.mean], [at], "o", color=colour, mfc="white" if hollow else colour, markersize=4, mew=1)


def _words(where: Sequence[Any], at: float, line: Line) -> None:
    """Say of a measured row how many runs it stands on, and what keeps them from counting."""
    row = line.row
    if not row.planned:
        return
    axis = where[1] if where[1] is not None and line.cell.values and not line.comparable else where[0]
    said = [f"n {row.n}"]
    said += [f"{len(row.failed)} failed"] if row.failed else []
    said += [f"{len(row.not_learned)} not learned"] if row.not_learned else []
    colour = MARK if len(said) > 1 else PALE
    axis.text(1.01, at, ", ".join(said), transform=axis.get_yaxis_transform(), va="center", fontsize=5.5, color=colour)
