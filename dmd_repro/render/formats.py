"""Comparisons in every format: one function; the formats are in their own files, JSON is here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from dmd_repro.render.csv import csv_text
from dmd_repro.render.html import html
from dmd_repro.render.latex import latex
from dmd_repro.render.markdown import markdown
from dmd_repro.render.sentences import Ink
from dmd_repro.render.terminal import WIDTH, terminal
from dmd_repro.results.types import ComparisonTable
from dmd_repro.visible import visible

Format = Literal["terminal", "markdown", "latex", "html", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "latex", "html", "csv", "json")
SUFFIXES: dict[Format, str] = {
    "terminal": ".txt",
    "markdown": ".md",
    "latex": ".tex",
    "html": ".html",
    "csv": ".csv",
    "json": ".json",
}
JSON_VERSION = 2  # 1: a verdict at every cell, of 0.1.0


def render(
    tables: Sequence[ComparisonTable],
    format_: Format,
    *,
    standalone: bool = False,
    width: int = WIDTH,
    ink: Ink = Ink(),
) -> str:
    """Return the tables in one format. `standalone` makes LaTeX a whole document; `width` is the terminal's.

    `ink` is how much of it is printed; JSON, CSV and HTML hold all.
    """
    return visible(_render(tables, format_, standalone, width, ink))


def _render(tables: Sequence[ComparisonTable], format_: Format, standalone: bool, width: int, ink: Ink) -> str:
    if format_ == "json":
        document = {"version": JSON_VERSION, "tables": [table.to_json() for table in tables]}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format_ == "markdown":
        return "\n".join(markdown(table, ink) for table in tables)
    if format_ == "html":
        return html(tables)
    if format_ == "csv":
        return csv_text(tables)
    return latex(tables, standalone=standalone, ink=ink) if format_ == "latex" else terminal(tables, width, ink)
