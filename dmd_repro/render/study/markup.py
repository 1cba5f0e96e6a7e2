"""HTML of a study's pieces: text is escaped here, once; tables have captions, row and column headings and sort keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import NamedTuple

from dmd_repro.render.markup import Markup, attribute, html
from dmd_repro.results.sheet import TextGrid

__all__ = [
    "Cell",
    "Markup",
    "attribute",
    "cells",
    "details",
    "flattened",
    "grid",
    "html",
    "items",
    "link",
    "slug",
    "table",
]


class Cell(NamedTuple):
    """One cell of a table; `by` is the number it is sorted by, where its text is none."""

    text: str
    by: float | None = None


def slug(*parts: str) -> str:
    """Return a name for an anchor or a file; different parts give different names."""
    return "-".join(re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found[0]):x}_", part) for part in parts)


def link(target: str, text: object) -> Markup:
    """Return a link within the page set."""
    return Markup(f'<a href="{escape(target)}">{html(text)}</a>')


def items(lines: Iterable[object], kind: str = "ul", of: str = "") -> Markup:
    """Return a list, "" of nothing."""
    inside = "".join(f"<li>{html(line)}</li>" for line in lines)
    return Markup(f"<{kind}{attribute('class', of)}>{inside}</{kind}>" if inside else "")


def details(summary: object, body: str, *, anchor: str = "", shown: bool = False, kind: str = "") -> Markup:
    """Return what unfolds. The anchor is inside, so that a link to it unfolds it."""
    named = f'<span id="{escape(anchor)}" class="at"></span>' if anchor else ""
    return Markup(
        f"<details{attribute('class', kind)}{' open' if shown else ''}><summary>{html(summary)}</summary>"
        f"{named}{body}</details>"
    )


def cells(texts: Iterable[str]) -> list[Cell]:
    """Return texts as cells."""
    return [Cell(text) for text in texts]


def table(
    caption: str, heads: Sequence[str], align: str, rows: Sequence[Sequence[Cell]], *,
    long: Collection[int] = (),
) -> Markup:  # fmt: skip
    """Return a table that sorts by any column: `align` is l or r a column, the first cell of a row is its heading.

    `long`: columns of sentences, which break over lines.
    The buttons are off until the script turns them on, so that nothing is dead without it.
    """
    titles = "".join(
        f'<th scope="col" class="{side}" aria-sort="none"><button type="button" disabled>{html(name)}</button></th>'
        for name, side in zip(heads, align, strict=True)
    )
    lines = []
    for row in rows:
        line = []
        for i, (cell, side) in enumerate(zip(row, align, strict=True)):
            tag = 'th scope="row"' if i == 0 else "td"
            by = "" if cell.by is None else f' data-v="{cell.by!r}"'
            kind = f"long{' only' * (len(long) == 1)}" if i in long else side
            line.append(f'<{tag} class="{kind}"{by}>{html(cell.text)}</{tag.split()[0]}>')
        lines.append(f"<tr>{''.join(line)}</tr>\n")
    return Markup(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="sort"><caption>{html(caption)}</caption><thead><tr>{titles}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def grid(found: TextGrid, caption: str = "") -> Markup:
    """Return a grid of text as a table."""
    flat = flattened(found)
    rows = [cells(row) for row in flat.rows]
    return table(caption or flat.title or "Table", flat.headers, flat.align, rows)


def flattened(found: TextGrid) -> TextGrid:
    """Return a grid in which no line is a heading for those below it: its text stands in each of them instead.

    A line is one if its first cell alone says something and the next begins with blanks.
    """
    rows: list[tuple[str, ...]] = []
    over = ""
    for i, row in enumerate(found.rows):
        inner = row[0].startswith("  ")
        follows = i + 1 < len(found.rows) and found.rows[i + 1][0].startswith("  ")
        if not inner and follows:
            over = row[0]
            continue
        over = over if inner else ""
        rows.append((f"{over} {row[0].strip()}" if over else row[0], *row[1:]))
    return TextGrid(found.title, found.headers, found.align, tuple(rows))
