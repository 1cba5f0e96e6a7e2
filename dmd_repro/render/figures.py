"""The seeds behind a number as a small vector drawing: dots, mean, interval, and the printed number. Plain SVG.

All drawings of a column share one axis, so that rows can be compared by eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.render.drawing import Axis, across, words
from dmd_repro.render.layout import cell_name
from dmd_repro.render.strip import STYLE, lane, printed
from dmd_repro.results.types import Cell, ComparedRow, ComparisonTable

WIDTH, HEIGHT = 190, 26
LABEL, GAP, SCALE = 390, 8, 360  # of the figure of a whole table
FONT = "text { font: 12px sans-serif; } .name { font-weight: bold; } .soft, .soft text { font-size: 11px; }"
LEGEND = "dots: seeds; bar: mean and its 95 % interval; black: printed, where comparable, in grey what rounds to it"


def strip(cell: Cell, axis: Axis, y: float) -> list[str]:
    """Return the drawing of one cell as SVG elements, around the height `y`."""
    beside = printed(axis, cell, y - HEIGHT / 2 + 2, y + HEIGHT / 2 - 2) if cell.comparable else []
    return [*beside, *lane(axis, y, cell.values, cell.summary, "ours", f"{cell_name(cell)}, our run")]


def limits(cells: Sequence[Cell]) -> tuple[float, float]:
    """Return an axis that holds every seed and interval of the cells, and the printed numbers they compare with."""
    points = [float(cell.printed.value) for cell in cells if cell.comparable]
    for cell in cells:
        points += [*cell.values.values(), *(cell.summary.interval or ())]
    return min(points), max(points)


def describe(cell: Cell) -> str:
    """Say in words what the drawing shows."""
    values = ", ".join(f"{value:.2f}" for value in cell.values.values())
    printed = f"printed {cell.printed.text}; " if cell.comparable else ""
    return f"{cell_name(cell)}: {printed}seeds {values}"


Axes = Mapping[tuple[str, bool], tuple[float, float]]


def _axis(row: ComparedRow, cell: Cell) -> tuple[str, bool]:
    """Return which axis a number is drawn on: its column's; a spread over rows has one of its own."""
    return cell.column, row.row.derived is not None and row.row.derived.statistic == "population_std"


def axes(table: ComparisonTable) -> Axes:
    """Return the axis of every column of a table, from the numbers that were measured."""
    found: dict[tuple[str, bool], list[Cell]] = {}
    for row in table.rows:
        for cell in row.cells:
            if cell.values:
                found.setdefault(_axis(row, cell), []).append(cell)
    return {key: limits(cells) for key, cells in found.items()}


def small(row: ComparedRow, cell: Cell, shared: Axes) -> str:
    """Return one cell's drawing as an SVG of its own, on the axis its column shares; its page has `strip.STYLE`."""
    axis = Axis(*shared[_axis(row, cell)], 4, WIDTH - 4)
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(describe(cell))}">{"".join(strip(cell, axis, HEIGHT / 2))}</svg>'
    )


def figure(table: ComparisonTable) -> str | None:
    """Return one SVG of all measured numbers of a table, column by column; None if nothing was measured."""
    shared = axes(table)
    if not shared:
        return None
    step, y = HEIGHT + GAP, 34.0
    parts: list[str] = []
    for (column, spread), ends in shared.items():
        found = [(r, c) for r in table.rows for c in r.cells if c.values and _axis(r, c) == (column, spread)]
        axis = Axis(*ends, LABEL + 4, LABEL + SCALE - 4)
        parts.append(words(6, y + 16, f"{COLUMNS[column]}{', STD over rows' if spread else ''}", "name"))
        y += step
        parts += across(axis, y - GAP, y + len(found) * step, 6)
        for row, cell in found:
            name = f"{row.row.label}, {row.row.dataset.upper()} {row.row.setting}, {cell_name(cell)}"
            parts.append(words(6, y + 17, name))
            parts += strip(cell, axis, y + HEIGHT / 2)
            parts.append(words(LABEL + SCALE + 8, y + 17, cell.judged.word))
            y += step
        y += step
    width, height = LABEL + SCALE + 230, y + 12
    parts = [
        words(6, 20, f"{table.heading}: seeds and printed numbers", "name"),
        *parts,
        words(6, height - 8, LEGEND, "soft"),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:g}" '
            f'viewBox="0 0 {width} {height:g}"><style>{FONT}{STYLE}</style>',
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )
