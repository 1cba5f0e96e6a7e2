"""Comparisons as one self-contained HTML file: sortable tables, the seeds behind each number, the runs' origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from dmd_repro.render.figures import Axes, axes, small
from dmd_repro.render.html_page import page
from dmd_repro.render.layout import (
    cell_name,
    chances,
    conventions,
    ends_of,
    every_chance,
    interval,
    mark,
    measured,
    number,
    overview,
    percent,
    reruns,
    signed,
    unprinted,
)
from dmd_repro.render.markup import Markup
from dmd_repro.render.sentences import answers, data_lines, legend, other_reruns, rule_lines
from dmd_repro.results.sheet import NONE, NOT_COMPARABLE, TextGrid, p_value
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow, ComparisonTable

Rows = Sequence[Sequence[tuple[str, float | None]]]


def html(tables: Sequence[ComparisonTable]) -> str:
    """Return the tables as one page that loads nothing from elsewhere."""
    return page("DMD: printed and measured", [part for table in tables for part in _table(table)])


def grid_html(grid: TextGrid) -> str:
    """Return a grid of text as a sortable table."""
    rows = [[(text, None) for text in row] for row in grid.rows]
    return _sortable(grid.headers, grid.align, rows)


def items_html(title: str, items: Sequence[str], numbered: bool = False, shut: bool = False) -> str:
    """Return a list under a heading that unfolds, "" where there is nothing."""
    kind = "ol" if numbered else "ul"
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return _folding(title, f"<{kind}>{lines}</{kind}>", shut) if items else ""


def answers_html(items: Sequence[str]) -> list[str]:
    """Return what is said first, a line each."""
    return [f'<p class="answer">{escape(item)}</p>' for item in items]


def _folding(title: str, body: str, shut: bool = True) -> str:
    return f"<details{'' if shut else ' open'}><summary>{escape(title)}</summary>{body}</details>"


def _sortable(headers: Sequence[str], align: str, rows: Rows) -> str:
    """Cells are (text, number to sort by); `Markup` of our own goes in as it is, all else is escaped."""
    head = "".join(f'<th class="{side}">{escape(name)}</th>' for name, side in zip(headers, align, strict=True))
    lines = []
    for row in rows:
        cells = []
        for (text, value), side in zip(row, align, strict=True):
            shown = text if isinstance(text, Markup) else escape(text)
            by = "" if value is None else f' data-v="{value!r}"'
            cells.append(f'<td class="{side}"{by}>{shown}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="sort"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _table(table: ComparisonTable) -> list[str]:
    parts = [f'<section id="{escape(table.name)}"><h2>{escape(table.heading)}</h2>']
    if table.mark:
        parts.append(f'<p class="mark">{escape(table.mark)}: {NOT_COMPARABLE}</p>')
    parts += answers_html(answers(table))
    shared = axes(table)
    for block in table.blocks:
        parts += [f"<h3>{escape(block.title)}</h3>", _overview(block, table.footnotes)]
        there = any(row.state == "measured" for row in block.rows)
        if there:
            parts.append(
                _sortable(
                    LIES_HEADS, "lllrrllrrrr", _by_number(block, lambda r, c: lies_line(r, c, _seeds(r, c, shared)))
                )
            )
        parts += [grid_html(grid) for make in (chances, reruns, unprinted, conventions) if (grid := make(block))]
        if there:
            rest = _sortable(FURTHER_HEADS, "llrrrlrrrrr", _by_number(block, further_line))
            rest += "".join(map(grid_html, every_chance(block)))
            parts.append(_folding("p-values, intervals and every chance", rest))
    parts.append(items_html("Legend", legend(table)))
    if table.prose:
        parts.append(_folding("In words", f"<p>{escape(table.prose)}</p>"))
    parts.append(items_html("Notes", table.footnotes, numbered=True, shut=not table.provenance))
    parts.append(items_html("On the table", table.notes))
    parts.append(items_html("Re-runs by others, not comparable", other_reruns(table), shut=True))
    parts.append(items_html("Data", data_lines(table)))
    parts.append(items_html("Rules", rule_lines(table), shut=True))
    return [*parts, _provenance(table), "</section>"]


def _overview(block: ComparedBlock, footnotes: Sequence[str]) -> str:
    grid, rows = overview(block, footnotes), []
    for row, texts in zip(block.rows, grid.rows, strict=True):
        values: list[float | None] = [None, None]
        for cell in row.cells:
            values += [float(cell.printed.value), cell.summary.mean]
        for column in row.row.ours:
            values += [None, found.summary.mean if (found := row.unprinted_in(column)) else None]
        rows.append(list(zip(texts, [*values, None], strict=True)))
    return _sortable(grid.headers, grid.align, rows)


LIES_HEADS = (
    *("method", "metric", "n", "printed", "mean ± STD", "place", "seeds", "mean − printed", "below", "within", "above"),
)
FURTHER_HEADS = (
    *("method", "metric", "d", "95 % mean", "95 % one more run", "one run", "p TOST", "p Holm", "p (t)"),
    *("SE seeds", "SE clips"),
)


def _by_number(block: ComparedBlock, line: Callable[[ComparedRow, Cell], list[tuple[str, float | None]]]) -> Rows:
    return [
        [(row.row.label, None), (cell_name(cell), None), *line(row, cell)]
        for row in block.rows
        if row.state == "measured"
        for cell in row.cells
    ]


def _seeds(row: ComparedRow, cell: Cell, shared: Axes) -> str:
    return Markup(small(row, cell, shared)) if cell.values else NONE


def lies_line(row: ComparedRow, cell: Cell, drawing: str) -> list[tuple[str, float | None]]:
    """Return where a number lies, a cell for each of LIES_HEADS after the first two; `drawing`: its seeds."""
    judged, d, beside = cell.judged, cell.judged.difference, cell.beside
    told = (beside.below, beside.within, beside.above) if beside else (None, None, None)
    word = judged.word.split()[0]
    return [
        (row.n, None),
        (cell.printed.text, float(cell.printed.value)),
        (measured(row, cell) + mark(cell), cell.summary.mean),
        (Markup(f'<span class="v {escape(word)}">{escape(judged.word)}</span>'), None),
        (drawing, cell.summary.mean),
        (NONE if d is None else f"[{signed(d.interval[0], cell)}, {signed(d.interval[1], cell)}]", d.d if d else None),
        *((NONE if chance is None else percent(chance), chance) for chance in told),
    ]


def further_line(row: ComparedRow, cell: Cell) -> list[tuple[str, float | None]]:
    """Return the further readings of a number, a cell for each of FURTHER_HEADS after the first two."""
    judged, d, clips = cell.judged, cell.judged.difference, cell.judged.clips

    def p(value: float | None) -> tuple[str, float | None]:
        return (NONE if value is None else p_value(value), value)

    def error(value: float | None) -> tuple[str, float | None]:
        return (NONE if value is None else number(value, cell), value)

    return [
        (NONE if cell.difference is None else signed(cell.difference, cell), cell.difference),
        (interval(cell), cell.summary.mean),
        (ends_of(judged.prediction, cell), cell.summary.mean),
        (judged.one_run or NONE, None),
        p(d.p_equivalence if d else None),
        p(judged.p_difference),
        p(cell.test.p if cell.test else None),
        error(clips.error_seeds if clips else None),
        error(clips.error_clips if clips else None),
    ]


def _provenance(table: ComparisonTable) -> str:
    if not table.provenance:
        return ""
    heads = ("run", "seed", "model", "protocol", "mask", "data", "digest", "commit", "device", "packages", "made")
    rows = []
    for run in table.provenance:
        commit = str(run["commit"] or NONE)[:12] + (" + changes" if run["dirty"] else "")
        device = (run["execution"] or {}).get("device", NONE)
        packages = ", ".join(f"{name} {version}" for name, version in (run["packages"] or {}).items())
        texts = [run["run"], run["seed"], run["model"], run["protocol"], run["mask"], run["data"], run["digest"][:12]]
        texts += [commit, device, packages or NONE, run["created"] or NONE]
        rows.append([(str(text), None) for text in texts])
    return _folding(f"Runs ({len(rows)})", _sortable(heads, "l" * len(heads), rows))
