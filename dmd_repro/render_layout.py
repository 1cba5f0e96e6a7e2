"""A comparison laid out as grids of text: what the terminal, Markdown and LaTeX print is decided here, once.

Two grids a block: the paper's own table with our column beside each of its columns, then, for rows with runs, one line
per number with interval, difference and test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmd_repro.compare_types import RULE, Cell, ComparedBlock, ComparedRow, ComparisonTable
from dmd_repro.published import COLUMNS

NONE = "—"
CONVENTIONS = (
    "non0: negative / positive, clips labelled 0 left out; has0: negative / non-negative, all clips; "
    "swapped: weighted F1 with its two arguments exchanged; each row is scored by its own convention."
)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text."""

    title: str
    headers: tuple[str, ...]
    align: str  # l or r per column
    rows: tuple[tuple[str, ...], ...]


def overview(block: ComparedBlock, footnotes: Sequence[str]) -> Grid:
    """Return the paper's rows with the printed and the measured value of each column, and the numbers of the notes."""
    headers = ["method", "n"]
    for column in block.columns:
        headers += [f"{COLUMNS[column]} printed", f"{COLUMNS[column]} measured"]
    rows = []
    for row in block.rows:
        line = [row.row.label, row.n]
        for cell in row.cells:
            line += [cell.printed.text, measured(row, cell)]
        rows.append((*line, ", ".join(str(1 + i) for i in sorted(map(footnotes.index, row.notes)))))
    return Grid(block.title, (*headers, "notes"), "lr" + "rr" * len(block.columns) + "l", tuple(rows))


def details(block: ComparedBlock) -> Grid | None:
    """Return one line per measured number of the block; None if nothing was measured."""
    rows = [
        (
            row.row.label if cell is row.cells[0] else "",
            cell_name(cell),
            cell.printed.text,
            measured(row, cell),
            interval(cell),
            NONE if cell.difference is None else signed(cell.difference, cell),
            NONE if cell.test is None else p_value(cell.test.p),
        )
        for row in block.rows
        if row.state == "measured"
        for cell in row.cells
    ]
    headers = ("method", "metric", "printed", "mean ± STD", "95 % interval", "diff.", "p")
    return Grid(block.title, headers, "llrrrrr", tuple(rows)) if rows else None


def cell_name(cell: Cell) -> str:
    """Return the column with the convention it was scored by: `F1 non0 swapped`."""
    _, *convention = cell.metric.split("_")
    return " ".join([COLUMNS[cell.column], *convention])


def _number(value: float, cell: Cell) -> str:
    """Print one decimal more than the paper does."""
    return f"{value:.{cell.printed.decimals + 1}f}".replace("-", "−")


def measured(row: ComparedRow, cell: Cell) -> str:
    """Return `mean ± STD`, the mean alone for one run, or why there is none in a word or two."""
    if cell.summary.mean is None:
        if row.failed and len(row.failed) == len(row.planned):
            return "failed"
        return NONE if row.state != "not run" else "not run"
    mean = _number(cell.summary.mean, cell)
    return mean if cell.summary.std is None else f"{mean} ± {_number(cell.summary.std, cell)}"


def interval(cell: Cell) -> str:
    """Return the interval of the mean, or a dash."""
    ends = cell.summary.interval
    return NONE if ends is None else f"[{_number(ends[0], cell)}, {_number(ends[1], cell)}]"


def signed(value: float, cell: Cell) -> str:
    """Return a difference with its sign."""
    return ("+" if value >= 0 else "") + _number(value, cell)


def p_value(p: float) -> str:
    """Return a p-value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def data_lines(table: ComparisonTable) -> list[str]:
    """Return one line per feature set: its label and the digest of its content."""
    if not table.data:
        return ["none: no run was planned; `dmd reproduce` plans and trains"]
    return [f"{data['label']}, digest {str(data['digest'])[:12]}" for data in table.data]


def rule_lines() -> list[str]:
    """Return what stands under every table: how the numbers were made and what they may be used for."""
    return [*RULE, CONVENTIONS]
