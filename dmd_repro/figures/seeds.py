"""Seeds: the runs behind each measured number on one axis a column, beside the printed number and others' re-runs."""

from __future__ import annotations

from typing import Any

from dmd_repro.errors import RunError
from dmd_repro.figures.cells import LEAST, ROW_HEIGHT, Line, columns_of, data_notes, draw_printed, lines_of, name_rows
from dmd_repro.figures.page import COLOURS, INK, MARK, PALE, Page, drawing, panels
from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.results.types import ComparedBlock, ComparisonTable

OURS, THEIRS = COLOURS[0], COLOURS[1]
NOTES = (
    "Dot: one run; bar: the mean of the runs and its 95 % interval (Student t over seeds; two runs or more). Black "
    "tick: printed, in grey what rounds to it; drawn only beside runs that may be compared with it.",
)


def draw_seeds(table: ComparisonTable) -> list[Page]:
    """Return one page; raises RunError where no row has two runs, for one run has no distribution."""
    blocks = [block for block in table.blocks if any(_measured(block, column) for column in block.columns)]
    most = max((len(cell.values) for row in table.rows for cell in row.cells), default=0)
    if most < 2:
        raise RunError.at(
            f"dmd figure seeds {table.name}", expected="a row with two runs or more, since one has no distribution",
            got="none" if most == 0 else "one run a row", do=f"Train more: dmd reproduce {table.name} --seeds 5",
        )  # fmt: skip
    columns = columns_of(table)
    names = {b.key: _names(b) for b in blocks}
    heights = [max(LEAST, 0.55 + ROW_HEIGHT * len(names[b.key])) for b in blocks]
    others = {f"{r.by}: {r.code}" for b in blocks for c in b.columns for x in _measured(b, c) for r in x.cell.reruns}
    singles = any(len(cell.values) == 1 for row in table.rows for cell in row.cells)
    notes = [*data_notes(table), *(["Rows with a single dot: ONE SEED, no interval."] if singles else []), *NOTES]
    notes += [f"Open circles: runs by others ({'; '.join(sorted(others))})."] if others else []
    with drawing():
        figure, axes = panels(
            len(blocks), len(columns), size=(2.6, sum(heights) / len(blocks)), left=1.6,
            title=f"Seeds of {table.title}", mark=table.mark, notes=notes, height_ratios=heights,
        )  # fmt: skip
        for block, row in zip(blocks, axes, strict=True):
            for column, axis in zip(columns, row, strict=True):
                _panel(axis, block, column, first=column == columns[0])
    said = f"Distributions over seeds of {len(blocks)} blocks of {table.name}, up to {most} runs a row"
    return [Page(table.name.replace("/", "-"), figure, table.mark, said)]


def _measured(block: ComparedBlock, column: str) -> list[Line]:
    return [line for line in lines_of(block, column) if line.cell.values]


def _names(block: ComparedBlock) -> list[str]:
    """Return the measured rows of a block, in the paper's order."""
    found: dict[str, None] = {}
    for column in block.columns:
        for line in _measured(block, column):
            found[line.row.row.label] = None
    return list(found)


def _panel(axis: Any, block: ComparedBlock, column: str, *, first: bool) -> None:
    names = _names(block)
    lines = {line.row.row.label: line for line in _measured(block, column)}
    for at, name in enumerate(names):
        if name not in lines:
            axis.text(
                0.02, at, "not measured", transform=axis.get_yaxis_transform(), color=PALE, va="center", fontsize=6
            )
            continue
        line = lines[name]
        cell = line.cell
        if line.comparable:
            draw_printed(axis, at, cell)
        axis.plot(list(cell.values.values()), [at] * len(cell.values), "o", color=OURS, alpha=0.5, markersize=4, mew=0)
        if cell.summary.interval and cell.summary.mean is not None:
            low, high = cell.summary.interval
            axis.plot([low, high], [at, at], color=OURS, linewidth=1.0)
            axis.plot([cell.summary.mean] * 2, [at - 0.25, at + 0.25], color=OURS, linewidth=1.8)
        if line.comparable:
            for reading in cell.reruns:
                values = list(reading.values.values())
                axis.plot(values, [at + 0.3] * len(values), "o", mfc="none", color=THEIRS, markersize=3, mew=0.7)
        if line.row.failed:
            words = f"{len(line.row.failed)} failed"
            axis.text(1.01, at, words, transform=axis.get_yaxis_transform(), va="center", color=MARK, fontsize=6)
    name_rows(axis, names if first else [""] * len(names))
    axis.set_title(f"{block.title}\n{COLUMNS[column]}" if first else COLUMNS[column], loc="left", color=INK)
