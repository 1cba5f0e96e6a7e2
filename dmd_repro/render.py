"""Comparisons as text: Markdown and JSON here, LaTeX and the terminal in their own files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from dmd_repro.compare_types import ComparisonTable
from dmd_repro.render_latex import latex
from dmd_repro.render_layout import Grid, data_lines, details, overview, rule_lines
from dmd_repro.render_terminal import WIDTH, terminal

Format = Literal["terminal", "markdown", "latex", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "latex", "json")
JSON_VERSION = 1


def render(tables: Sequence[ComparisonTable], format_: Format, *, standalone: bool = False, width: int = WIDTH) -> str:
    """Return the tables in one format. `standalone` makes LaTeX a whole document; `width` is the terminal's."""
    if format_ == "json":
        document = {"version": JSON_VERSION, "tables": [table.to_json() for table in tables]}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format_ == "markdown":
        return "\n".join(_markdown(table) for table in tables)
    return latex(tables, standalone=standalone) if format_ == "latex" else terminal(tables, width=width)


def _plain(text: str) -> str:
    """Escape what Markdown would read as markup, the table's bar among it."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", text)


def _grid(grid: Grid) -> list[str]:
    rule = ["---:" if side == "r" else ":---" for side in grid.align]
    return ["| " + " | ".join(map(_plain, line)) + " |" for line in (grid.headers,)] + [
        "| " + " | ".join(rule) + " |",
        *("| " + " | ".join(map(_plain, line)) + " |" for line in grid.rows),
        "",
    ]


def _markdown(table: ComparisonTable) -> str:
    lines = [f"## {_plain(table.title)}", ""]
    for block in table.blocks:
        lines += [f"### {_plain(block.title)}", "", *_grid(overview(block, table.footnotes))]
        if found := details(block):
            lines += _grid(found)
    lines += ["**Notes**", ""]
    lines += [f"{number}. {_plain(note)}" for number, note in enumerate(table.footnotes, start=1)]
    lines += ["", *(f"- {_plain(note)}" for note in table.notes)] if table.notes else []
    lines += ["", "**Data**", "", *(f"- {_plain(line)}" for line in data_lines(table))]
    lines += ["", "**How to read it**", "", *(f"- {_plain(line)}" for line in rule_lines()), ""]
    return "\n".join(lines)
