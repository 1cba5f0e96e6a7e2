"""Comparisons for the terminal."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmd_repro.render.layout import data_lines, more, other_reruns, overview, rule_lines
from dmd_repro.results.sheet import TextGrid
from dmd_repro.results.types import ComparisonTable
from dmd_repro.visible import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 100  # what the widest table needs


def terminal(tables: Sequence[ComparisonTable], width: int = WIDTH) -> str:
    """Return the tables as plain text of at most `width` columns."""
    from rich.console import Console

    stream = io.StringIO()
    show(tables, Console(file=stream, width=width, no_color=True, highlight=False))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def terminal_console() -> Console:
    """Return a console as wide as the terminal; into a pipe or a file, as wide as the tables like it."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=WIDTH)


def show(tables: Sequence[ComparisonTable], console: Console) -> None:
    """Print the tables on a console; what was said under one about reading it is not said again under the next."""
    said: set[str] = set()
    for table in tables:
        _show(table, console, said)


def _show(table: ComparisonTable, console: Console, said: set[str]) -> None:
    from rich.rule import Rule
    from rich.text import Text

    console.print(Rule(Text(one_line(table.title), style="bold red" if table.mark else "bold"), align="left"))
    said_first = [*table.answers, *(row.answer for row in table.rows if row.answer and row.words.headline)]
    show_list("", [("·", answer) for answer in said_first], console)
    for block in table.blocks:
        show_grid(overview(block, table.footnotes), console, title=block.title)
        for grid in more(block):
            show_grid(grid, console)
    show_list("Notes", [(str(i), note) for i, note in enumerate(table.footnotes, start=1)], console)
    show_list("", [("·", note) for note in table.notes], console)
    show_list("Re-runs by others, not comparable", [("·", line) for line in other_reruns(table)], console)
    show_list("Data", [("·", line) for line in data_lines(table)], console)
    lines = [line for line in rule_lines(table) if line not in said]
    above = " (and as above)" if said else ""
    said.update(lines)
    show_list(f"How to read it{above}", [("·", line) for line in lines], console)


def show_grid(grid: TextGrid, console: Console, title: str | None = None) -> None:
    """Print one grid, closer together where the window is narrow; no digit is cut off however narrow it is."""
    from rich.measure import Measurement
    from rich.text import Text

    if title:
        console.print(Text(one_line(title), style="bold"))
    shown, wide = console.width, console.options.update(width=1000)
    table = _table(grid, narrow=False)
    if Measurement.get(console, wide, table).maximum > shown:
        table = _table(grid, narrow=True)
    # If that is still too wide a line may wrap, but no digit of a number may be cut off, as rich would.
    console.width = max(shown, Measurement.get(console, wide, table).maximum)
    console.print(table, crop=False)
    if not table.show_edge:
        console.print()
    console.width = shown


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
        table.add_column(Text(name), justify="right" if side == "r" else "left", no_wrap=True)
    for line in rows:
        table.add_row(*(Text(text) for text in line))
    return table


def show_list(title: str, items: Sequence[tuple[str, str]], console: Console) -> None:
    """Print marked lines under a heading; nothing where there is none."""
    from rich.table import Table
    from rich.text import Text

    if not items:
        return
    if title:
        console.print(Text(title, style="bold"))
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", min_width=2)
    table.add_column(overflow="fold")
    for mark, text in items:
        table.add_row(Text(mark), Text(one_line(text)))
    console.print(table)
