"""Comparisons as LaTeX: booktabs, siunitx columns, marks of the verdicts; the rule and the notes under each table."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.metrics.registry import COLUMNS
from dmd_repro.render.latex_grid import columns, escape, number_line, span, tabular
from dmd_repro.render.layout import (
    chances,
    conventions,
    data_lines,
    details,
    further,
    other_reruns,
    overview,
    reruns,
    rule_lines,
    unprinted,
)
from dmd_repro.results.sheet import TextGrid
from dmd_repro.results.types import ComparisonTable

__all__ = ["DOCUMENT", "NEEDS", "escape", "latex"]

PAGE = 40  # lines of tables that fit a page with the notes below
NEEDS = "% needs \\usepackage{booktabs} and \\usepackage{siunitx}"
DOCUMENT = (
    r"\documentclass[10pt,a4paper]{article}",
    r"\usepackage[utf8]{inputenc}",
    r"\usepackage[margin=1.8cm]{geometry}",
    r"\usepackage{booktabs}",
    r"\usepackage{siunitx}",
    r"\begin{document}",
)


def latex(tables: Sequence[ComparisonTable], *, standalone: bool) -> str:
    """Return tables for a document that loads booktabs and siunitx, or a document that compiles alone."""
    parts = [part for table in tables for part in _table(table)]
    head, tail = (DOCUMENT, (r"\end{document}",)) if standalone else ((NEEDS,), ())
    return "\n".join([*head, *parts, *tail, ""])


def _table(table: ComparisonTable) -> list[str]:
    over, under = (
        _overview(table),
        [line for make in (unprinted, reruns, chances, details, further, conventions) for line in _more(table, make)],
    )
    if len(over) + len(under) <= PAGE:
        return _float(table, [*over, *under, *_notes(table)])
    # a float longer than the page would run out of it
    parts = _float(table, over)
    if under:
        parts += _float(table, under, ": the measured rows", "-details")
    return [*parts, *_notes(table), r"\clearpage"]


def _float(table: ComparisonTable, body: Sequence[str], title: str = "", label: str = "") -> list[str]:
    return [
        r"\begin{table}[!htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3.5pt}",
        rf"\caption{{The paper's {escape(table.title)}{title}}}",
        rf"\label{{tab:dmd-{table.name}{label}}}",
        *body,
        r"\end{table}",
    ]


def _overview(table: ComparisonTable) -> list[str]:
    wanted = table.blocks[0].columns
    width = 3 + 2 * len(wanted)
    grids: list[tuple[str, TextGrid]] = []
    for block in table.blocks:
        grid = overview(block, table.footnotes)
        missing = [""] * (width - len(grid.headers))  # section 4.2 prints ACC2 alone
        rows = tuple((*row[:-1], *missing, row[-1]) for row in grid.rows)
        grids.append((block.title, TextGrid(grid.title, grid.headers, "lr" + "r" * (width - 3) + "l", rows)))
    kinds, numeric = columns([grid for _, grid in grids])
    pairs = len(wanted)
    heads = ["", "", *(rf"\multicolumn{{2}}{{c}}{{{COLUMNS[column]}}}" for column in wanted), ""]
    second = ["method", "$n$", *["{printed}", "{measured}"] * pairs, "notes"]
    lines = [
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        "".join(rf"\cmidrule(lr){{{3 + 2 * i}-{4 + 2 * i}}}" for i in range(pairs)),
        " & ".join(second) + r" \\",
    ]
    for title, grid in grids:
        lines += [r"\midrule", span(title, width), *(number_line(row, numeric) for row in grid.rows)]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _more(table: ComparisonTable, make: object) -> list[str]:
    """One tabular of all blocks that have this grid; two if section 4.2's columns differ from the table's."""
    found = [(block.title, grid) for block in table.blocks if callable(make) and (grid := make(block))]
    alike: dict[tuple[str, ...], list[tuple[str, TextGrid]]] = {}
    for title, grid in found:
        alike.setdefault(grid.headers, []).append((title, grid))
    return [line for group in alike.values() for line in ("", r"\medskip", *tabular(group))]


def _notes(table: ComparisonTable) -> list[str]:
    notes = [rf"\textsuperscript{{{i}}}~{escape(note)}." for i, note in enumerate(table.footnotes, start=1)]
    others = [f"Re-run by others, not comparable: {line}" for line in other_reruns(table)]
    rest = [*table.answers, *table.notes, *others, *(f"Data: {line}" for line in data_lines(table)), *rule_lines(table)]
    sentences = [escape(text if text.endswith(".") else f"{text}.") for text in rest]
    head = r"\noindent\begin{minipage}{\linewidth}\scriptsize\raggedright"
    return ["", r"\medskip", head, *notes, r"\par", *sentences, r"\end{minipage}"]
