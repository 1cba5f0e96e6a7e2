"""Comparisons as LaTeX with booktabs: one float with the paper's rows, the statistics of those measured, the notes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dmd_repro.compare_types import ComparedBlock, ComparisonTable
from dmd_repro.published import COLUMNS
from dmd_repro.render_layout import data_lines, details, overview, rule_lines

PAGE = 62  # lines of tables that fit a page with the notes below
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
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "—": "--",
    "–": "--",
    "·": r"$\cdot$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}
DOCUMENT = (
    r"\documentclass[10pt,a4paper]{article}",
    r"\usepackage[utf8]{inputenc}",
    r"\usepackage[margin=2cm]{geometry}",
    r"\usepackage{booktabs}",
    r"\begin{document}",
)


def escape(text: str) -> str:
    """Return text that any LaTeX prints: accents are dropped, a character it may not know becomes a question mark."""
    plain = "".join(c if c in _ESCAPES else unicodedata.normalize("NFKD", c) for c in text)
    kept = (c for c in plain if c in _ESCAPES or (c.isprintable() and not unicodedata.combining(c)))
    return "".join(_ESCAPES.get(c, c if c.isascii() else "?") for c in kept)


def latex(tables: Sequence[ComparisonTable], *, standalone: bool) -> str:
    """Return tables to be put into a document that loads booktabs, or a document that compiles alone."""
    parts = [part for table in tables for part in _table(table)]
    head, tail = (DOCUMENT, (r"\end{document}",)) if standalone else (("% needs \\usepackage{booktabs}",), ())
    return "\n".join([*head, *parts, *tail, ""])


def _table(table: ComparisonTable) -> list[str]:
    over, under = _overview(table), _details(table)
    if len(over) + len(under) > PAGE:  # a float longer than the page would run out of it
        return [*_float(table, over), *_float(table, [*under, *_notes(table)], ": the measured rows", "-details")]
    return _float(table, [*over, *under, *_notes(table)])


def _float(table: ComparisonTable, body: Sequence[str], title: str = "", label: str = "") -> list[str]:
    return [
        r"\begin{table}[!htbp]",
        r"\centering\small",
        rf"\caption{{The paper's {escape(table.title)}{title}}}",
        rf"\label{{tab:dmd-{table.name}{label}}}",
        *body,
        r"\end{table}",
        r"\clearpage",
    ]


def _overview(table: ComparisonTable) -> list[str]:
    columns = table.blocks[0].columns
    pairs = len(columns)
    head = ["", "", *(rf"\multicolumn{{2}}{{c}}{{{COLUMNS[column]}}}" for column in columns), ""]
    lines = [
        rf"\begin{{tabular}}{{lr{'rr' * pairs}l}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        "".join(rf"\cmidrule(lr){{{3 + 2 * i}-{4 + 2 * i}}}" for i in range(pairs)),
        " & ".join(["method", "$n$", *["printed", "measured"] * pairs, "notes"]) + r" \\",
    ]
    for block in table.blocks:
        lines += [r"\midrule", _span(block, 3 + 2 * pairs)]
        missing = 2 * (pairs - len(block.columns))  # section 4.2 prints ACC2 alone
        for row in overview(block, table.footnotes).rows:
            lines.append(tex_line((*row[:-1], *[""] * missing, row[-1])))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _details(table: ComparisonTable) -> list[str]:
    found = [(block, grid) for block in table.blocks if (grid := details(block))]
    if not found:
        return []
    headers, align = found[0][1].headers, found[0][1].align
    lines = ["", r"\medskip", rf"\begin{{tabular}}{{{align}}}", r"\toprule", tex_line(headers)]
    for block, grid in found:
        lines += [r"\midrule", _span(block, len(headers)), *(tex_line(row) for row in grid.rows)]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _notes(table: ComparisonTable) -> list[str]:
    notes = [rf"\textsuperscript{{{i}}}~{escape(note)}." for i, note in enumerate(table.footnotes, start=1)]
    rest = [*table.notes, *(f"Data: {line}" for line in data_lines(table)), *rule_lines()]
    sentences = [escape(text if text.endswith(".") else f"{text}.") for text in rest]
    head = r"\begin{minipage}{0.95\linewidth}\scriptsize\raggedright"
    return ["", r"\medskip", head, *notes, r"\par", *sentences, r"\end{minipage}"]


def _span(block: ComparedBlock, width: int) -> str:
    return rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\"


def tex_line(cells: Sequence[str]) -> str:
    """Return cells of text as one line of a tabular."""
    return " & ".join(map(escape, cells)) + r" \\"
