"""How far each measured mean lies from the printed number, drawn in the `picture` of LaTeX itself: it needs no package.

Only numbers that may be compared with the printed ones are in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.metrics.registry import METRICS
from dmd_repro.render.drawing import Axis
from dmd_repro.render.latex_grid import escape
from dmd_repro.render.layout import cell_name
from dmd_repro.results.rule import points_of
from dmd_repro.results.types import Cell, ComparedRow, ComparisonTable
from dmd_repro.stats.verdict import Difference

NAMES, SCALE, WORDS, LINE = 58, 90, 22, 4.0  # millimetres: names, axis, words at the right; a line
MOST = 50  # lines of a drawing: a page holds it with its caption
Compared = tuple[ComparedRow, Cell, Difference]


def differences(table: ComparisonTable) -> list[str]:
    """Return the drawing as floats, a page each; nothing where no measured number may be compared."""
    found = [(row, cell, d) for row in table.rows for cell in row.cells if (d := cell.judged.difference)]
    if not found:
        return []
    ends = [end / METRICS[cell.metric].point for _, cell, d in found for end in d.interval]
    axis = Axis(min(*ends, -table.margin), max(*ends, table.margin), NAMES, NAMES + SCALE)
    said = (
        f"{table.heading}: mean minus printed, in points, with its interval. Line: the printed number; dashed: the "
        f"margin, {points_of(table.margin)}. {len(found)} numbers that may be compared with the printed ones."
    )
    out: list[str] = []
    for first in range(0, len(found), MOST):
        more = " Continued." if first else ""
        out += [r"\begin{figure}[!htbp]", r"\centering\footnotesize\setlength{\unitlength}{1mm}"]
        out += [*_picture(found[first : first + MOST], axis, table.margin)]
        out += [rf"\caption{{{escape(said + more)}}}", r"\end{figure}"]
    return out


def _picture(found: Sequence[Compared], axis: Axis, margin: float) -> list[str]:
    height = LINE * len(found) + 2
    parts = [rf"\begin{{picture}}({NAMES + SCALE + WORDS},{height + 5:g})(0,-5)", r"\thinlines"]
    for value in axis.ticks():
        parts.append(_put(axis(value), 0, r"\line(0,-1){1}"))
        parts.append(_put(axis(value), -4.5, rf"\makebox(0,3)[b]{{${value:g}$}}"))
    parts.append(_put(NAMES, 0, rf"\line(1,0){{{SCALE}}}"))
    parts += [
        rf"\multiput({axis(side):.2f},0)(0,2){{{int(height / 2)}}}{{\line(0,1){{1}}}}" for side in (-margin, margin)
    ]
    parts += [r"\thicklines", _put(axis(0.0), 0, rf"\line(0,1){{{height:g}}}")]
    for at, (row, cell, d) in enumerate(found):
        y, point = height - 1 - LINE * (at + 0.5), METRICS[cell.metric].point
        low, high = (axis(end / point) for end in d.interval)
        name = f"{row.row.label}, {row.row.dataset.upper()} {row.row.setting}, {cell_name(cell)}"
        parts.append(_put(NAMES - 2, y - 1.5, rf"\makebox(0,3)[r]{{{escape(name)}}}"))
        parts.append(_put(low, y, rf"\line(1,0){{{high - low:.2f}}}"))
        parts.append(_put(axis(d.d / point), y, r"\circle*{1.4}"))
        parts.append(_put(NAMES + SCALE + 2, y - 1.5, rf"\makebox(0,3)[l]{{{escape(cell.judged.word)}}}"))
    return [*parts, r"\end{picture}"]


def _put(x: float, y: float, what: str) -> str:
    return rf"\put({x:.2f},{y:.2f}){{{what}}}"
