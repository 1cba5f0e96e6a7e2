"""Sheets in every format: results that are no table of the paper (an ablation, Shapley values, edges), in every format.

A sheet is a few grids of text with what must be read beside them; JSON takes its document instead of the text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from html import escape as html_escape
from typing import TYPE_CHECKING

from dmd_repro.render.formats import JSON_VERSION, Format
from dmd_repro.render.html import answers_html, grid_html, items_html
from dmd_repro.render.html_page import page
from dmd_repro.render.latex import DOCUMENT, NEEDS, escape, floats, grid_piece, paragraph
from dmd_repro.render.markdown import grid_lines, plain
from dmd_repro.render.terminal import WIDTH, show_grid, show_list
from dmd_repro.results.sheet import NOT_COMPARABLE, Sheet
from dmd_repro.visible import csv_cell, one_line, visible

if TYPE_CHECKING:
    from rich.console import Console


def render_sheets(sheets: Sequence[Sheet], format_: Format, *, standalone: bool = False, width: int = WIDTH) -> str:
    """Return sheets in one format; `standalone` makes LaTeX a whole document."""
    return visible(_render(sheets, format_, standalone, width))


def _render(sheets: Sequence[Sheet], format_: Format, standalone: bool, width: int) -> str:
    if format_ == "json":
        document = {"version": JSON_VERSION, "sheets": [sheet.to_json() for sheet in sheets]}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format_ == "markdown":
        return "\n".join(_markdown(sheet) for sheet in sheets)
    if format_ == "latex":
        head, tail = (DOCUMENT, (r"\end{document}",)) if standalone else ((NEEDS,), ())
        return "\n".join([*head, *(part for sheet in sheets for part in _latex(sheet)), *tail, ""])
    if format_ == "html":
        return page("DMD: from the recorded runs", [part for sheet in sheets for part in _html(sheet)])
    if format_ == "csv":
        return "\n".join(csv_files(sheets).values())
    from rich.console import Console

    stream = io.StringIO()
    show_sheets(sheets, Console(file=stream, width=width, no_color=True, highlight=False))
    return "\n".join(text.rstrip() for text in stream.getvalue().splitlines()) + "\n"


def show_sheets(sheets: Sequence[Sheet], console: Console) -> None:
    """Print sheets on a console."""
    from rich.rule import Rule
    from rich.text import Text

    for sheet in sheets:
        console.print(Rule(Text(one_line(sheet.title), style="bold red" if sheet.mark else "bold"), align="left"))
        if sheet.mark:
            console.print(Text(f"{sheet.mark}, {NOT_COMPARABLE}", style="bold red"))
        show_list("", [("·", item) for item in sheet.answer], console)
        for grid in sheet.grids:
            show_grid(grid, console, title=grid.title)
        for title, items in sheet.lists:
            show_list(title, [("·", item) for item in items], console)


def _markdown(sheet: Sheet) -> str:
    lines = [f"## {plain(sheet.heading)}", ""]
    lines += [*(f"- {plain(item)}" for item in sheet.answer), ""] if sheet.answer else []
    for grid in sheet.grids:
        lines += [f"### {plain(grid.title)}", ""] if grid.title else []
        lines += grid_lines(grid)
    for title, items in sheet.lists:
        lines += [f"**{title}**", "", *(f"- {plain(item)}" for item in items), ""]
    return "\n".join(lines)


def _html(sheet: Sheet) -> list[str]:
    mark = f'<p class="mark">{html_escape(sheet.mark)}</p>' if sheet.mark else ""
    parts = [f"<section><h2>{html_escape(sheet.heading)}</h2>{mark}"]
    parts += answers_html(sheet.answer)
    for grid in sheet.grids:
        parts += [f"<h3>{html_escape(grid.title)}</h3>", grid_html(grid)]
    return [*parts, *(items_html(title, items) for title, items in sheet.lists), "</section>"]


def csv_files(sheets: Sequence[Sheet]) -> dict[str, str]:
    """Return each grid as a CSV of its own, by a name for its file; each line says what it is of, with the mark."""
    found: dict[str, str] = {}
    for sheet in sheets:
        for grid in sheet.grids:
            stream = io.StringIO()
            writer = csv.writer(stream, lineterminator="\n")
            lines = [("result", "part", *grid.headers), *((sheet.heading, grid.title, *row) for row in grid.rows)]
            writer.writerows([csv_cell(cell) for cell in line] for line in lines)
            words = re.sub(r"\W+", "-", f"{sheet.name} {grid.title if len(sheet.grids) > 1 else ''}").strip("-").lower()
            name = next(n for n in (words, *(f"{words}-{k}" for k in range(2, 1000))) if n not in found)
            found[name] = stream.getvalue()
    return found


def _latex(sheet: Sheet) -> list[str]:
    pieces = [grid_piece([(grid.title, grid)]) for grid in sheet.grids]
    sentences = [escape(text if text.endswith(".") else f"{text}.") for _, items in sheet.lists for text in items]
    return [
        *paragraph(sheet.answer),
        *floats(pieces, escape(sheet.heading), f"tab:dmd-{sheet.name}"),
        "",
        r"{\scriptsize\raggedright\noindent",
        *sentences,
        r"\par}",
        r"\clearpage",
    ]
