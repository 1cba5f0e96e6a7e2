"""Figure 5: the six edges of each graph unit over the epochs, beside their start and the fixed prior (claim C7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmd_repro.figures.page import COLOURS, INK, PALE, Page, drawing, panels
from dmd_repro.papers.dmd.edges import UNITS, EdgeRuns, edge_runs
from dmd_repro.records.folder import Records
from dmd_repro.results.scores import data_line, mark_of
from dmd_repro.systems.edges import EDGE_NAMES, FAVOURED

PAPERS_EPOCHS = 50  # the axis of the paper's figure
NOTES = (
    "Line: mean over the seeds that reached the epoch, thin where a run has stopped before it. Band: ± one sample STD "
    "over them (two or more). Triangles on the axis: the epochs the runs were selected at. An edge is the softmax "
    "weight of teacher → student, the mean over the clips and batches of a training epoch. Solid: edges that the "
    "paper names as leading; dashed: the others.",
    "Grey: what a uniform softmax gives an edge (the start). Short lines at the right of the left panels: the fixed "
    "prior that the authors' code adds to each edge, in the edge's colour; it is no result of training. The right "
    "panels show the same edges without the prior, on an axis of their own, and each seed as a thin line.",
)


def draw_edges(records: Records, data: Sequence[str] = ()) -> list[Page]:
    """Return a page for each configuration with a graph unit: a row a unit; raises RunError where there is none."""
    groups: dict[str, list[EdgeRuns]] = {}
    for unit in edge_runs(records, data):
        groups.setdefault(unit.record.configuration_id, []).append(unit)
    with drawing():
        return [_page(sorted(units, key=lambda u: list(UNITS).index(u.unit))) for units in groups.values()]


def _page(units: Sequence[EdgeRuns]) -> Page:
    record = units[0].record
    n, mark = len(units[0].curves), mark_of([record.data["standing"]])
    seeds = ", ".join(map(str, units[0].curves))
    longest = max(len(curve) for unit in units for curve in unit.curves.values())
    notes = [f"{data_line(record)}, protocol {record.spec.protocol}, seeds {seeds}, up to {longest} epochs "
             f"(the paper's axis: {PAPERS_EPOCHS}).", *NOTES]  # fmt: skip
    if n == 1:
        notes.insert(0, "ONE SEED: no band, and nothing is settled by it.")
    title = f"Figure 5 from the recorded runs: {units[0].words.partition(' of ')[2]}"
    figure, axes = panels(len(units), 2, size=(3.9, 2.5), title=title, mark=mark, notes=notes)
    for unit, row in zip(units, axes, strict=True):
        for axis, whole in zip(row, (True, False), strict=True):
            _edges(axis, unit, longest, whole=whole)
        row[0].set_title(f"{UNITS[unit.unit]}: learned edges, start and prior")
        row[1].set_title(f"{UNITS[unit.unit]}: learned edges alone, closer")
        row[0].set_ylabel("weight of the edge")
        row[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    which = " and ".join(UNITS[unit.unit] for unit in units)
    said = f"Edges of {which} over {longest} epochs, {n} seed{'s' * (n > 1)}, {record.data['label']}"
    return Page(record.configuration_id, figure, mark, said)


def _edges(axis: Any, unit: EdgeRuns, longest: int, *, whole: bool) -> None:
    mean, std = over_seeds(list(unit.curves.values()))
    epochs = np.arange(1, len(mean) + 1)
    axis.axhline(unit.start, color=PALE, linewidth=0.8, zorder=0)
    for e, name in enumerate(EDGE_NAMES):
        shown, style = name.replace("->", " → ").upper(), "-" if name in FAVOURED[unit.unit] else "--"
        dot = "o" if longest == 1 else ""
        short = min(map(len, unit.curves.values()))  # beyond it some run has stopped
        axis.plot(
            epochs[:short], mean[:short, e], color=COLOURS[e], linestyle=style, marker=dot, markersize=3, label=shown
        )
        axis.plot(epochs[short - 1 :], mean[short - 1 :, e], color=COLOURS[e], linestyle=style, linewidth=0.6)
        axis.fill_between(
            epochs, mean[:, e] - std[:, e], mean[:, e] + std[:, e], color=COLOURS[e], alpha=0.18, linewidth=0
        )
        if not whole and len(unit.curves) > 1:
            for curve in unit.curves.values():
                axis.plot(
                    epochs[: len(curve)], [edges[e] for edges in curve], color=COLOURS[e], linewidth=0.4, alpha=0.5
                )
    if whole:
        _prior(axis, unit.prior, longest)
        axis.set_ylim(0, 1.1 * max(*unit.prior, float(np.nanmax(mean + np.nan_to_num(std))), unit.start))
        axis.text(longest * 1.06, axis.get_ylim()[1], "prior", ha="center", va="top", fontsize=7)
    for epoch in unit.selected.values():
        axis.plot(
            [epoch], [0.0], marker="^", markersize=4, color=INK, alpha=0.5, clip_on=False, zorder=5,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip
    axis.set_xlim(0.5 if longest == 1 else 1, longest * 1.11 if whole else max(longest, 1.5))
    axis.locator_params(axis="x", integer=True)


def _prior(axis: Any, prior: Sequence[float], longest: int) -> None:
    """Draw a short line an edge at the right; edges of one prior share its height side by side."""
    same: dict[float, list[int]] = {}
    for e, value in enumerate(prior):
        same.setdefault(round(value, 6), []).append(e)
    for value, edges in same.items():
        step = 0.08 / len(edges)
        for i, e in enumerate(edges):
            ends = (longest * (1.02 + i * step), longest * (1.02 + (i + 1) * step))
            axis.plot(ends, [value] * 2, color=COLOURS[e], linewidth=2.4, solid_capstyle="butt")


def over_seeds(curves: Sequence[Sequence[Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sample STD (epochs, K) over the curves (epochs of one, K) that reached an epoch; one has none."""
    longest, wide = max(map(len, curves)), len(curves[0][0])
    stacked = np.full((len(curves), longest, wide), np.nan)
    for i, curve in enumerate(curves):
        stacked[i, : len(curve)] = [[math.nan if x is None else x for x in values] for values in curve]
    there = np.isfinite(stacked).sum(0)
    mean = np.nansum(stacked, 0) / np.where(there, there, np.nan)
    spread = np.nansum((stacked - mean) ** 2, 0) / np.where(there > 1, there - 1, np.nan)
    return mean, np.sqrt(spread)
