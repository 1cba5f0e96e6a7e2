"""What is behind each number of a table: its row unfolded, with runs, seeds, distributions, re-runs and sources."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.datasets import dataset_title
from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.render.layout import cell_name, interval, mark, measured, number
from dmd_repro.render.study.forest import strips
from dmd_repro.render.study.frame import to
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Cell as TableCell
from dmd_repro.render.study.markup import Markup, details, html, items, slug, table
from dmd_repro.results.runs import TEXT_WORDS
from dmd_repro.results.sheet import NONE
from dmd_repro.results.types import ComparedRow, ComparisonTable

RUNS = "runs.html"


def word(said: str, shown: str = "") -> Markup:
    """Return a word with the colour that it has everywhere."""
    kind = "not-learned" if said == "not learned" else said.split()[0] if said else ""
    return Markup(f'<span class="v {html(slug(kind))}">{html(shown or said)}</span>')


def where(row: ComparedRow) -> str:
    """Return a row's data set, setting and kind of text."""
    one = row.row
    return f"{dataset_title(one.dataset)}, {one.setting}, {TEXT_WORDS[one.text]} text"


def row_anchor(key: str) -> str:
    """Return the anchor of a row on its table's page."""
    return slug("row", key)


def unfolded(study: Study, found: ComparisonTable, row: ComparedRow, known: Mapping[str, str]) -> Markup:
    """Return a row with everything behind its numbers. `known`: the anchor of each run that has one."""
    counts = [f"{row.n} runs"] if row.planned else []
    counts += [f"{len(row.failed)} failed"] if row.failed else []
    counts += [f"{len(row.not_learned)} did not learn"] if row.not_learned else []
    theirs = dict.fromkeys(reading.by for cell in row.cells for reading in cell.reruns)
    counts += [f"re-run by {', '.join(theirs)}"] if theirs else []
    summary = Markup(
        f"<strong>{html(row.row.label)}</strong> {html(where(row))} {word(row.words.mean)} "
        f'<span class="soft">{html(", ".join(counts))}</span>'
    )
    body = [f"<p>{html(row.answer)}</p>" if row.answer else ""]
    body += [f"<p>{html(line)}.</p>" for line in row.words.lines if not row.answer and row.planned]
    body.append(_numbers(row))
    drawn = [_drawn(row, cell.column) for cell in row.cells if cell.values or cell.reruns]
    body += [f'<div class="figures">{"".join(drawn)}</div>'] if drawn else []
    body += [_seeds(study, found.name, row, known), _reruns(row)]
    if row.notes:
        body.append(f"<h4>Notes and sources</h4>{items(row.notes)}")
    return details(summary, "".join(body), anchor=row_anchor(row.row.key), kind="row")


def _drawn(row: ComparedRow, column: str) -> str:
    """Return the distributions behind one number, under its heading."""
    cell = next(one for one in row.cells if one.column == column)
    said = f"{cell_name(cell)}: printed {cell.printed.text}"
    said += "" if cell.summary.mean is None else f", measured {measured(row, cell)}"
    drawings = "".join(strips(row, cell))
    return f'<div class="number"><h4 id="{slug("n", row.row.key, column)}">{html(said)}</h4>{drawings}</div>'


def _numbers(row: ComparedRow) -> Markup:
    if not row.cells:
        return Markup("")
    rows = []
    for cell in row.cells:
        why = cell.judged.why or ""
        rows.append(
            [
                TableCell(cell_name(cell)),
                TableCell(cell.printed.text, float(cell.printed.value)),
                TableCell(measured(row, cell) + mark(cell), cell.summary.mean),
                TableCell(interval(cell)),
                TableCell(word(cell.judged.word)),
                TableCell("" if why in row.notes else why),
            ]
        )
    heads = ["number", "printed", "measured", "95 % interval", "place", "why"]
    shown = len(heads) if any(line[-1].text for line in rows) else len(heads) - 1  # the notes say it of all
    lines = [line[:shown] for line in rows]
    return table(f"Numbers of {row.row.label}, {where(row)}", heads[:shown], "lrrlll"[:shown], lines, long=(5,))


def _seeds(study: Study, name: str, row: ComparedRow, known: Mapping[str, str]) -> Markup:
    """Return the runs of a row, a line a planned seed: those that failed or are missing too."""
    if not row.planned:
        return Markup("")
    shown = [(cell_name(cell), cell.values, cell.printed.decimals + 1) for cell in row.cells]
    shown += [(one.heading, one.values, METRICS[one.metric].digits) for one in row.unprinted]
    rows = []
    for seed in row.planned:
        run = row.runs.get(seed) or study.planned.get((name, row.row.key, seed), "")
        named: str = to(RUNS, run, known[run]) if run in known else run or NONE
        state = "failed" if seed in row.failed else "counted" if seed in row.runs else "not counted"
        state = "not learned" if seed in row.not_learned else state
        line = [TableCell(str(seed), seed), TableCell(named), TableCell(word(state))]
        for _, values, digits in shown:
            value = values.get(seed)
            line.append(TableCell(NONE if value is None else f"{value:.{digits}f}".replace("-", "−"), value))
        rows.append(line)
    heads = ("seed", "run", "state", *(name for name, _, _ in shown))
    return table(f"Runs of {row.row.label}, {where(row)}", heads, "lll" + "r" * len(shown), rows)


def _reruns(row: ComparedRow) -> Markup:
    """Return others' re-runs of a row, a table each: a line a seed."""
    parts = []
    for key in dict.fromkeys(one.key for cell in row.cells for one in cell.reruns):
        mine = {cell.column: one for cell in row.cells for one in cell.reruns if one.key == key}
        first = next(iter(mine.values()))
        seeds = dict.fromkeys(seed for one in mine.values() for seed in one.values)
        cells = {cell.column: cell for cell in row.cells}
        rows = [
            [
                TableCell(str(seed), seed),
                *(TableCell(number(one.values[seed], cells[c]), one.values[seed]) if seed in one.values
                  else TableCell(NONE) for c, one in mine.items()),
            ]
            for seed in seeds
        ]  # fmt: skip
        about = f"Re-run by {first.by}: {first.code}. Source: {first.source}. Protocol: {first.protocol}."
        parts.append(f"<h4>{html(f'Re-run by {first.by}')}</h4><p>{html(about)}</p>")
        caption = f"{row.row.label}, re-run by {first.by}, {first.n} runs"
        parts.append(table(caption, ("seed", *(COLUMNS[column] for column in mine)), "l" + "r" * len(mine), rows))
    return Markup("".join(parts))
