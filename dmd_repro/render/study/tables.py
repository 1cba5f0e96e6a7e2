"""The page of one printed table: its answer, our column beside each of its columns, and what is behind each number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.render.html import FURTHER_HEADS, LIES_HEADS, further_line, lies_line
from dmd_repro.render.layout import cell_name, chances, conventions, every_chance, mark, measured, reruns, unprinted
from dmd_repro.render.sentences import answers, data_lines, legend, other_reruns, rule_lines
from dmd_repro.render.study.curves import table_file
from dmd_repro.render.study.forest import forest
from dmd_repro.render.study.frame import Page
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Cell, Markup, details, grid, html, items, link, slug, table
from dmd_repro.render.study.rows import row_anchor, unfolded, word
from dmd_repro.results.sheet import NONE
from dmd_repro.results.types import Cell as CellOfTable
from dmd_repro.results.types import ComparedBlock, ComparedRow, ComparisonTable

MOST = 6  # answers shown unfolded
FIGURES = (
    "Black: printed, in grey what rounds to it. Blue: the mean of our runs with its 95 % interval over seeds (hollow: "
    "one run alone, or one among them failed or did not learn). Orange: runs by others. At the right: runs counted of "
    "those planned. Runs that may not be compared stand on an axis of their own."
)
BEHIND = (
    "Every row of the table: unfold it, or follow a number of the tables above. Dot: one run; tick: their mean; line: "
    "its 95 % interval; black: printed, in grey what rounds to it; orange: re-runs by others."
)


def table_page(study: Study, found: ComparisonTable, known: Mapping[str, str]) -> Page:
    """Return the page of a table. `known`: the anchor of each run that has one."""
    body: list[Markup] = list(answer_lines(found))
    if said := plans_said(study, found.name):
        body.append(Markup(f'<p class="soft">{html(said)}</p>'))
    for block in found.blocks:
        body += _block(block)
    body.append(Markup(f'<h2 id="behind">Behind each number</h2><p class="soft">{html(BEHIND)}</p>'))
    for block in found.blocks:
        body.append(Markup(f"<h3>{html(block.title)}</h3>"))
        body += [unfolded(study, found, row, known) for row in block.rows]
    body += _readings(found)
    lists = (
        ("Legend", legend(found)), ("On the table", found.notes), ("Data", data_lines(found)),
        ("Re-runs by others, not comparable", other_reruns(found)), ("Rules", rule_lines(found)),
    )  # fmt: skip
    body += [details(title, items(lines)) for title, lines in lists if lines]
    return Page(table_file(found.name), short(found.name), found.title, body, found.mark)


def plans_said(study: Study, name: str) -> str:
    """Return which plan of a table is shown, where there are others; "" where there is one or none."""
    others = study.unshown.get(name)
    if not others:
        return ""
    again = ", ".join(f"dmd report {name} --all -o FOLDER --data {' --data '.join(tag.split('+'))}" for tag in others)
    return f"Shown is the plan on {study.shown.get(name)}. Runs planned on other data are in no row here: {again}."


def short(name: str) -> str:
    """Return a table's name for the navigation: `Table 1`."""
    paper, _, table_name = name.rpartition("/")
    words = f"Table {table_name.removeprefix('table')}" if table_name.removeprefix("table").isdigit() else table_name
    return f"{paper} {words}".strip()


def answer_lines(found: ComparisonTable, most: int = MOST) -> list[Markup]:
    """Return the answers of a table; what is beyond `most` unfolds."""
    said = answers(found)
    parts = [items(said[:most], of="answers")]
    if len(said) > most:
        parts.append(details(f"{len(said) - most} more", items(said[most:], of="answers")))
    return parts


def _block(block: ComparedBlock) -> list[Markup]:
    parts = [Markup(f'<h2 id="{slug("block", block.key)}">{html(block.title)}</h2>'), _overview(block)]
    figures = [forest(block, column, apart=apart) for apart in (False, True) for column in block.columns]
    drawn = [one for one in figures if one]
    if drawn:
        parts.append(Markup(f'<div class="figures">{"".join(drawn)}</div><p class="soft">{html(FIGURES)}</p>'))
    return parts


def _overview(block: ComparedBlock) -> Markup:
    heads = ["method", "n"]
    for column in block.columns:
        heads += [f"{COLUMNS[column]} printed", f"{COLUMNS[column]} measured"]
    rows = []
    for row in block.rows:
        anchor = f"#{row_anchor(row.row.key)}"
        line = [Cell(link(anchor, row.row.label)), Cell(row.n, len(row.runs) if row.planned else None)]
        cells = {cell.column: cell for cell in row.cells}
        for column in block.columns:
            cell, own = cells.get(column), row.unprinted_in(column)
            if cell is not None:
                to = f"#{slug('n', row.row.key, column)}" if cell.values or cell.reruns else anchor
                line += [Cell(link(to, cell.printed.text), float(cell.printed.value)), _measured(row, column, to)]
            elif column in row.row.ours:
                value = own.summary.mean if own else None
                spread = f" ± {own.summary.std:.{METRICS[own.metric].digits}f}" if own and own.summary.std else ""
                shown = f"{value:.{METRICS[own.metric].digits}f}{spread}" if own and value is not None else "not run"
                line += [Cell(NONE), Cell(link(anchor, shown) if value is not None else shown, value)]
            else:
                line += [Cell(NONE), Cell(NONE)]
        rows.append([*line, Cell(word(row.words.mean))])
    return table(
        f"{block.title}: printed and measured",
        (*heads, "word, if print is a mean"),
        "lr" + "rr" * len(block.columns) + "l",
        rows,
    )


def _measured(row: ComparedRow, column: str, to: str) -> Cell:
    cell = next(one for one in row.cells if one.column == column)
    said = measured(row, cell)
    if cell.summary.mean is None:
        return Cell(said)
    return Cell(link(to, said + mark(cell)), cell.summary.mean)


def _readings(found: ComparisonTable) -> list[Markup]:
    """Return the further readings of the numbers, block by block, folded."""
    out: list[Markup] = []
    for block in found.blocks:
        there = [row for row in block.rows if row.state == "measured" and row.cells]
        parts: list[Markup] = []
        if there:
            heads = [head for head in LIES_HEADS if head != "seeds"]
            parts.append(table("Where they lie", heads, "llrrrlrrrr", _by_number(there, _lies)))
        makers = (chances, reruns, unprinted, conventions)
        parts += [grid(one) for make in makers if (one := make(block)) is not None]
        if there:
            further = _by_number(there, further_line)
            parts.append(table("p-values and intervals", FURTHER_HEADS, "llrrrlrrrrr", further))
            parts += [grid(one) for one in every_chance(block)]
        if parts:
            out.append(details(f"Further readings: {block.title}", "".join(parts)))
    return [Markup("<h2>Further readings</h2>"), *out] if out else []


def _lies(row: ComparedRow, cell: CellOfTable) -> list[tuple[str, float | None]]:
    line = lies_line(row, cell, "")
    return [one for head, one in zip(LIES_HEADS[2:], line, strict=True) if head != "seeds"]


def _by_number(
    rows: Sequence[ComparedRow], line: Callable[[ComparedRow, CellOfTable], list[tuple[str, float | None]]]
) -> list[list[Cell]]:
    return [
        [Cell(row.row.label), Cell(cell_name(cell)), *(Cell(text, by) for text, by in line(row, cell))]
        for row in rows
        for cell in row.cells
    ]
