"""Inline vector figures: an axis, a frame with title and mark, lines and marks whose colours the page's style gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from dmd_repro.render.markup import Markup, attribute, html


class Axis:
    """Maps values of [low, high] to pixels of [start, end]; a range of no width is widened."""

    def __init__(self, low: float, high: float, start: float, end: float, margin: float = 0.04) -> None:
        around = margin * (high - low) or max(abs(high), 1.0) * 0.01
        self.low, self.high, self.start, self.end = low - around, high + around, start, end

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values within it."""
        return ticks(self.low, self.high, most)


def axis_of(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis that holds all values."""
    return Axis(min(values), max(values), start, end)


def figure(width: float, height: float, parts: Sequence[str], said: str, mark: str | None, kind: str = "") -> Markup:
    """Return a figure whose title, and label for who cannot see it, is `said`; the mark is drawn into it."""
    told = f"{mark}: {said}" if mark else said
    label = f'<text class="marked" x="4" y="{height - 4:g}">{html(mark)}</text>' if mark else ""
    return Markup(
        f'<figure{attribute("class", kind)}><svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html(told)}"><title>{html(told)}</title>{"".join(parts)}{label}</svg></figure>\n'
    )


def words(x: float, y: float, text: object, kind: str = "", anchor: str = "start") -> str:
    """Return a text."""
    side = attribute("text-anchor", "" if anchor == "start" else anchor)
    return f'<text x="{x:.5g}" y="{y:.5g}"{attribute("class", kind)}{side}>{html(text)}</text>'


def path(way: str, kind: str) -> str:
    """Return a path."""
    return f'<path class="{kind}" d="{way}"/>'


def dot(x: float, y: float, kind: str, radius: float = 3, said: str = "") -> str:
    """Return a dot, with what it says when pointed at."""
    inside = f"<title>{html(said)}</title>" if said else ""
    return f'<circle class="{kind}" cx="{x:.5g}" cy="{y:.5g}" r="{radius:g}">{inside}</circle>'


def triangles(xs: Sequence[float], y: float) -> str:
    """Return small triangles that point at an axis from below."""
    return path("".join(f"M{x:.4g} {y:.4g}l-3.5 6h7z" for x in xs), "tri") if xs else ""


def across(axis: Axis, top: float, bottom: float, most: int = 5) -> list[str]:
    """Return the lines of a horizontal axis down a figure, with their numbers below."""
    ticks = axis.ticks(most)
    ways = "".join(f"M{axis(value):.4g} {top:g}V{bottom:g}" for value in ticks)
    return [path(ways, "grid"), labels([(axis(value), bottom + 13, number(value)) for value in ticks], "middle")]


def upwards(axis: Axis, left: float, right: float, most: int = 4) -> list[str]:
    """Return the lines of a vertical axis across a figure, with their numbers at the left."""
    ticks = axis.ticks(most)
    ways = "".join(f"M{left:g} {axis(value):.4g}H{right:g}" for value in ticks)
    return [path(ways, "grid"), labels([(left - 4, axis(value) + 4, number(value)) for value in ticks], "end")]


def labels(texts: Sequence[tuple[float, float, object]], anchor: str) -> str:
    """Return the numbers of an axis, (x, y, text) each."""
    inside = "".join(f'<text x="{x:.4g}" y="{y:.4g}">{html(text)}</text>' for x, y, text in texts)
    return f'<g class="soft" text-anchor="{anchor}">{inside}</g>'


def number(value: float) -> str:
    """Return a number of an axis."""
    return f"{value:.6g}".replace("-", "−")


def line(xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
    """Return a line through points; it breaks where a value is not a number."""
    return lines([(xs, ys)], kind)


def lines(ways: Sequence[tuple[Sequence[float], Sequence[float]]], kind: str) -> str:
    """Return several lines of one kind, (xs, ys) each."""
    return _halves("".join(_way(p) for xs, ys in ways for p in _unbroken(xs, ys)), kind)


def band(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], kind: str) -> str:
    """Return the area between two lines over the points where both are numbers."""
    there = [p for p in zip(xs, lows, highs, strict=True) if math.isfinite(p[1]) and math.isfinite(p[2])]
    if len(there) < 2:
        return ""
    ends = [*((x, low) for x, low, _ in there), *((x, high) for x, _, high in reversed(there))]
    return _halves(f"{_way(ends)}z", f"spread {kind}")


def _unbroken(xs: Sequence[float], ys: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Return the stretches of points whose values are numbers."""
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            found[-1].append((x, y))
        elif found[-1]:
            found.append([])
    return [points for points in found if points]


def _way(points: Sequence[tuple[float, float]]) -> str:
    """Return points as steps of half a pixel, the first from the corner: a page of curves is mostly this."""
    whole = [(round(2 * x), round(2 * y)) for x, y in points]
    steps = [(x - a, y - b) for (a, b), (x, y) in pairwise(whole)]
    text = " ".join(f"{x} {y}" for x, y in steps).replace(" -", "-")
    return f"M{whole[0][0]} {whole[0][1]}" + (f"l{text}" if steps else "")


def _halves(way: str, kind: str) -> str:
    """Return a path in half pixels; the page's style doubles the strokes of such kinds."""
    return f'<path class="{kind}" transform="scale(.5)" d="{way}"/>' if way else ""


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round numbers in [low, high], a step of 1, 2 or 5 times a power of ten apart."""
    size = (high - low) / most
    power = 10.0 ** math.floor(math.log10(size))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= size)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
