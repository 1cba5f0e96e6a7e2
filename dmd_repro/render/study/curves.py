"""The page of curves: validation loss, measures and loss terms over the epochs, configuration by configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dmd_repro.metrics.registry import METRICS, metrics_of, one_a_column, shown_in
from dmd_repro.render.drawing import Axis, axis_of, figure, labels, lines, triangles, upwards, words
from dmd_repro.render.layout import ranges
from dmd_repro.render.study.frame import Page, to
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Markup, details, html, slug
from dmd_repro.results.histories import Histories, noted, reader
from dmd_repro.results.scores import data_line

WIDTH, HEIGHT, LEFT, TOP = 300, 158, 46, 22
MOST = 150  # points of a line
OPEN = 1  # configurations shown unfolded
HOW = (
    "Thin: each seed; thick: their mean over the epochs that all of them reached. Triangles below the axis: the epochs "
    "the runs were selected at, by the validation split alone; test is measured each epoch and chooses nothing. Loss "
    "terms are unweighted means over the batches of an epoch; total is their weighted sum."
)
KEY = Markup('<p class="key soft"><i class="k0"></i>valid <i class="k1"></i>test <i class="k2"></i>train</p>')
Read = Callable[[Mapping[str, Any]], float | None]


def curves_page(study: Study) -> Page | None:
    """Return the page; None where no run has a history with numbers."""
    drawn = [(one, panels(one)) for one in study.curves]
    drawn = [(one, parts) for one, parts in drawn if parts]
    if not drawn:
        return None
    body = [Markup(f"<p>{html(HOW)}</p>"), KEY]
    for i, (one, parts) in enumerate(drawn):
        about = f'<p class="soft">{html(data_line(one.record))}. {_seeds(one)}{_places(study, one)}</p>'
        title = Markup(f"<strong>{html(one.title)}</strong> {html(_marked(one))}")
        figures = f'<div class="figures small">{"".join(parts)}</div>'
        body.append(details(title, about + figures, anchor=slug("c", one.name), shown=i < OPEN))
    marks = {one.mark for one, _ in drawn}
    return Page("curves.html", "Curves", "Curves over the epochs", body, marks.pop() if len(marks) == 1 else None)


def _marked(one: Histories) -> str:
    n = len(one.lines)
    return f"on {one.record.data['name']}, {n} seed{'s' * (n > 1)}" + (f" ({one.mark})" if one.mark else "")


def _seeds(one: Histories) -> Markup:
    alone = " ONE SEED: how far seeds spread cannot be seen here." if len(one.lines) == 1 else ""
    return html(f"Seeds {ranges(one.lines)}, up to {one.longest} epochs.{alone}")


def _places(study: Study, one: Histories) -> Markup:
    found = dict.fromkeys(place for run in study.runs if run.facts["configuration"] == one.name for place in run.places)
    links = [to(table_file(name), study.name_of((name, key)), slug("row", key)) for name, key in found]
    return Markup(f" In {', '.join(links)}." if links else "")


def table_file(name: str) -> str:
    """Return the file of a table's page."""
    return f"{slug(name.replace('/', '.'))}.html"


def panels(one: Histories) -> list[Markup]:
    """Return the figures of a configuration: validation loss, a measure each, a loss term each."""
    dataset = str(one.record.data["dataset"])
    measures = [n for n in one_a_column(shown_in("run", dataset)) if n in one.names("valid")]
    known = metrics_of(dataset)
    found = [_panel(one, "validation loss (selects)", [("c0", lambda line: noted(line, "valid_loss"))])]
    for name in measures:
        metric = known.get(name, METRICS[name])
        reads = [(colour, reader(split, name, metric.scale)) for split, colour in (("valid", "c0"), ("test", "c1"))]
        found.append(_panel(one, f"{metric.name}{' %' if metric.unit == '%' else ''}", reads))
    for term in one.names("train"):
        found.append(_panel(one, f"{term}, train", [("c2", reader("train", term, 1.0))]))
    return [panel for panel in found if panel is not None]


def _panel(one: Histories, title: str, reads: Sequence[tuple[str, Read]]) -> Markup | None:
    """Return one figure; None where there is no number to draw."""
    step = max(1, math.ceil(one.longest / MOST))
    drawn = [(kind, [_values(lines, read) for lines in one.lines.values()]) for kind, read in reads]
    points = [x for _, seeds in drawn for values in seeds for x in values if math.isfinite(x)]
    if not points:
        return None
    up, along = axis_of(points, HEIGHT, TOP), epochs_axis(one.longest)
    parts = [words(4, 13, title, "name"), *upwards(up, LEFT, WIDTH - 4), *epoch_marks(along, one.longest)]
    lost = 0
    for kind, seeds in drawn:
        parts.append(lines([_points(along, up, values, step) for values in seeds], f"{kind} thin"))
        lost += any(not math.isfinite(x) for values in seeds for x in values)
        shared = min(map(len, seeds))
        if len(seeds) > 1 and shared:
            mean = [math.fsum(values[e] for values in seeds) / len(seeds) for e in range(shared)]
            parts.append(lines([_points(along, up, mean, step)], f"{kind} thick"))
    parts.append(triangles([along(epoch) for epoch in one.selected.values()], HEIGHT))
    if lost:
        parts.append(words(WIDTH / 2, HEIGHT / 2, "not a number", "marked", "middle"))
    said = f"{title} of {one.title} over up to {one.longest} epochs, seeds {ranges(one.lines)}"
    return figure(WIDTH, HEIGHT + 24 + 12 * bool(one.mark), [part for part in parts if part], said, one.mark)


def epochs_axis(longest: int) -> Axis:
    """Return the horizontal axis of epochs 1 to `longest`."""
    return Axis(1, max(longest, 2), LEFT + 3, WIDTH - 7, 0.0)


def epoch_marks(axis: Axis, longest: int, height: float = HEIGHT) -> list[str]:
    """Return the numbers below an axis of epochs: whole ones."""
    values = [int(value) for value in axis.ticks(6) if value == int(value) and 1 <= value <= longest]
    return [labels([(axis(value), height + 18, value) for value in values or [1]], "middle")]


def _values(lines: Sequence[Mapping[str, Any]], read: Read) -> list[float]:
    found = [read(entry) for entry in lines]
    return [math.nan if x is None else x for x in found]


def _points(along: Axis, up: Axis, values: Sequence[float], step: int) -> tuple[list[float], list[float]]:
    epochs = [e for e in range(len(values)) if e % step == 0 or e == len(values) - 1]
    if len(values) == 1 and math.isfinite(values[0]):  # one epoch is a short stroke
        return [along(1) - 3, along(1) + 3], [up(values[0])] * 2
    return [along(e + 1) for e in epochs], [up(values[e]) for e in epochs]
