"""Comparisons as LaTeX: booktabs, marks at the numbers, the answer above each table and its notes below.

What fits a page is a float; what is longer is a `longtable`, which breaks over pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.render.latex_grid import columns, escape, framed, number_line, span, tabular
from dmd_repro.render.latex_strip import differences
from dmd_repro.render.layout import more, overview
from dmd_repro.render.sentences import Ink, answers, data_lines, legend, other_reruns, rule_lines
from dmd_repro.results.sheet import TextGrid
from dmd_repro.results.types import ComparisonTable

__all__ = ["DOCUMENT", "NEEDS", "escape", "floats", "latex", "paragraph"]

PAGE = 40  # lines of tables that fit a page with its captions
NEEDS = r"% needs \usepackage{booktabs}, and \usepackage{longtable} where a table is longer than a page"
DOCUMENT = (
    r"\documentclass[10pt,a4paper]{article}",
    r"\usepackage[utf8]{inputenc}",
    r"\usepackage[margin=1.8cm]{geometry}",
    r"\usepackage{booktabs}",
    r"\usepackage{longtable}",
    r"\begin{document}",
)
NOTES = r"\footnotesize\raggedright\setlength{\parindent}{0pt}\everypar{\hangindent1.2em\relax}"
SMALL = r"\footnotesize\setlength{\tabcolsep}{3.5pt}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One table of a page: how it is made, in a float ("") or with the caption of a `longtable`, and its lines."""

    make: Callable[[Sequence[str]], list[str]]
    lines: int


def latex(tables: Sequence[ComparisonTable], *, standalone: bool, ink: Ink = Ink(), drawn: bool = False) -> str:
    """Return tables for a document that loads booktabs and longtable, or a document that compiles alone.

    `drawn`: with a figure of the differences from print before each table.
    """
    parts = [part for table in tables for part in _table(table, ink, drawn)]
    head, tail = (DOCUMENT, (r"\end{document}",)) if standalone else ((NEEDS,), ())
    return "\n".join([*head, *parts, *tail, ""])


def _table(table: ComparisonTable, ink: Ink, drawn: bool) -> list[str]:
    grids = [(block.title, grid) for block in table.blocks for grid in more(block, ink.whole)]
    alike: dict[tuple[str, ...], list[tuple[str, TextGrid]]] = {}
    for title, grid in grids:  # one table of all blocks that have this grid; section 4.2's columns are its own
        alike.setdefault((grid.title, *grid.headers), []).append((title, grid))
    pieces = [_overview(table), *(grid_piece(group) for group in alike.values())]
    caption = f"The paper's {escape(table.heading)}"
    return [
        *paragraph(answers(table)), *(differences(table) if drawn else []),
        *floats(pieces, caption, f"tab:dmd-{table.name}"), *_notes(table, ink),
        r"\clearpage",
    ]  # fmt: skip


def grid_piece(group: Sequence[tuple[str, TextGrid]]) -> Piece:
    """Return grids that share their columns as one table."""
    return Piece(lambda caption: tabular(group, caption), 3 + sum(1 + len(grid.rows) for _, grid in group))


def floats(pieces: Sequence[Piece], caption: str, label: str) -> list[str]:
    """Return tables as floats, as many together as fit a page; one that does not fit breaks over pages."""
    pages: list[list[Piece]] = []
    for piece in pieces:
        if pages and sum(one.lines for one in pages[-1]) + piece.lines <= PAGE:
            pages[-1].append(piece)
        else:
            pages.append([piece])
    out: list[str] = []
    for at, page in enumerate(pages):
        named = [rf"\caption{{{caption}{', continued' if at else ''}}}", rf"\label{{{label}{f'-{at + 1}' * bool(at)}}}"]
        if len(page) == 1 and page[0].lines > PAGE:
            # floats that wait would come after it, the table itself after its continuation
            out += [*([r"\clearpage"] if at else []), "", f"{{{SMALL}", *page[0].make(named), "}"]
            continue
        body = [line for piece in page for line in (*piece.make(()), r"\medskip", "")]
        out += [r"\begin{table}[!htbp]", rf"\centering{SMALL}", *named, "", *body[:-2], r"\end{table}"]
    return out


def _overview(table: ComparisonTable) -> Piece:
    wanted = table.blocks[0].columns
    width = 3 + 2 * len(wanted)
    grids: list[tuple[str, TextGrid]] = []
    for block in table.blocks:
        grid = overview(block, table.footnotes)
        missing = [""] * (width - len(grid.headers))  # section 4.2 prints ACC2 alone
        rows = tuple((*row[:-1], *missing, row[-1]) for row in grid.rows)
        grids.append((block.title, TextGrid(grid.title, grid.headers, "lr" + "r" * (width - 3) + "l", rows)))
    kinds, shapes = columns([grid for _, grid in grids])
    pairs = len(wanted)
    head = [
        " & ".join(["", "", *(rf"\multicolumn{{2}}{{c}}{{{COLUMNS[column]}}}" for column in wanted), ""]) + r" \\",
        "".join(rf"\cmidrule(lr){{{3 + 2 * i}-{4 + 2 * i}}}" for i in range(pairs)),
        " & ".join(["method", "$n$", *["printed", "measured"] * pairs, "notes"]) + r" \\",
    ]
    body: list[str] = []
    for title, grid in grids:
        body += [*([r"\midrule"] if body else []), span(title, width), *(number_line(row, shapes) for row in grid.rows)]
    return Piece(lambda caption: framed(kinds, head, body, caption), 5 + len(body))


def paragraph(sentences: Sequence[str]) -> list[str]:
    """Return sentences as paragraphs of their own."""
    return [line for text in sentences for line in ("", rf"\noindent {escape(text)}")]


def _notes(table: ComparisonTable, ink: Ink) -> list[str]:
    notes = [f"{i}. {note}" for i, note in enumerate(table.footnotes, start=1)]
    others = [f"Re-run by others, not comparable: {line}" for line in other_reruns(table)]
    rest = [*table.notes, *others, *(f"Data: {line}" for line in data_lines(table)), *legend(table)]
    rest += rule_lines(table) if ink.legend else []
    said = [escape(text if text.endswith(".") else f"{text}.") for text in (*notes, *rest)]
    # each in a paragraph of its own, its later lines further in
    return ["", rf"{{{NOTES}", *(line for text in said for line in (text, "")), "}"]
