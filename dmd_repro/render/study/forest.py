"""The runs behind a number, and every row of a column: printed, ours and others', drawn inline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.render.drawing import Axis, across, axis_of, dot, figure, words
from dmd_repro.render.layout import cell_name, number
from dmd_repro.render.strip import interval, lane, printed
from dmd_repro.render.study.markup import Markup
from dmd_repro.results.reruns import Reading
from dmd_repro.results.scores import mark_of
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow
from dmd_repro.stats.summary import summarise

WIDTH, ROW = 460, 21
NAMES, LETTER = (80, 190), 6.3  # pixels of the names at the left, least and most; of one letter
STRIP = 360  # the width of a distribution


def data_mark(rows: Iterable[ComparedRow]) -> str | None:
    """Return the mark of the data that rows were run on; a table's own mark is of any of its rows."""
    return mark_of([str((row.features or {}).get("standing")) for row in rows])


def strips(row: ComparedRow, cell: Cell) -> list[Markup]:
    """Return the distribution behind a number: a dot a run, mean and interval, beside printed and others'.

    Runs that may not be compared have a figure, and an axis, of their own; the mark of their data is in it.
    """
    if cell.comparable:
        return [_strip(row, cell, cell.reruns, None, ours=True, beside=True)]
    out = [_strip(row, cell, (), data_mark([row]), ours=True, beside=False)] if cell.values else []
    return out + ([_strip(row, cell, cell.reruns, None, ours=False, beside=True)] if cell.reruns else [])


def _strip(
    row: ComparedRow, cell: Cell, readings: Sequence[Reading], mark: str | None, *, ours: bool, beside: bool
) -> Markup:
    values = cell.values if ours else {}
    points = [*values.values(), *((cell.summary.interval or ()) if ours else ())]
    points += [float(cell.printed.value)] if beside else []
    points += [value for reading in readings for value in reading.values.values()]
    axis, lanes = axis_of(points, 12, STRIP - 12), bool(values) + len(readings)
    top, bottom = 4, 4 + 20 * lanes
    parts = across(axis, top, bottom)
    if beside:
        parts += printed(axis, cell, top, bottom)
    y = top + 10.0
    if values:
        parts += lane(axis, y, values, cell.summary, "ours", f"{cell_name(cell)}, our run")
        y += 20
    for reading in readings:
        theirs = summarise(list(reading.values.values()))
        parts += lane(axis, y, reading.values, theirs, "theirs", f"re-run by {reading.by}")
        y += 20
    return figure(
        STRIP, bottom + 18 + 14 * bool(mark), parts, _said(row, cell, values, readings, beside), mark, "strip"
    )


def _said(row: ComparedRow, cell: Cell, values: Mapping[int, float], readings: Sequence[Reading], beside: bool) -> str:
    parts = [f"{row.row.label}, {cell_name(cell)}"]
    parts += [f"printed {cell.printed.text}"] if beside else []
    if values:
        parts.append("seeds " + ", ".join(number(value, cell) for value in values.values()))
    parts += [
        f"{len(reading.values)} re-runs by {reading.by}, mean {number(reading.mean, cell)}" for reading in readings
    ]
    return ": ".join([parts[0], "; ".join(parts[1:])])


def forest(block: ComparedBlock, column: str, *, apart: bool) -> Markup | None:
    """Return a column of a block, a line a row; `apart`: our runs that no printed number may stand beside, alone."""
    lines = [(row, cell) for row in block.rows for cell in row.cells if cell.column == column]
    if apart:
        lines = [(row, cell) for row, cell in lines if cell.values and not cell.comparable]
    points = [value for row, cell in lines for value in _points(cell, apart)]
    if not points:
        return None
    names = min(NAMES[1], max(NAMES[0], 10 + LETTER * max(len(row.row.label) for row, _ in lines)))
    axis = axis_of(points, names, WIDTH - 44)
    mark = data_mark(row for row, _ in lines) if apart else None
    top, bottom = 24, 24 + ROW * len(lines)
    parts = [
        words(4, 14, f"{COLUMNS[column]}{', not comparable' if apart else ''}", "name"),
        *across(axis, top, bottom),
    ]
    for i, (row, cell) in enumerate(lines):
        parts.append(words(4, top + ROW * (i + 0.5) + 4, _short(row.row.label, int((names - 10) / LETTER))))
        parts += _line(axis, top + ROW * (i + 0.5), row, cell, apart)
    what = "measured alone" if apart else "printed, ours and others'"
    said = f"{COLUMNS[column]} of {block.title}: {what}, {len(lines)} rows"
    return figure(WIDTH, bottom + 18 + 14 * bool(mark), parts, said, mark, "forest")


def _points(cell: Cell, apart: bool) -> list[float]:
    ours = [cell.summary.mean, *(cell.summary.interval or ())] if apart or cell.comparable else []
    theirs = [] if apart else [v for one in cell.reruns for v in _ends(one)]
    return [float(x) for x in ([] if apart else [float(cell.printed.value)]) + ours + theirs if x is not None]


def _ends(reading: Reading) -> list[float]:
    return [reading.mean, *(summarise(list(reading.values.values())).interval or ())]


def _line(axis: Axis, y: float, row: ComparedRow, cell: Cell, apart: bool) -> list[str]:
    parts: list[str] = []
    if not apart:
        parts += printed(axis, cell, y - 8, y + 8)
        for i, reading in enumerate(cell.reruns):
            theirs = summarise(list(reading.values.values()))
            at = y + 5 + 2.5 * i
            parts += [*interval(axis, at, theirs, "theirs"), dot(axis(reading.mean), at, "theirs", 2.6, reading.by)]
    if cell.summary.mean is not None and (apart or cell.comparable):
        hollow = cell.summary.interval is None or row.failed or row.not_learned
        at, kind = (y if apart else y - 4), f"ours{' hollow' if hollow else ''}"
        said = f"{METRICS[cell.metric].name} {number(cell.summary.mean, cell)}"
        parts += [*interval(axis, at, cell.summary, "ours"), dot(axis(cell.summary.mean), at, kind, 3.2, said)]
    if row.planned and (apart or cell.comparable or not cell.values):
        parts.append(words(WIDTH - 4, y + 4, row.n, "soft", "end"))
    return parts


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
