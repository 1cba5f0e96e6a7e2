"""Comparisons as Markdown that GitHub renders."""

from __future__ import annotations

import re

from dmd_repro.render.layout import more, overview
from dmd_repro.render.sentences import Ink, answers, data_lines, legend, other_reruns, rule_lines
from dmd_repro.results.sheet import TextGrid
from dmd_repro.results.types import ComparisonTable
from dmd_repro.visible import one_line


def plain(text: str) -> str:
    """Escape what Markdown would read as markup, formulas and links among it; a text stays on its line."""
    return re.sub(r"([\\`*_\[\]<>|~#$]|(?<=\w):(?=//))", r"\\\1", one_line(text))


def grid_lines(grid: TextGrid) -> list[str]:
    """Return one grid as a pipe table, with an empty line after it."""
    rule = ["---:" if side == "r" else ":---" for side in grid.align]
    return ["| " + " | ".join(map(plain, line)) + " |" for line in (grid.headers,)] + [
        "| " + " | ".join(rule) + " |",
        *("| " + " | ".join(map(plain, line)) + " |" for line in grid.rows),
        "",
    ]


def markdown(table: ComparisonTable, ink: Ink = Ink()) -> str:
    """Return one table as a section with a heading."""
    lines = [f"## {plain(table.heading)}", ""]
    lines += [*(f"- {plain(answer)}" for answer in said), ""] if (said := answers(table)) else []
    for block in table.blocks:
        lines += [f"### {plain(block.title)}", "", *grid_lines(overview(block, table.footnotes))]
        for grid in more(block, ink.whole):
            lines += grid_lines(grid)
    lines += ["**Notes**", ""]
    lines += [f"{number}. {plain(note)}" for number, note in enumerate(table.footnotes, start=1)]
    lines += ["", *(f"- {plain(note)}" for note in table.notes)] if table.notes else []
    if others := other_reruns(table):
        lines += ["", "**Re-runs by others, not comparable**", "", *(f"- {plain(line)}" for line in others)]
    lines += ["", "**Data**", "", *(f"- {plain(line)}" for line in data_lines(table))]
    if said := legend(table):
        lines += ["", "**Legend**", "", *(f"- {plain(line)}" for line in said)]
    if ink.legend:
        lines += ["", "**Rules**", "", *(f"- {plain(line)}" for line in rule_lines(table))]
    return "\n".join([*lines, ""])
