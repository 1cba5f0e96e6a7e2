"""The seeds behind a number as a small vector drawing: dots, mean, interval, and the printed number. Plain SVG.

All drawings of a column share one axis, so that rows can be compared by eye.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.render.layout import cell_name
from dmd_repro.results.types import Cell, ComparedRow, ComparisonTable
from dmd_repro.stats.verdict import half_cell

DOT, LINE, BAND = "#1f5fa8", "#b3261e", "#f3c9c5"
WIDTH, HEIGHT = 190, 26
LABEL, GAP, SCALE = 390, 8, 360  # of the figure of a whole table


def strip(cell: Cell, low: float, high: float, width: float = WIDTH, height: float = HEIGHT) -> str:
    """Return the drawing of one cell on the axis [low, high] as SVG elements, for `svg` or a larger drawing."""

    def x(value: float) -> float:
        return 4 + (value - low) / (high - low) * (width - 8)

    middle, parts = height / 2, []
    if cell.comparable:
        printed, half = float(cell.printed.value), half_cell(cell.printed.decimals)
        left, wide = x(printed - half), max(1.0, x(printed + half) - x(printed - half))
        parts.append(f'<rect x="{left:.2f}" y="2" width="{wide:.2f}" height="{height - 4:g}" fill="{BAND}"/>')
        parts.append(f'<path d="M{x(printed):.2f} 2V{height - 2:g}" stroke="{LINE}" stroke-width="1.5"/>')
    if cell.summary.interval:
        a, b = cell.summary.interval
        parts.append(f'<path d="M{x(a):.2f} {middle:g}H{x(b):.2f}" stroke="{DOT}" stroke-width="1.2"/>')
    if cell.summary.mean is not None:
        parts.append(f'<path d="M{x(cell.summary.mean):.2f} {middle - 6:g}v12" stroke="{DOT}" stroke-width="1.6"/>')
    for seed, value in cell.values.items():
        said = f"<title>seed {seed}: {value!r}</title>"
        dot = f'<circle cx="{x(value):.2f}" cy="{middle:g}" r="3" fill="{DOT}" fill-opacity=".55">'
        parts.append(f"{dot}{said}</circle>")
    return "".join(parts)


def limits(cells: Sequence[Cell]) -> tuple[float, float]:
    """Return an axis that holds every seed and interval of the cells, and the printed numbers they compare with."""
    points = [float(cell.printed.value) for cell in cells if cell.comparable]
    for cell in cells:
        points += [*cell.values.values(), *(cell.summary.interval or ())]
    low, high = min(points), max(points)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


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
    """Return one cell's drawing as an SVG of its own, on the axis its column shares."""
    low, high = shared[_axis(row, cell)]
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(describe(cell))}">{strip(cell, low, high)}</svg>'
    )


def figure(table: ComparisonTable) -> str | None:
    """Return one SVG of all measured numbers of a table, column by column; None if nothing was measured."""
    shared = axes(table)
    if not shared:
        return None
    top, step = 34, HEIGHT + GAP
    text = 'font-family="sans-serif" font-size="12"'
    parts: list[str] = []
    y = top
    for (column, spread), (low, high) in shared.items():
        found = [(r, c) for r in table.rows for c in r.cells if c.values and _axis(r, c) == (column, spread)]
        name = f"{COLUMNS[column]}{', STD over rows' if spread else ''}"
        parts.append(f'<text x="6" y="{y + 16}" {text} font-weight="bold">{escape(name)}</text>')
        parts += _scale(low, high, y, len(found) * step)
        y += step
        for row, cell in found:
            label = f"{row.row.label}, {row.row.dataset.upper()} {row.row.setting}, {cell_name(cell)}"
            parts.append(f'<text x="6" y="{y + 17}" {text}>{escape(label)}</text>')
            parts.append(f'<g transform="translate({LABEL} {y})">{strip(cell, low, high, SCALE)}</g>')
            parts.append(f'<text x="{LABEL + SCALE + 8}" y="{y + 17}" {text}>{escape(cell.judged.word)}</text>')
            y += step
        y += GAP
    width, height = LABEL + SCALE + 230, y + 24
    legend = (
        "dots: seeds; tick: mean; line: 95 % interval of the mean; red: printed, where comparable; one axis a column"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<text x="6" y="20" {text} font-weight="bold">{escape(table.title)}: seeds and printed numbers</text>',
            *parts,
            f'<text x="6" y="{height - 8}" font-family="sans-serif" font-size="11">{escape(legend)}</text></svg>',
        ]
    ) + "\n"  # fmt: skip


def _scale(low: float, high: float, y: float, depth: float) -> list[str]:
    """Return the axis over a column: round numbers, each with a line down the rows."""
    parts = []
    for value in ticks(low, high):
        x = LABEL + 4 + (value - low) / (high - low) * (SCALE - 8)
        parts.append(f'<path d="M{x:.2f} {y + 20:g}v{depth + GAP:g}" stroke="#e2e2e2"/>')
        parts.append(
            f'<text x="{x:.2f}" y="{y + 16:g}" font-family="sans-serif" font-size="11" text-anchor="middle">'
            f"{value:g}</text>"
        )
    return parts


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round numbers in [low, high], a step of 1, 2 or 5 times a power of ten apart."""
    size = (high - low) / most
    power = 10.0 ** math.floor(math.log10(size))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= size)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
