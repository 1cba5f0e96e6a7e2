"""Curves: every loss term, the validation loss and every measure of valid and test over the epochs, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmd_repro.figures.page import COLOURS, INK, MARK, Page, drawing, panels
from dmd_repro.metrics.registry import METRICS, metrics_of, one_a_column, shown_in
from dmd_repro.records.folder import Records
from dmd_repro.results.histories import Histories, histories, noted, reader
from dmd_repro.results.scores import data_line

ACROSS = 6
VALID, TEST, LOSS = COLOURS[0], COLOURS[1], COLOURS[2]
NOTES = (
    "Thin: each seed; thick: their mean, dotted where a run has stopped and it is of the others (two or more). "
    "Triangles on the axis: the epochs the runs were selected at, by the validation split alone; test is measured each "
    "epoch and chooses nothing.",
    "Loss terms are unweighted, the mean over the batches of an epoch; total is their weighted sum.",
)


def draw_curves(records: Records, asked: str | None, data: Sequence[str] | None = None) -> list[Page]:
    """Return a page for each measured row of a table, for one run, or for each configuration at hand.

    Raises as `results.histories.histories` does.
    """
    found = histories(records, asked, data)
    with drawing():
        return [_page(one) for one in found]


def _page(runs: Histories) -> Page:
    terms = runs.names("train")
    usual = [n for n in one_a_column(shown_in("run", str(runs.record.data["dataset"]))) if n in runs.names("valid")]
    measures = usual or [n for n in runs.names("valid") if n in METRICS]
    drawn = 1 + len(measures) + len(terms)
    n, seeds = len(runs.lines), ", ".join(map(str, runs.lines))
    notes = [f"{data_line(runs.record)}, seed{'s' * (n > 1)} {seeds}.", *NOTES]
    if n == 1:
        notes.insert(0, "ONE SEED: how far seeds spread cannot be seen here, and nothing is settled by it.")
    figure, axes = panels(
        math.ceil(drawn / ACROSS), ACROSS, size=(1.85, 1.45), title=f"Curves of {runs.title}", mark=runs.mark,
        notes=notes, sharex=True,
    )  # fmt: skip
    places = iter(axis for row in axes for axis in row)
    axis = next(places)
    _lines(axis, runs, VALID, lambda line: noted(line, "valid_loss"))
    axis.set_title("validation loss (selects)")
    known = metrics_of(str(runs.record.data["dataset"]))
    for name in measures:
        axis = next(places)
        metric = known.get(name, METRICS[name])
        for split, colour in (("valid", VALID), ("test", TEST)):
            _lines(axis, runs, colour, reader(split, name, metric.scale))
        axis.set_title(f"{metric.name}{' %' if metric.unit == '%' else ''}")
    for term in terms:
        axis = next(places)
        _lines(axis, runs, LOSS, reader("train", term, 1.0))
        axis.set_title(f"{term}, train")
    rest = list(places)
    for axis in (axis for row in axes for axis in row if axis not in rest):
        for epoch in runs.selected.values():
            axis.plot(
                [epoch], [0.0], marker="^", markersize=3.5, color=INK, alpha=0.5, clip_on=False, zorder=5,
                transform=axis.get_xaxis_transform(),
            )  # fmt: skip
    for axis in rest:
        axis.set_axis_off()
    for split, colour in (("valid", VALID), ("test", TEST), ("train", LOSS)):
        axes[0][1 if measures else 0].plot([], [], color=colour, label=split)
    figure.legend(*axes[0][1 if measures else 0].get_legend_handles_labels(), loc="upper right", ncols=3, frameon=False)
    for row in axes:
        for axis in row:
            axis.locator_params(axis="x", integer=True, nbins=5)
    for column in range(ACROSS):
        drawn_here = [row[column] for row in axes if row[column] not in rest]
        if drawn_here:
            drawn_here[-1].set_xlabel("epoch")
            drawn_here[-1].tick_params(labelbottom=True)
    said = f"Loss terms and measures of {runs.title} over up to {runs.longest} epochs, {n} seeds"
    return Page(runs.name, figure, runs.mark, said)


def _lines(axis: Any, runs: Histories, colour: str, read: Any) -> None:
    longest = runs.longest
    values = np.full((len(runs.lines), longest), np.nan)
    for i, lines in enumerate(runs.lines.values()):
        found = [read(line) for line in lines]
        values[i, : len(found)] = [math.nan if x is None or not math.isfinite(x) else x for x in found]
    epochs, dot = np.arange(1, longest + 1), "." if longest == 1 else ""
    for one in values:
        axis.plot(epochs, one, color=colour, linewidth=0.5, alpha=0.45, marker=dot)
    there = np.isfinite(values).sum(0)
    if len(values) > 1:
        mean = np.nansum(values, 0) / np.where(there > 1, there, np.nan)
        whole = min(map(len, runs.lines.values()))  # beyond it some run has stopped, and the mean is of the others
        axis.plot(epochs[:whole], mean[:whole], color=colour, linewidth=1.4, marker=dot)
        axis.plot(epochs[whole - 1 :], mean[whole - 1 :], color=colour, linewidth=1.0, linestyle=":")
    if _diverged(values, runs):
        axis.text(0.5, 0.5, "not a number", transform=axis.transAxes, color=MARK, ha="center", fontsize=7)


def _diverged(values: np.ndarray, runs: Histories) -> bool:
    return any(np.isnan(one[: len(lines)]).any() for one, lines in zip(values, runs.lines.values(), strict=True))
