"""What the figures of a table share: one panel a block and column, one line a row, printed and measured kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dmd_repro.figures.page import INK
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow, ComparisonTable
from dmd_repro.stats.verdict import half_cell

ROW_HEIGHT, LEAST = 0.2, 1.0  # inches a row takes, and the least a panel does


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table in one column."""

    row: ComparedRow
    cell: Cell

    @property
    def comparable(self) -> bool:
        """Whether its runs may stand beside the printed number."""
        return self.cell.comparable


def lines_of(block: ComparedBlock, column: str) -> list[Line]:
    """Return the rows of a block that have a column, in the paper's order."""
    return [Line(row, cell) for row in block.rows for cell in row.cells if cell.column == column]


def columns_of(table: ComparisonTable) -> list[str]:
    """Return the columns of a table's blocks, in order."""
    return list(dict.fromkeys(column for block in table.blocks for column in block.columns))


def draw_printed(axis: Any, at: float, cell: Cell) -> None:
    """Draw a printed number: a tick, and the values that round to it."""
    value, half = float(cell.printed.value), half_cell(cell.printed.decimals)
    axis.barh(at, 2 * half, left=value - half, height=0.72, color=INK, alpha=0.12, linewidth=0)
    axis.plot([value, value], [at - 0.36, at + 0.36], color=INK, linewidth=1.3, zorder=4)


def name_rows(axis: Any, names: Sequence[str]) -> None:
    """Write the rows' names at the left, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.use_sticky_edges = False  # a number at the end of an axis is not cut in half
    axis.margins(x=0.06)
    axis.grid(axis="x", color="#dddddd", linewidth=0.5)
    axis.set_axisbelow(True)


def data_notes(table: ComparisonTable) -> list[str]:
    """Return what the runs are of, and what is missing of them, in sentences."""
    notes = [f"Data: {d['label']}, digest {str(d['digest'])[:12]}." for d in table.data]
    failed = [f"{row.row.label} ({len(row.failed)})" for row in table.rows if row.failed]
    unlearned = [
        f"{row.row.label} ({len(row.not_learned)} of {len(row.runs)})" for row in table.rows if row.not_learned
    ]
    notes += [f"Failed runs, never left out of a judgement: {', '.join(failed)}."] if failed else []
    notes += [f"Runs that did not learn, drawn and counted: {', '.join(unlearned)}."] if unlearned else []
    return notes
