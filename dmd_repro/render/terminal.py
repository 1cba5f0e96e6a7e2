"""Comparisons for the terminal."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmd_repro.render.layout import more, overview, printed_only
from dmd_repro.render.sentences import (
    Ink,
    answers,
    data_lines,
    legend,
    measured_notes,
    other_reruns,
    pointers,
    rule_lines,
)
from dmd_repro.results.sheet import TextGrid
from dmd_repro.results.types import ComparisonTable
from dmd_repro.visible import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 80  # of a pipe, which has none of its own
GLUE = "\ue000"  # stands for a space at which no line is cut; of no alphabet


def terminal(tables: Sequence[ComparisonTable], width: int = WIDTH, ink: Ink = Ink()) -> str:
    """Return the tables as plain text of at most `width` columns."""
    from rich.console import Console

    stream = io.StringIO()
    show(tables, Console(file=stream, width=width, no_color=True, highlight=False), ink)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def terminal_console(err: bool = False) -> Console:
    """Return a console as wide as the terminal; into a pipe or a file of 80 columns. `err`: on stderr."""
    from rich.console import Console

    console = Console(stderr=err, highlight=False)
    console.width = width_of(console)
    return console


def width_of(console: Console) -> int:
    """Return the columns that lines for people may take: the terminal's, 80 of a pipe or a file."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH


def show(tables: Sequence[ComparisonTable], console: Console, ink: Ink = Ink()) -> None:
    """Print the tables on a console; what was said under one about reading it is not said again under the next."""
    said: set[str] = set()
    for table in tables:
        _show(table, console, ink, said)


def _show(table: ComparisonTable, console: Console, ink: Ink, said: set[str]) -> None:
    from rich.rule import Rule
    from rich.text import Text

    console.print(Rule(Text(one_line(table.heading), style="bold red" if table.mark else "bold"), align="left"))
    show_list("", [("·", answer) for answer in answers(table)], console)
    run = any(row.planned for row in table.rows)
    footnotes = table.footnotes if ink.whole else measured_notes(table)
    if run or ink.whole:
        for block in table.blocks:
            show_grid(_notes_beside_names(overview(block, footnotes), console), console, title=block.title)
            for grid in more(block, ink.whole):
                show_grid(grid, console)
    else:
        for grid in (grid for block in table.blocks for grid in more(block, whole=False)):
            show_grid(grid, console)
        for block in table.blocks:
            show_grid(printed_only(block), console, title=block.title)
    show_list("Notes", [(str(i), note) for i, note in enumerate(footnotes, start=1)], console)
    show_list("", [("·", note) for note in table.notes], console)
    if ink.whole:
        show_list("Re-runs by others, not comparable", [("·", line) for line in other_reruns(table)], console)
    if run or ink.whole:
        show_list("Data", [("·", line) for line in data_lines(table)], console)
    _show_new("Legend", [*legend(table), *pointers(table, ink)], console, said)
    if ink.legend:
        _show_new("Rules", rule_lines(table), console, said)


def _show_new(title: str, lines: Sequence[str], console: Console, said: set[str]) -> None:
    new = [line for line in lines if line not in said]
    said.update(new)
    show_list(title if len(new) == len(lines) else f"{title} (and as above)", [("·", line) for line in new], console)


def show_grid(grid: TextGrid, console: Console, title: str | None = None) -> None:
    """Print one grid within the window and without cutting off a digit.

    What is too wide closes up first, then text folds between words, then the columns are split over several tables
    that repeat the first.
    """
    from rich.text import Text

    if title:
        console.print(Text(one_line(title), style="bold"))
    for part in _fitting(grid, console):
        table = _table(part, narrow=False)
        if _most(table, console) > console.width:
            table = _table(part, narrow=True)
        shown = console.width
        # one number too wide for the window alone: the line runs over, for no digit may be cut off, as rich would
        console.width = max(shown, _least(part))
        console.print(table, crop=False)
        console.width = shown
        if not table.show_edge:
            console.print()


