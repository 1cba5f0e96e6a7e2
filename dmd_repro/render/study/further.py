"""The page of further results: ablations, the lottery of each table, all masks of Table 3, both readings of Table 4."""

from __future__ import annotations

from dmd_repro.render.study.frame import Page, marked
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Markup, details, grid, html, items, link, slug
from dmd_repro.results.sheet import Sheet


def further_page(study: Study) -> Page | None:
    """Return the page; None where there is none."""
    if not study.sheets:
        return None
    marks = {sheet.mark for sheet in study.sheets}
    mark = marks.pop() if len(marks) == 1 else None
    body = [items(link(f"#{_anchor(i, sheet)}", sheet.title) for i, sheet in enumerate(study.sheets))]
    for i, sheet in enumerate(study.sheets):
        body.append(Markup(f'<h2 id="{_anchor(i, sheet)}">{html(sheet.title)}</h2>'))
        body += [marked(sheet.mark)] if sheet.mark and not mark else []
        body += [items(sheet.answer, of="answers")]
        body += [grid(one, caption(sheet, one.title)) for one in sheet.grids]
        body += [details(title, items(lines)) for title, lines in sheet.lists]
    return Page("further.html", "Further results", "Further results", body, mark)


def caption(sheet: Sheet, title: str) -> str:
    """Return what stands over a grid of a sheet, with the mark."""
    return (title or sheet.title) + (f" ({sheet.mark})" if sheet.mark else "")


def _anchor(i: int, sheet: Sheet) -> str:
    return slug("s", str(i), sheet.name)
