"""A grid of text as a LaTeX table: booktabs rules, and columns of numbers padded so that their points stand in line.

siunitx would line them up too, but drops an STD of 0.00 and puts marks at the end of the column, not at the number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from dmd_repro.results.sheet import NONE, TextGrid
from dmd_repro.visible import one_line

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after \\ a bracket would be read as its optional argument
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "✓": r"$\surd$",  # needs no further package
    "—": "--",
    "–": "--",
    "·": r"$\cdot$",
    "°": r"$\circ$",
    "κ": r"$\kappa$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}
MARKS = "✓↓↑?°"
_NUMBER = re.compile(rf"([<+−-]?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?([{MARKS}]*)", re.ASCII)
_WORDS = {"", NONE, "not run", "failed"}  # what may stand in a column of numbers
PLUS_MINUS = r"\,$\pm$\,"


@dataclass(frozen=True, slots=True)
class Shape:
    """The digits of a column of numbers, to which each is padded so that decimal points and ± stand in line."""

    part: int  # digits after the point
    whole_of_spread: int  # digits of the STD before the point, 0 without any
    part_of_spread: int
    marks: bool


def escape(text: str) -> str:
    """Return text that any LaTeX prints: accents are dropped, a character it may not know becomes a question mark."""
    plain = "".join(c if c in _ESCAPES else unicodedata.normalize("NFKD", c) for c in one_line(text))
    kept = (c for c in plain if c in _ESCAPES or (c.isprintable() and not unicodedata.combining(c)))
    return "".join(_ESCAPES.get(c, c if c.isascii() else "?") for c in kept)


def tex_line(cells: Sequence[str]) -> str:
    """Return one row of a tabular of plain text."""
    return " & ".join(map(escape, cells)) + r" \\"


def columns(grids: Sequence[TextGrid]) -> tuple[str, list[Shape | None]]:
    """Return the column types of grids that share their columns, and the shape of those that hold numbers."""
    kinds, shapes = [], []
    for i, side in enumerate(grids[0].align):
        cells = [row[i] for grid in grids for row in grid.rows if len(row) > i]
        found = [match for cell in cells if (match := _NUMBER.fullmatch(cell))]
        numbers = side == "r" and bool(found) and all(_NUMBER.fullmatch(cell) or cell in _WORDS for cell in cells)
        shape = _shape(found) if numbers else None
        shapes.append(shape)
        # a mark takes no room at its number, so there is some behind the column
        kinds.append(side + (r"@{\hspace{1.2em}}" if shape and shape.marks else ""))
    return "".join(kinds), shapes


def _shape(found: Sequence[re.Match[str]]) -> Shape:
    return Shape(
        max(len(match[3] or "") for match in found),
        max(len(match[4] or "") for match in found),
        max(len(match[5] or "") for match in found),
        any(match[6] for match in found),
    )


def number_line(cells: Sequence[str], shapes: Sequence[Shape | None]) -> str:
    """Return one row, its numbers padded to the shape of their columns."""
    return " & ".join(_cell(cell, shape) for cell, shape in zip(cells, shapes, strict=True)) + r" \\"


def _cell(cell: str, shape: Shape | None) -> str:
    match = _NUMBER.fullmatch(cell)
    if shape is None or match is None:
        return (r"\quad " if cell.startswith("  ") else "") + escape(cell)
    sign, whole, part, spread, part_of_spread, marks = (found or "" for found in match.groups())
    text = (f"${sign.replace('−', '-')}$" if sign else "") + whole + (f".{part}" if part else "")
    missing = _digits(part, shape.part)
    if spread:
        text += _phantom(missing) + PLUS_MINUS + _phantom("0" * (shape.whole_of_spread - len(spread))) + spread
        text += f".{part_of_spread}" if part_of_spread else ""
        missing = _digits(part_of_spread, shape.part_of_spread)
    elif shape.whole_of_spread:
        missing += PLUS_MINUS + "0" * shape.whole_of_spread + _digits("", shape.part_of_spread)
    mark = rf"\rlap{{\textsuperscript{{{escape(marks)}}}}}" if marks else ""
    return text + mark + _phantom(missing)


def _digits(there: str, wanted: int) -> str:
    """Return the digits, and the point, that a fraction lacks."""
    return "" if len(there) >= wanted else ("" if there else ".") + "0" * (wanted - len(there))


def _phantom(text: str) -> str:
    return rf"\phantom{{{text}}}" if text else ""


def head_line(headers: Sequence[str]) -> str:
    """Return the row of headings."""
    return " & ".join(map(escape, headers)) + r" \\"


def tabular(grids: Sequence[tuple[str, TextGrid]], caption: Sequence[str] = ()) -> list[str]:
    """Return grids that share their columns as ONE tabular, each under its title in italics ("" for none).

    With a caption it is a `longtable`, which breaks over pages and repeats its heading.
    """
    kinds, shapes = columns([grid for _, grid in grids])
    body: list[str] = []
    width = len(grids[0][1].headers)
    for title, grid in grids:
        if body or title:
            body += [r"\midrule"] if body else []
            body += [span(title, width)] if title else []
        for row in grid.rows:
            alone = len(row) > 1 and row[0] and not any(row[1:])  # a name over its lines
            body.append(rf"\multicolumn{{{width}}}{{l}}{{{escape(row[0])}}} \\" if alone else number_line(row, shapes))
    return framed(kinds, [head_line(grids[0][1].headers)], body, caption)


def framed(kinds: str, head: Sequence[str], body: Sequence[str], caption: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table between booktabs rules; with a caption as a `longtable`."""
    if not caption:
        start, end = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *head, r"\midrule"], r"\end{tabular}"
        return [*start, *body, r"\bottomrule", end]
    return [
        rf"\begin{{longtable}}{{{kinds}}}",
        *caption[:-1], caption[-1] + r" \\",
        r"\toprule", *head, r"\midrule", r"\endfirsthead",
        r"\toprule", *head, r"\midrule", r"\endhead",
        r"\bottomrule", r"\endfoot",
        *body,
        r"\end{longtable}",
    ]  # fmt: skip


def span(title: str, width: int) -> str:
    """Return a row that is one title across the table."""
    return rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(title)}}}}} \\"
