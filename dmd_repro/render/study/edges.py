"""The page of edges: the six learned edges of each graph unit beside their start and the fixed prior (claim C7)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmd_repro.papers.dmd.edges import EdgeRuns
from dmd_repro.render.drawing import Axis, axis_of, band, figure, line, lines, path, triangles, upwards, words
from dmd_repro.render.layout import ranges
from dmd_repro.render.study.curves import HEIGHT, LEFT, TOP, WIDTH, epoch_marks, epochs_axis
from dmd_repro.render.study.frame import Page
from dmd_repro.render.study.further import caption
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Markup, details, grid, html, items, slug
from dmd_repro.results.sheet import Sheet
from dmd_repro.systems.edges import EDGE_NAMES, FAVOURED

HOW = (
    "Line: mean over the seeds that reached the epoch; band: ± one sample STD over them (two or more). Grey line: "
    "what a uniform softmax gives an edge, where it starts. Solid: edges the paper names as leading; dashed: others. "
    "Triangles: the epochs the runs were selected at. Left: beside the fixed prior that the authors' code adds to each "
    "edge (short lines at the right), which is no result of training; right: the same edges alone, each seed thin."
)
PRIOR = 34  # pixels at the right for the prior
OPEN = 2  # units shown unfolded


def edges_page(study: Study) -> Page | None:
    """Return the page; None where no run has a graph unit."""
    if not study.edges:
        return None
    body = [Markup(f"<p>{html(HOW)}</p>")]
    for i, (unit, sheet) in enumerate(study.edges):
        summary = Markup(f"<strong>{html(unit.words)}</strong> {html(_marked(unit, sheet))}")
        body.append(details(summary, _unit(unit, sheet), anchor=slug("e", sheet.name), shown=i < OPEN))
    marks = {sheet.mark for _, sheet in study.edges}
    return Page("edges.html", "Edges", "Learned edges", body, marks.pop() if len(marks) == 1 else None)


def _marked(unit: EdgeRuns, sheet: Sheet) -> str:
    return f"on {unit.record.data['name']}" + (f" ({sheet.mark})" if sheet.mark else "")


def _unit(unit: EdgeRuns, sheet: Sheet) -> str:
    drawn = [edge_figure(unit, sheet.mark, prior=True), edge_figure(unit, sheet.mark, prior=False)]
    names = "".join(
        f'<i class="k{e}"></i>{html(name.replace("->", " → ").upper())}' for e, name in enumerate(EDGE_NAMES)
    )
    parts = [f'<p class="key soft">{names}</p><div class="figures">{"".join(drawn)}</div>']
    for found in sheet.grids:
        parts.append(grid(found, caption(sheet, found.title)))
    lists = [(title, lines) for title, lines in sheet.lists if title != "How to read it"]
    parts += [f"<h4>{html(title)}</h4>{items(lines)}" for title, lines in lists]
    parts.append(details("How to read it", items(sheet.rule)))
    return "".join(parts)


def edge_figure(unit: EdgeRuns, mark: str | None, *, prior: bool) -> Markup:
    """Return the six edges over the epochs; `prior`: with the fixed prior on the same axis, else each seed too."""
    means, spreads = over_seeds(list(unit.curves.values()))
    longest = len(means)
    points = [x for epoch in means for x in epoch if math.isfinite(x)] + [unit.start]
    if prior:
        points += [*unit.prior, 0.0]
    else:
        points += [x for curve in unit.curves.values() for epoch in curve for x in epoch if math.isfinite(x)]
    up = axis_of(points, HEIGHT, TOP)
    along = epochs_axis(longest)
    if prior:
        along = Axis(along.low, along.high, LEFT + 3, WIDTH - PRIOR, 0.0)
    title = "edges and prior" if prior else "edges alone"
    parts = [words(4, 13, title, "name"), *upwards(up, LEFT, WIDTH - 4), *epoch_marks(along, longest)]
    parts.append(path(f"M{LEFT} {up(unit.start):.5g}H{WIDTH - 4}", "grid bar"))
    xs = [along(e + 1) for e in range(longest)]
    for e, name in enumerate(EDGE_NAMES):
        style = "thick" if name in FAVOURED[unit.unit] else "thick dashed"
        if not prior and len(unit.curves) > 1:
            parts.append(lines([(xs[: len(c)], [up(at[e]) for at in c]) for c in unit.curves.values()], f"c{e} thin"))
        middle, around = [at[e] for at in means], [at[e] for at in spreads]
        low, high = ([up(m + sign * s) for m, s in zip(middle, around, strict=True)] for sign in (-1, 1))
        parts.append(band(xs, low, high, f"c{e}"))
        ends = (xs, [up(m) for m in middle]) if longest > 1 else ([xs[0] - 4, xs[0] + 4], [up(middle[0])] * 2)
        parts.append(line(*ends, f"c{e} {style}"))
    if prior:
        parts += [words(WIDTH - 4, TOP - 6, "prior", "soft", "end"), *_prior(unit.prior, up)]
    parts.append(triangles([along(epoch) for epoch in unit.selected.values()], HEIGHT))
    said = f"{title.capitalize()} of {unit.words}, seeds {ranges(unit.curves)}, up to {longest} epochs"
    return figure(WIDTH, HEIGHT + 24 + 12 * bool(mark), [part for part in parts if part], said, mark)


def _prior(prior: Sequence[float], up: Axis) -> list[str]:
    """Return a short line an edge; edges of one prior share its height side by side."""
    same: dict[float, list[int]] = {}
    for e, value in enumerate(prior):
        same.setdefault(round(value, 6), []).append(e)
    parts = []
    for value, edges in same.items():
        step = (PRIOR - 8) / len(edges)
        for i, e in enumerate(edges):
            left = WIDTH - PRIOR + 4 + i * step
            parts.append(path(f"M{left:.5g} {up(value):.5g}h{step - 1:.3g}", f"c{e} bar"))
    return parts


def over_seeds(curves: Sequence[Sequence[Sequence[float]]]) -> tuple[list[list[float]], list[list[float]]]:
    """Return mean and sample STD by epoch over the curves (epochs, 6) that reached it; NaN where there is none."""
    means, spreads = [], []
    for e in range(max(map(len, curves))):
        there = [curve[e] for curve in curves if len(curve) > e]
        mean = [_mean([epoch[k] for epoch in there]) for k in range(len(EDGE_NAMES))]
        means.append(mean)
        spreads.append([_std([epoch[k] for epoch in there], mean[k]) for k in range(len(EDGE_NAMES))])
    return means, spreads


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _std(values: Sequence[float], mean: float) -> float:
    n = len(values)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1)) if n > 1 else math.nan
