"""The runs behind a number on one line: interval, mean, a dot each, beside the printed number. One style everywhere."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.render.drawing import Axis, dot, path
from dmd_repro.results.types import Cell
from dmd_repro.stats.summary import Summary
from dmd_repro.stats.verdict import half_cell

# where no style of a study's pages is: in a file of its own, and on the page of a report
STYLE = """
.grid { stroke: #d9d9df; fill: none; }
.printed { stroke: #000000; stroke-width: 2; fill: none; }
.rounds { fill: #e4e4e9; }
.ours { stroke: #0072b2; fill: #0072b2; }
.bar { stroke-width: 2; }
.run { fill-opacity: .7; stroke: none; }
"""


def printed(axis: Axis, cell: Cell, top: float, bottom: float) -> list[str]:
    """Return the printed number, and in grey what rounds to it."""
    value, half = float(cell.printed.value), half_cell(cell.printed.decimals)
    left, right = axis(value - half), axis(value + half)
    wide = max(1.0, right - left)
    return [
        f'<rect class="rounds" x="{left:.5g}" y="{top:g}" width="{wide:.5g}" height="{bottom - top:g}"/>',
        path(f"M{axis(value):.5g} {top:g}V{bottom:g}", "printed"),
    ]


def lane(axis: Axis, y: float, values: Mapping[int, float], summary: Summary, kind: str, said: str) -> list[str]:
    """Return the runs of one source on one line: interval, mean, a dot each."""
    parts = interval(axis, y, summary, kind)
    if summary.mean is not None:
        parts.append(path(f"M{axis(summary.mean):.5g} {y - 7:g}v14", f"{kind} bar"))
    parts += [dot(axis(v), y, f"{kind} run", 3.5, f"{said}, seed {seed}: {v:.6g}") for seed, v in values.items()]
    return parts


def interval(axis: Axis, y: float, summary: Summary, kind: str) -> list[str]:
    """Return the interval of a mean; nothing where there is none."""
    if summary.interval is None:
        return []
    low, high = summary.interval
    return [path(f"M{axis(low):.5g} {y:.5g}H{axis(high):.5g}", f"{kind} bar")]
