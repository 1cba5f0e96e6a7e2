"""Figures 3 and 4: t-SNE maps of the decoupled features, many of them, above the numbers of what they claim."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.figures.page import COLOURS, MARK, Page, drawing, panels
from dmd_repro.papers.dmd.claimed import claim_sheet
from dmd_repro.papers.dmd.separation import (
    Figure,
    MaskFeatures,
    classes_of,
    command,
    draw_clips,
    measure,
    points_of,
    subject,
)  # fmt: skip
from dmd_repro.records.folder import Records
from dmd_repro.results.sheet import TextGrid
from dmd_repro.stats.separation import Labels, Points

PERPLEXITIES = (5.0, 30.0)
MAP_SEEDS = (0, 1)
DRAWS = 3
MARKERS = {"l": "o", "a": "^", "v": "s"}
NAMES = {"l": "language", "a": "acoustic", "v": "visual"}
# seven classes from negative (blue) over neutral (grey) to positive (red): an order, so no colours of their own
SCALE = ("#08519c", "#4292c6", "#9ecae1", "#9e9e9e", "#fcae91", "#fb6a4a", "#a50f15")
WORDS = {"fig3": "Figure 3 from the recorded runs: homogeneous features X^com",
         "fig4": "Figure 4 from the recorded runs: heterogeneous features X^prt"}  # fmt: skip
MAPS = (
    "t-SNE (scikit-learn, random start by its seed) of the same features in every column of a row: where columns "
    "differ, the picture shows t-SNE and not the model. Only the numbers are measured; distances in a map mean nothing."
)


@dataclass(frozen=True, slots=True)
class Map:
    """One column: which clips, and how t-SNE is set."""

    title: str
    draw: int | None  # None: the whole split
    perplexity: float
    seed: int


def maps_of(perplexities: Sequence[float], draws: int, whole: int, sample: int) -> list[Map]:
    """Return the columns: perplexities x t-SNE seeds on the first draw, the other draws, the whole split.

    A sample that is the whole split is drawn once.
    """
    alone = sample >= whole
    first = "whole split" if alone else "draw 1"
    out = [
        Map(f"{first}, perplexity {p:g}, seed {s}", None if alone else 0, p, s) for p in perplexities for s in MAP_SEEDS
    ]
    last = perplexities[-1]
    if not alone:
        out += [Map(f"draw {i + 1}, perplexity {last:g}, seed 0", i, last, 0) for i in range(1, draws)]
        out.append(Map(f"whole split, perplexity {last:g}, seed 0", None, last, 0))
    return out


def draw_scatter(
    figure: Figure, records: Records, data: Sequence[str] = (), *, perplexities: Sequence[float] = PERPLEXITIES,
    draws: int = DRAWS, seed: int = 0, say: Callable[[str], None] = lambda line: None,
) -> list[Page]:  # fmt: skip
    """Return the page of Figure 3 or 4; `seed` draws the clips, `say` hears what takes long.

    Raises RunError as `papers.dmd.separation.subject` does.
    """
    about = subject(records, data)
    labels = classes_of(str(about.group.data["dataset"]), about.any.y_true)
    clips = [draw_clips(figure, labels, seed, i) for i in range(draws)]
    whole = len(about.any.ids)
    columns = maps_of(perplexities, draws, whole, len(clips[0]) if clips else whole)
    masks = [mask for mask in about.masks if mask.runs]
    largest = whole * len(about.any.modalities)
    say(f"{len(columns) * len(masks)} t-SNE maps, the largest of {largest} points; then the numbers of "
        f"{sum(len(mask.runs) for mask in masks)} runs")  # fmt: skip
    sheet = claim_sheet(figure, about, measure(figure, about, draws=draws, seed=seed), seed=seed)
    shown = min(set.intersection(*(set(mask.runs) for mask in masks)), default=None)
    notes = [MAPS, _shown(shown), *sheet.notes, *sheet.data, *sheet.rule]
    with drawing():
        numbers = _side_by_side(sheet.grids)
        page, axes = panels(
            len(about.masks), len(columns), size=(1.75, 1.85), title=WORDS[figure], mark=sheet.mark, notes=notes,
            table=numbers,
        )  # fmt: skip
        for mask, row in zip(about.masks, axes, strict=True):
            run = shown if shown in mask.runs else min(mask.runs, default=None)
            for column, axis in zip(columns, row, strict=True):
                axis.set(xticks=[], yticks=[])
                if run is None:
                    axis.set_axis_off()
                    continue
                chosen = None if column.draw is None else clips[column.draw]
                _map(axis, figure, mask, run, chosen, labels, column)
            if run is None:
                words = f"{mask.name}: no finished run. Make it: {command(about, mask.off)}"
                row[0].text(0, 0.5, words, transform=row[0].transAxes, color=MARK, clip_on=False)
            row[0].set_ylabel(f"{mask.name}\nseed {run}" if run is not None else mask.name)
        for column, axis in zip(columns, axes[0], strict=True):
            axis.set_title(column.title.replace(", perplexity", "\nperplexity"), fontsize=7)
        _legend(page, figure, labels, about.any.modalities)
    n = sum(len(mask.runs) for mask in masks)
    said = f"{len(columns) * len(masks)} t-SNE maps of {n} runs on {about.group.data['label']}"
    return [Page(figure, page, sheet.mark, said, (sheet,))]


def _shown(shown: int | None) -> str:
    which = (
        f"the run of seed {shown}, the lowest all masks have" if shown is not None else "the lowest seed of each mask"
    )
    return f"The maps show {which}; the numbers are over all seeds."


def embed(points: Points, perplexity: float, seed: int) -> NDArray[np.float32]:
    """Return t-SNE's map (N, 2) from a random start; a perplexity that N points cannot have is lowered to N - 1."""
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads and constant features: nothing a reader can mend
        tsne = TSNE(perplexity=min(perplexity, len(points) - 1), init="random", learning_rate="auto", random_state=seed)
        found: NDArray[np.float32] = tsne.fit_transform(points)
    return found