def _notes_beside_names(grid: TextGrid, console: Console) -> TextGrid:
    """Return a grid whose last column, the notes, stands behind the names where that saves a second grid for it."""
    plain = _columns(grid, range(len(grid.headers) - 1))
    if not any(row[-1] for row in grid.rows):
        return plain
    if _least(grid) <= console.width:
        return grid
    rows = tuple((f"{row[0]} ({row[-1]})" if row[-1] else row[0], *row[1:-1]) for row in grid.rows)
    return TextGrid(grid.title, ("method (notes)", *grid.headers[1:-1]), plain.align, rows)


def _most(table: Table, console: Console) -> int:
    """Return the columns of the window that a table takes with nothing folded."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=1000), table).maximum


def _least(grid: TextGrid) -> int:
    """Return the columns of the window that a grid needs, closed up and with its text folded between words."""
    from rich.cells import cell_len

    needed = len(grid.headers) - 1
    for column in _table(grid, narrow=True).columns:
        texts = [str(column.header), *map(str, column.cells)]
        pieces = [piece for text in texts for piece in (text.splitlines() if column.no_wrap else text.split())]
        needed += max(map(cell_len, pieces), default=0)
    return needed


def _fitting(grid: TextGrid, console: Console) -> list[TextGrid]:
    """Return a grid, or its columns in several grids that fit the window, each with the columns that name its lines."""
    named = max(1, min(2, len(grid.align) - len(grid.align.lstrip("l"))))
    most = len(grid.headers)  # columns of the first part
    while most > named + 1 and _least(_columns(grid, range(most))) > console.width:
        most -= 1
    if most == len(grid.headers):
        return [grid]
    rest = _columns(grid, (*range(named), *range(most, len(grid.headers))))
    return [_columns(grid, range(most)), *_fitting(rest, console)]


def _columns(grid: TextGrid, at: Sequence[int]) -> TextGrid:
    """Return some columns of a grid."""
    rows = tuple(tuple(row[i] for i in at) for row in grid.rows)
    return TextGrid(grid.title, tuple(grid.headers[i] for i in at), "".join(grid.align[i] for i in at), rows)


def _table(grid: TextGrid, narrow: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if narrow else 1, 0, 0), pad_edge=False, show_edge=not narrow)
    rows = [[one_line(cell) for cell in line] for line in grid.rows]
    rows = [[cell.replace(" ± ", "±") for cell in line] if narrow else line for line in rows]
    for at, (header, side) in enumerate(zip(map(one_line, grid.headers), grid.align, strict=True)):
        # "ACC7 printed" on two lines: the column is as wide as its numbers, not as its name
        name = header.replace(" printed", "\nprinted").replace(" measured", "\nmeasured")
        if narrow and rows:
            cells = max(len(line[at]) for line in rows)
            most = max([cells, *map(len, header.split())])
            name = "\n".join(part for line in name.splitlines() for part in textwrap.wrap(line, most))
        # text may fold, a number and the name of a line never
        whole = side == "r" or at == 0
        table.add_column(Text(name), justify="right" if side == "r" else "left", no_wrap=whole, overflow="fold")
    for line in rows:
        table.add_row(*(Text(text) for text in line))
    return table


def show_list(title: str, items: Sequence[tuple[str, str]], console: Console) -> None:
    """Print marked lines under a heading; nothing where there is none."""
    from rich.text import Text

    if not items:
        return
    if title:
        console.print(Text(title, style="bold"))
    for mark, text in items:
        lines = Text(one_line(text)).wrap(console, max(20, console.width - 3))
        for at, line in enumerate(lines):
            line.rstrip()
            console.print(Text(f"{'' if at else mark:>2} ") + line, no_wrap=True, crop=False)


def folded(line: str, width: int) -> list[str]:
    """Return a line in pieces of at most `width` columns, the later ones further in; cut between words alone.

    What has no space stays whole, however long it is: a path or an address is there to be copied. So do the few words
    of a part that two spaces part from the next: a number keeps its name.
    """
    start = len(line) - len(line.lstrip())
    parts = [part if len(part) > width // 2 else part.replace(" ", GLUE) for part in line[start:].split("  ")]
    glued = line[:start] + "  ".join(parts) if len(parts) > 1 else line
    found = textwrap.wrap(
        glued, width, subsequent_indent=" " * (start + 2), break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False,
    )  # fmt: skip
    return [piece.replace(GLUE, " ") for piece in found] or [""]
