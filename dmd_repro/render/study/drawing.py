"""Inline vector figures: an axis, a frame with title and mark, lines and marks whose colours the page's style gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmd_repro.render.figures import ticks
from dmd_repro.render.study.markup import Markup, attribute, html


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


def triangle(x: float, y: float) -> str:
    """Return a small triangle that points at an axis from below."""
    return path(f"M{x:.5g} {y:.5g}l-3.5 6h7z", "tri")


def across(axis: Axis, top: float, bottom: float, most: int = 5) -> list[str]:
    """Return the lines of a horizontal axis down a figure, with their numbers below."""
    parts = []
    for value in axis.ticks(most):
        parts.append(path(f"M{axis(value):.5g} {top:g}V{bottom:g}", "grid"))
        parts.append(words(axis(value), bottom + 13, number(value), "soft", "middle"))
    return parts


def upwards(axis: Axis, left: float, right: float, most: int = 4) -> list[str]:
    """Return the lines of a vertical axis across a figure, with their numbers at the left."""
    parts = []
    for value in axis.ticks(most):
        parts.append(path(f"M{left:g} {axis(value):.5g}H{right:g}", "grid"))
        parts.append(words(left - 4, axis(value) + 4, number(value), "soft", "end"))
    return parts


def number(value: float) -> str:
    """Return a number of an axis."""
    return f"{value:.6g}".replace("-", "−")


def line(xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
    """Return a line through points, to whole tenths of a pixel; it breaks where a value is not a number."""
    way, at = [], (0, 0)
    pen = False
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen = False
            continue
        point = (round(10 * x), round(10 * y))
        if pen:
            way.append(f"l{_tenth(point[0] - at[0])} {_tenth(point[1] - at[1])}")
        else:
            way.append(f"M{_tenth(point[0])} {_tenth(point[1])}")
        at, pen = point, True
    return path("".join(way), kind) if way else ""


def _tenth(value: int) -> str:
    return f"{value / 10:g}"


def band(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], kind: str) -> str:
    """Return the area between two lines over the points where both are numbers."""
    there = [p for p in zip(xs, lows, highs, strict=True) if math.isfinite(p[1]) and math.isfinite(p[2])]
    if len(there) < 2:
        return ""
    ends = [*((x, low) for x, low, _ in there), *((x, high) for x, _, high in reversed(there))]
    return path("M" + "L".join(f"{x:.5g} {y:.5g}" for x, y in ends) + "z", f"spread {kind}")