def _map(
    axis: Any, figure: Figure, mask: MaskFeatures, run: int, clips: Labels | None, labels: Any, column: Map
) -> None:
    found = mask.found[run]
    points, modality, owner = points_of(figure, found, clips)
    if len(points) < 5 or not np.isfinite(points).all():
        axis.text(0.5, 0.5, "too few points" if len(points) < 5 else "not numbers", transform=axis.transAxes,
                  ha="center", color=MARK)  # fmt: skip
        return
    spots = embed(points, column.perplexity, column.seed)
    first = next(iter(labels.values()))
    told = (first if clips is None else first[clips])[owner]
    size = 12 if len(points) < 500 else 3 if len(points) < 3000 else 0.8
    for i, m in enumerate(found.modalities):
        here = modality == i
        if figure == "fig4":
            axis.scatter(*spots[here].T, s=size, color=COLOURS[i], marker=MARKERS[m], linewidths=0, alpha=0.7)
            continue
        for value in np.unique(told):
            some = here & (told == value)
            axis.scatter(*spots[some].T, s=size, color=_colour(int(value), first), marker=MARKERS[m], linewidths=0)
    if column.perplexity > len(points) - 1:
        axis.text(0, 0, f"perplexity {len(points) - 1}", transform=axis.transAxes, fontsize=5.5)


def _colour(value: int, labels: Labels) -> str:
    return SCALE[value + 3] if labels.min() < 0 or labels.max() > 1 else SCALE[6 if value else 0]


def _legend(page: Any, figure: Figure, labels: Any, modalities: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    def dot(colour: str, marker: str, words: str) -> Line2D:
        return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=words)

    name, first = next(iter(labels.items()))
    if figure == "fig4":
        handles = [dot(COLOURS[i], MARKERS[m], NAMES[m]) for i, m in enumerate(modalities)]
    else:
        seven = name == "7 classes"
        words = {
            c: f"{c:+d}".replace("+0", "0").replace("-", "−") if seven else ("non-negative" if c else "negative")
            for c in map(int, np.unique(first))
        }
        handles = [dot(_colour(c, first), "o", said) for c, said in words.items()]
        handles += [dot("#555555", MARKERS[m], NAMES[m]) for m in modalities]
    page.legend(
        handles=handles, loc="upper right", ncols=len(handles), frameon=False, columnspacing=0.8, handletextpad=0.1
    )


def _side_by_side(grids: Sequence[TextGrid]) -> str:
    """Return grids of one height beside each other, the first columns of all but the first left out."""
    blocks = [_fixed(grid if i == 0 else _without_names(grid)).splitlines() for i, grid in enumerate(grids)]
    wide = [max(map(len, block)) for block in blocks]
    lines = zip(*blocks, strict=True)
    return "\n".join("      ".join(part.ljust(w) for part, w in zip(line, wide, strict=True)) for line in lines)


def _without_names(grid: TextGrid) -> TextGrid:
    return TextGrid(grid.title, grid.headers[3:], grid.align[3:], tuple(row[3:] for row in grid.rows))


def _fixed(grid: TextGrid) -> str:
    """Return a grid in columns of a fixed-width font."""
    lines = [grid.headers, *grid.rows]
    wide = [max(len(line[i]) for line in lines) for i in range(len(grid.headers))]
    put = [
        "  ".join(
            cell.rjust(w) if side == "r" else cell.ljust(w)
            for cell, w, side in zip(line, wide, grid.align, strict=True)
        )
        for line in lines
    ]
    return "\n".join([grid.title, *(line.rstrip() for line in put)])
