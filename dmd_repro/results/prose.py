"""A results paragraph in words, from the same numbers the table holds."""

from __future__ import annotations

from collections import Counter

from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.results.rule import points_of
from dmd_repro.results.types import Cell, ComparedRow, ComparisonTable
from dmd_repro.results.verdict import HEADLINES, NOT_COMPARABLE


def prose(table: ComparisonTable) -> str:
    """Return the paragraph: what was run, the verdicts by word, the largest differences, what cannot be said."""
    measured = [row for row in table.rows if row.state == "measured"]
    printed = sum(len(row.cells) for row in table.rows)
    name = table.title.partition(":")[0]
    if not measured:
        text = f"{name} prints {printed} numbers; none of its rows has been run here, so our runs say nothing of them."
        return " ".join([*table.answers, text])
    cells = [(row, cell) for row in measured for cell in row.cells]
    words = Counter(cell.judged.word for _, cell in cells)
    runs = len({run for row in measured for run in row.runs.values()})
    text = (
        f"{name} prints {printed} numbers in {len(table.rows)} rows; {len(measured)} rows ({len(cells)} numbers) were "
        f"measured with {runs} runs."
    )
    if table.mark:
        text += f" These are {table.mark.lower()}, so no number is compared with the printed ones."
    headline = [f"{words[word]} {word}" for word in HEADLINES if words[word]]
    if headline:
        text += f" With a margin of {points_of(table.margin)} the verdicts are: {', '.join(headline)}."
    others = [f"{count} {word}" for word, count in words.items() if word not in HEADLINES]
    if others and not (table.mark and set(words) == {NOT_COMPARABLE}):
        text += f" {'The others' if headline else 'The readings'} are: {', '.join(others)}."
    ordered = sorted((pair for pair in cells if pair[1].difference is not None), key=_distance, reverse=True)
    if ordered:
        row, cell = ordered[0]
        text += f" The largest difference is {_cell(row, cell)}."
        if len(ordered) > 1:
            text += f" The smallest is {_cell(*ordered[-1])}."
        compatible = sum(cell.judged.one_run == "compatible" for _, cell in ordered)
        text += f" Read as one run each, {compatible} of the {len(ordered)} compared printed numbers are compatible"
        text += " with ours."
    failed = sum(len(row.failed) for row in measured)
    if failed:
        text += f" Failed or diverged runs: {failed}; the verdicts of their rows are inconclusive."
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
    text += f" ({cell.difference:+.{digits}f}".replace("-", "−")
    if d:
        ends = f"{d.interval[0]:+.{digits}f} to {d.interval[1]:+.{digits}f}".replace("-", "−")
        text += f", 90 % interval {ends}"
    return f"{text}; {cell.judged.word})"
