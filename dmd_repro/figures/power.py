"""Power: what a number of seeds can settle about one printed number, at a measured spread or an assumed one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from dmd_repro.figures.page import COLOURS, INK, PALE, Page, drawing, panels
from dmd_repro.metrics.registry import METRICS
from dmd_repro.results.power import ASSUMED, FAR_OFF
from dmd_repro.results.rule import points_of
from dmd_repro.results.types import ComparisonTable
from dmd_repro.stats.stages import ALPHA, STAGES
from dmd_repro.stats.verdict import FEWEST, half_cell, power_different, power_reproduced

ENOUGH = 0.8
ASSUMED_WORDS = "assumed: one independent study of DMD on MOSI found it over 10 seeds"
COUNTS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50)


def draw_power(table: ComparisonTable | None, margin: float) -> list[Page]:
    """Return one page; `table`: whose measured spreads to take (None: the assumed spread)."""
    spreads = _spreads(table) if table else []
    std = median(spreads) if spreads else ASSUMED
    n = max((len(row.runs) for row in table.rows), default=0) if table else 0
    cells = max((len(row.cells) for row in table.rows if row.planned), default=1) if table else 1
    source = (
        f"median over the {len(spreads)} measured numbers with two runs or more, from {min(spreads):.2f} to "
        f"{max(spreads):.2f}" if spreads else ASSUMED_WORDS
    )  # fmt: skip
    half, name = half_cell(1), table.name if table else "one printed number"
    notes = [
        f"Spread of one run: {std:.2f} points ({source}). Margin {points_of(margin)}, read once at "
        f"{ALPHA * 100:g} %; dots at the usual stages, "
        f"{', '.join(f'{s.n} ({100 * s.level:g} %)' for s in STAGES)}, each at its own level. "
        f"Below {FEWEST} runs (grey) there is no word. Runs are taken as normal.",
    ]
    notes += [f"{n} runs a row are at hand (dotted line)."] if n else []
    if table and table.mark:
        notes += ["The spread is that of these runs; what it is on the official split, they do not say."]
    with drawing():
        figure, axes = panels(
            1, 1, size=(5.6, 3.0), title=f"What a number of seeds can settle: {name}", notes=notes,
            mark=table.mark if table else None,
        )  # fmt: skip
        axis = axes[0][0]
        curves = {
            "one number inside the margin, if its mean is the printed one": lambda k, alpha: power_reproduced(
                k, std, cell=half, margin=margin, alpha=alpha
            ),
            f"'reproduced': all {cells} numbers of a row, at least": lambda k, alpha: (
                power_reproduced(k, std, cell=half, margin=margin, alpha=alpha) ** cells
            ),
            f"'worse' or 'better', if one mean is {margin + FAR_OFF:g} points off": lambda k, alpha: power_different(
                k, std, true=margin + FAR_OFF, cell=half, margin=margin, alpha=alpha / cells
            ),
        }
        if cells == 1:
            del curves[f"'reproduced': all {cells} numbers of a row, at least"]
        for colour, (words, power) in zip((COLOURS[0], COLOURS[5], COLOURS[1]), curves.items(), strict=False):
            axis.plot(COUNTS, [100 * power(k, ALPHA) for k in COUNTS], color=colour, label=words)
            axis.plot(
                [s.n for s in STAGES], [100 * power(s.n, s.level) for s in STAGES], color=colour, marker="o",
                linestyle="",
            )  # fmt: skip
        if spreads and min(spreads) < max(spreads):
            widest, narrowest = (_powers(std, half, margin) for std in (max(spreads), min(spreads)))
            axis.fill_between(
                COUNTS, widest, narrowest, color=COLOURS[0], alpha=0.12, linewidth=0,
                label="from the widest to the narrowest number",
            )  # fmt: skip
        axis.axhline(100 * ENOUGH, color=PALE, linewidth=0.7)
        axis.axvspan(1.8, FEWEST - 0.5, color=PALE, alpha=0.15, linewidth=0)
        if n:
            axis.axvline(min(n, COUNTS[-1]), color=INK, linewidth=0.9, linestyle=":")
        axis.set(
            xscale="log",
            xlim=(1.8, 52),
            ylim=(-2, 102),
            xlabel="runs (seeds) of the row",
            ylabel="chance of the word, %",
        )
        axis.set_xticks([2, 3, 5, 7, 10, 15, 20, 30, 50], ["2", "3", "5", "7", "10", "15", "20", "30", "50"])
        axis.minorticks_off()
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = f"Chance of each word over the number of seeds at a spread of {std:.2f} points"
    return [Page(name.replace("/", "-").replace(" ", "-"), figure, said)]


def _powers(std: float, half: float, margin: float) -> list[float]:
    return [100 * power_reproduced(k, std, cell=half, margin=margin) for k in COUNTS]


def _spreads(table: ComparisonTable) -> Sequence[float]:
    """Return the sample STD, in points, of every measured number with two runs or more that differ."""
    return [
        cell.summary.std / METRICS[cell.metric].point
        for row in table.rows
        for cell in row.cells
        if cell.summary.std and not row.failed
    ]
