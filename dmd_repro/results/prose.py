"""A results paragraph in words, from the same numbers the table holds."""

from __future__ import annotations

from collections import Counter

from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.results.rule import points_of
from dmd_repro.results.types import Cell, ComparedRow, ComparisonTable
from dmd_repro.results.verdict import NOT_COMPARABLE
from dmd_repro.results.words import HEADLINES


def prose(table: ComparisonTable) -> str:
    """Return the paragraph: what was run, the verdicts by word, the largest differences, what cannot be said."""
    rows = [row for row in table.rows if row.cells]
    measured = [row for row in rows if row.state == "measured"]
    printed = sum(len(row.cells) for row in table.rows)
    name = table.title.partition(":")[0]
    if not measured:
        text = f"{name} prints {printed} numbers; none of its rows has been run here, so our runs say nothing of them."
        return " ".join([*table.answers, text])
    cells = [(row, cell) for row in measured for cell in row.cells]
    words = Counter(row.words.mean for row in measured)
    runs = len({run for row in measured for run in row.runs.values()})
    text = (
        f"{name} prints {printed} numbers in {len(rows)} rows; {len(measured)} rows ({len(cells)} numbers) were "
        f"measured with {runs} runs."
    )
    if table.mark:
        text += f" These are {table.mark.lower()}, so no number is compared with the printed ones."
    headline = [f"{words[word]} {word}" for word in HEADLINES if words[word]]
    if headline:
        text += f" Read as means, with a margin of {points_of(table.margin)}, the rows are: {', '.join(headline)}."
    others = [f"{count} {word}" for word, count in words.items() if word not in HEADLINES]
    if others and not (table.mark and set(words) == {NOT_COMPARABLE}):
        text += f" {'The other rows' if headline else 'The rows'} are: {', '.join(others)}."
    told = [row for row in measured if row.words.one_run]
    if told:
        compatible = sum(row.words.one_run == "compatible" for row in told)
        text += f" Read as one run each, {compatible} of {len(told)} rows are compatible with ours."
    ordered = sorted((pair for pair in cells if pair[1].comparable), key=_distance, reverse=True)
    if ordered:
        row, cell = ordered[0]
        text += f" The largest difference is {_cell(row, cell)}."
        if len(ordered) > 1:
            text += f" The smallest is {_cell(*ordered[-1])}."
    failed = sum(len(row.failed) for row in measured)
    if failed:
        text += f" Failed or diverged runs: {failed}; a stage that holds one is inconclusive."
    collapsed = sum(len(row.not_learned) for row in measured)
    if collapsed:
        text += f" Runs that did not learn: {collapsed}; a stage that holds one gets no word, and means stand with and "
        text += "without them."

    return " ".join([text, *table.answers])


def _distance(pair: tuple[ComparedRow, Cell]) -> float:
    return abs(pair[1].difference or 0.0) / METRICS[pair[1].metric].point


def _cell(row: ComparedRow, cell: Cell) -> str:
    """Say one comparison: method, setting, measure, mean, printed, difference and its interval."""
    mean, d = cell.summary.mean, cell.judged.difference
    digits = cell.printed.decimals + 1
    assert mean is not None
    assert cell.difference is not None
    text = f"{row.row.label} ({row.row.setting}) {COLUMNS[cell.column]}, {mean:.{digits}f}"
    text += f" where {cell.printed.text} is printed"
    gap = cell.difference if d is None else d.d
    of = f"of the first {d.n} runs " if d is not None and d.n != len(cell.values) else ""
    text += f" ({of}{gap:+.{digits}f}".replace("-", "−")
    if d:
        ends = f"{d.interval[0]:+.{digits}f} to {d.interval[1]:+.{digits}f}".replace("-", "−")
        text += f", {100 * (1 - 2 * d.level):.0f} % interval {ends}"
    return f"{text})"
