"""Power: what a number of seeds can settle about a printed row, at its measured spread or an assumed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmd_repro.figures.page import COLOURS, INK, PALE, Page, drawing, panels
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import TablePlan
from dmd_repro.records.folder import Records
from dmd_repro.results.power import FAR_OFF, RowPower, assumed_power, row_powers
from dmd_repro.results.rule import points_of
from dmd_repro.results.scores import mark_of
from dmd_repro.results.tables import plans_of
from dmd_repro.stats.stages import ALPHA, STAGES, Stage, stages_of
from dmd_repro.stats.verdict import FEWEST, MARGIN, POWER

COUNTS = (5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50)
ONE_ROW = ("table1", "mosi-aligned-glove-dmd")  # what is drawn where no table is named: a row of three numbers


def draw_power(
    records: Records, table: str | None, data: Sequence[str] | None = None, margin: float | None = None
) -> list[Page]:
    """Return one page; `table`: whose rows, and their measured spreads where runs are at hand.

    `margin`, in points: the plan's where None. Raises ClaimError for an unknown table, RunError where `data` names no
    plan of it.
    """
    plan = plans_of(records.root, [table], data)[table] if table is not None else None
    powers = _powers(records, table, plan)
    chosen = margin if margin is not None else plan.margin if plan else MARGIN
    stages = stages_of(plan.one_look) if plan else STAGES
    worst = min(powers, key=lambda one: (one.reproduced(stages[-1], chosen), one.different(stages[-1], chosen)))
    best = max(powers, key=lambda one: one.reproduced(stages[-1], chosen))
    mark = mark_of([str((row.features or {}).get("standing")) for row in plan.rows.values()]) if plan else None
    with drawing():
        figure, axes = panels(
            1, 1, size=(6.2, 3.0), title=f"What a number of seeds can settle: {_what(table, powers, worst)}",
            notes=_notes(powers, worst, stages, chosen, mark), mark=mark,
        )  # fmt: skip
        _draw(axes[0][0], worst, best, stages, chosen)
    spread = max(std for _, std, _ in worst.gaps)
    said = f"Chance of each word on a row over its number of seeds, at a spread of {spread:.2f} points"
    return [Page((table or "row").replace("/", "-"), figure, mark, said)]


def _powers(records: Records, table: str | None, plan: TablePlan | None) -> list[RowPower]:
    if table is None:
        return [assumed_power(load_table(ONE_ROW[0]).row(ONE_ROW[1]), 0)]
    printed = load_table(table)
    found = row_powers(printed, plan, records) if plan else []
    return found or [assumed_power(row, 0) for row in printed.rows if row.cells]


def _what(table: str | None, powers: Sequence[RowPower], worst: RowPower) -> str:
    if table is None:
        return f"a row of {len(worst.gaps)} printed numbers"
    return f"{table}, {worst.label} ({worst.key})" if len(powers) > 1 else f"{table}, {worst.label}"


def _notes(
    powers: Sequence[RowPower], worst: RowPower, stages: Sequence[Stage], margin: float, mark: str | None
) -> list[str]:
    spread = max(std for _, std, _ in worst.gaps)
    source = "of its finished runs" if worst.measured else "assumed: one independent study of DMD on MOSI, 10 seeds"
    which = f"The row of {len(powers)} with the least power is drawn. " if len(powers) > 1 else ""
    notes = [
        f"{which}{len(worst.gaps)} printed numbers, margin {points_of(margin)}, largest spread of a run {spread:.2f} "
        f"points ({source}).",
        f"Points: the stages at which words are read, {', '.join(f'{s.n} runs at level {s.level:g}' for s in stages)}; "
        "runs between two stages move no word. Lines: a plan of one look at that many runs, level 0.05. Runs are taken "
        f"as normal; below {FEWEST} no word is given.",
    ]
    notes += [f"{worst.n} runs of the row are planned (dotted line)."] if worst.n else []
    notes += ["The spread is that of these runs; what it is on the official split, they do not say."] if mark else []
    return notes


def _draw(axis: object, worst: RowPower, best: RowPower, stages: Sequence[Stage], margin: float) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    words: list[tuple[str, str, Callable[[Stage, float], float]]] = [
        (COLOURS[0], "'reproduced', if the printed numbers are its means", worst.reproduced),
        (COLOURS[1], f"'worse' or 'better', if one is {margin + FAR_OFF:g} points off", worst.different),
    ]
    for colour, said, chance in words:
        axis.plot(COUNTS, [100 * chance(Stage(n, ALPHA), margin) for n in COUNTS], color=colour, alpha=0.45)
        axis.plot(
            [s.n for s in stages],
            [100 * chance(s, margin) for s in stages],
            "o",
            color=colour,
            markersize=5,
            label=said,
        )
    if best is not worst:
        ends = [[100 * one.reproduced(Stage(n, ALPHA), margin) for n in COUNTS] for one in (worst, best)]
        axis.fill_between(
            COUNTS,
            ends[0],
            ends[1],
            color=COLOURS[0],
            alpha=0.12,
            linewidth=0,
            label="'reproduced', up to the best row",
        )
    axis.axhline(100 * POWER, color=PALE, linewidth=0.7)
    if worst.n:
        axis.axvline(min(max(worst.n, COUNTS[0]), COUNTS[-1]), color=INK, linewidth=0.9, linestyle=":")
    axis.set(
        xscale="log", xlim=(4.7, 54), ylim=(-2, 102), xlabel="runs (seeds) of the row", ylabel="chance of the word, %"
    )
    ticks = [5, 7, 10, 15, 20, 30, 50]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
