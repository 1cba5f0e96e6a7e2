"""Comparisons as one self-contained HTML file: sortable tables, the seeds behind each number, the runs' origin."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dmd_repro.render.figures import small
from dmd_repro.render.html_page import page
from dmd_repro.render.layout import (
    cell_name,
    chances,
    conventions,
    data_lines,
    ends_of,
    interval,
    mark,
    measured,
    number,
    other_reruns,
    overview,
    reruns,
    rule_lines,
    signed,
    unprinted,
)
from dmd_repro.results.sheet import NONE, TextGrid, p_value
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow, ComparisonTable


class Markup(str):
    """HTML made here, of text that was escaped: the one kind of text that is not escaped again."""

    __slots__ = ()


def html(tables: Sequence[ComparisonTable]) -> str:
    """Return the tables as one page that loads nothing from elsewhere."""
    return page("DMD: printed and measured", [part for table in tables for part in _table(table)])


def grid_html(grid: TextGrid) -> str:
    """Return a grid of text as a sortable table."""
    rows = [[(text, None) for text in row] for row in grid.rows]
    return _sortable(grid.headers, grid.align, rows)


def items_html(title: str, items: Sequence[str], numbered: bool = False) -> str:
    """Return a list under a heading, "" where there is nothing."""
    kind = "ol" if numbered else "ul"
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<details open><summary>{escape(title)}</summary><{kind}>{lines}</{kind}></details>" if items else ""


def _sortable(headers: Sequence[str], align: str, rows: Sequence[Sequence[tuple[str, float | None]]]) -> str:
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
    parts = [f'<section id="{escape(table.name)}"><h2>{escape(table.title)}</h2>']
    if table.mark:
        parts.append(f'<p class="mark">{escape(table.mark)}: not comparable with the printed numbers</p>')
    if table.prose:
        parts.append(f"<p>{escape(table.prose)}</p>")
    for block in table.blocks:
        parts += [f"<h3>{escape(block.title)}</h3>", _overview(block, table.footnotes)]
        parts += [grid_html(grid) for make in (unprinted, reruns, chances) if (grid := make(block))]
        if any(row.state == "measured" for row in block.rows):
            parts.append(_measured(block))
        if grid := conventions(block):
            parts.append(grid_html(grid))
    parts.append(items_html("Notes", table.footnotes, numbered=True))
    parts.append(items_html("On the table", table.notes))
    parts.append(items_html("Re-runs by others, not comparable", other_reruns(table)))
    parts.append(items_html("Data", data_lines(table)))
    parts.append(items_html("How to read it", rule_lines(table)))
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


MEASURED_HEADS = (
    *("method", "metric", "n", "printed", "mean ± STD", "seeds", "d", "interval of d", "place", "p=", "p≠"),
    *("95 % mean", "95 % one more run", "one run", "p (t)", "SE seeds", "SE clips"),
)


def _measured(block: ComparedBlock) -> str:
    rows = [_number_row(row, cell) for row in block.rows if row.state == "measured" for cell in row.cells]
    return _sortable(MEASURED_HEADS, "lllrrlrrlrrrrlrrr", rows)


def _number_row(row: ComparedRow, cell: Cell) -> list[tuple[str, float | None]]:
    judged, d = cell.judged, cell.judged.difference

    def p(value: float | None) -> tuple[str, float | None]:
        return (NONE if value is None else p_value(value), value)

    def error(value: float | None) -> tuple[str, float | None]:
        return (NONE if value is None else number(value, cell), value)

    word = judged.word.split()[0]
    return [
        (row.row.label, None),
        (cell_name(cell), None),
        (row.n, None),
        (cell.printed.text, float(cell.printed.value)),
        (measured(row, cell) + mark(cell), cell.summary.mean),
        (Markup(small(cell)) if cell.values else NONE, cell.summary.mean),
        (NONE if cell.difference is None else signed(cell.difference, cell), cell.difference),
        (NONE if d is None else f"[{signed(d.interval[0], cell)}, {signed(d.interval[1], cell)}]", d.d if d else None),
        (Markup(f'<span class="v {escape(word)}">{escape(judged.word)}</span>'), None),
        p(d.p_equivalence if d else None),
        p(judged.p_difference),
        (interval(cell), cell.summary.mean),
        (ends_of(judged.prediction, cell), cell.summary.mean),
        (judged.one_run or NONE, None),
        p(cell.test.p if cell.test else None),
        error(judged.clips.error_seeds if judged.clips else None),
        error(judged.clips.error_clips if judged.clips else None),
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
    return f"<details><summary>Runs ({len(rows)})</summary>{_sortable(heads, 'l' * len(heads), rows)}</details>"
