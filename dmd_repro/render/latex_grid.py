"""A grid of text as a LaTeX tabular: booktabs rules, and siunitx columns wherever a column holds numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

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
    **{c: f"\\{c}" for c in "&%$#_{}"},
}
_NUMBER = re.compile(r"([<+−-]?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?([✓↓↑?]?)", re.ASCII)
_WORDS = {"", NONE, "not run", "failed"}  # what may stand in a column of numbers


def escape(text: str) -> str:
    """Return text that any LaTeX prints: accents are dropped, a character it may not know becomes a question mark."""
    plain = "".join(c if c in _ESCAPES else unicodedata.normalize("NFKD", c) for c in one_line(text))
    kept = (c for c in plain if c in _ESCAPES or (c.isprintable() and not unicodedata.combining(c)))
    return "".join(_ESCAPES.get(c, c if c.isascii() else "?") for c in kept)


def tex_line(cells: Sequence[str]) -> str:
    """Return one row of a tabular of plain text."""
    return " & ".join(map(escape, cells)) + r" \\"


def columns(grids: Sequence[TextGrid]) -> tuple[str, list[bool]]:
    """Return the column types of grids that share their columns, and which of these are numbers (siunitx `S`)."""
    kinds, numeric = [], []
    for i, side in enumerate(grids[0].align):
        cells = [row[i] for grid in grids for row in grid.rows if len(row) > i]
        found = [match for cell in cells if (match := _NUMBER.fullmatch(cell))]
        numbers = side == "r" and bool(found) and all(_NUMBER.fullmatch(cell) or cell in _WORDS for cell in cells)
        numeric.append(numbers)
        kinds.append(_siunitx(found) if numbers else side)
    return "".join(kinds), numeric


def _siunitx(found: Sequence[re.Match[str]]) -> str:
    """Return the column type that aligns these numbers at their decimal marker."""
    sign = "<" if any(match[1] == "<" for match in found) else "+" if any(match[1] for match in found) else ""
    whole, part = max(len(match[2]) for match in found), max(len(match[3] or "") for match in found)
    spread = max((len(match[4].lstrip("0") + (match[5] or "")) for match in found if match[4]), default=0)
    uncertainty = f"({spread})" if spread else ""
    room = r"{\textsuperscript{$\uparrow$}}" if any(match[6] for match in found) else ""
    shape = f"{sign}{whole}.{part}{uncertainty}{room}"
    return f"S[separate-uncertainty,retain-explicit-plus,table-format={shape}]"


def number_line(cells: Sequence[str], numeric: Sequence[bool]) -> str:
    """Return one row; numbers go bare into their columns, everything else is protected by braces there."""
    return " & ".join(_cell(cell, is_number) for cell, is_number in zip(cells, numeric, strict=True)) + r" \\"


def _cell(cell: str, numeric: bool) -> str:
    if not numeric:
        return escape(cell)
    match = _NUMBER.fullmatch(cell)
    if match is None:
        return f"{{{escape(cell)}}}" if cell else ""
    bare = cell.rstrip("✓↓↑?").replace("−", "-").replace("±", r"\pm")
    return bare + (f"{{\\textsuperscript{{{escape(match[6])}}}}}" if match[6] else "")


def head_line(headers: Sequence[str], numeric: Sequence[bool]) -> str:
    """Return the row of headings."""
    return " & ".join(f"{{{escape(h)}}}" if n else escape(h) for h, n in zip(headers, numeric, strict=True)) + r" \\"


def tabular(grids: Sequence[tuple[str, TextGrid]]) -> list[str]:
    """Return grids that share their columns as ONE tabular, each under its title in italics ("" for none)."""
    kinds, numeric = columns([grid for _, grid in grids])
    headers = grids[0][1].headers
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head_line(headers, numeric)]
    for title, grid in grids:
        lines.append(r"\midrule")
        if title:
            lines.append(span(title, len(headers)))
        for row in grid.rows:
            alone = row[0] and not any(row[1:])  # a name over its lines
            lines.append(
                rf"\multicolumn{{{len(row)}}}{{l}}{{{escape(row[0])}}} \\" if alone else number_line(row, numeric)
            )
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def span(title: str, width: int) -> str:
    """Return a row that is one title across the table."""
    return rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(title)}}}}} \\"
