"""The frame of a study's pages: head, navigation, mark and foot; style and script inside, nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from dmd_repro import __version__
from dmd_repro.render.study.markup import Markup, attribute, html, items, link
from dmd_repro.results.sheet import NOT_COMPARABLE
from dmd_repro.visible import visible


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the set: its file, its name in the navigation, and what stands in it."""

    file: str
    name: str
    title: str
    body: Sequence[Markup]
    mark: str | None = None  # of the data it shows
    wide: bool = False  # printed across the paper


@cache
def asset(name: str) -> str:
    """Return a file of the frame's own."""
    return resources.files("dmd_repro.render.study").joinpath(name).read_text(encoding="utf-8")


def policy() -> str:
    """Return what a browser may load for a page: its own style and this one script."""
    digest = base64.b64encode(hashlib.sha256(asset("study.js").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def marked(mark: str | None, some: bool = False) -> Markup:
    """Return the label of synthetic or partial data; `some`: other data are there too."""
    if not mark:
        return Markup("")
    said = (
        f"{mark} among the runs: what is of it says so, and is {NOT_COMPARABLE}"
        if some
        else f"{mark}: {NOT_COMPARABLE}"
    )
    return Markup(f'<p class="mark">{html(said)}</p>')


def framed(page: Page, pages: Sequence[Page], mark: str | None, foot: str) -> str:
    """Return a page as a whole file. `mark`: of the study, shown where the page has none of its own."""
    nav = items(
        Markup(f'<a href="{one.file}"{" aria-current=page" if one.file == page.file else ""}>{html(one.name)}</a>')
        for one in pages
    )
    shown = page.mark or mark
    title = f"{shown}: {page.title}" if shown else page.title
    text = "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy()}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
            f'<meta name="generator" content="dmd {__version__}">',
            f"<title>{html(title)}</title>\n<style>{asset('study.css')}</style></head>",
            f"<body{attribute('class', 'wide' if page.wide else '')}>",
            '<a class="skip" href="#main">To the content</a>',
            f'<nav aria-label="Pages">{nav}</nav>\n<main id="main">',
            f"<h1>{html(page.title)}</h1>",
            marked(shown, some=page.mark is None),
            *page.body,
            f"</main>\n<footer>{html(foot)}</footer>",
            f"<script>{asset('study.js')}</script></body></html>\n",
        ]
    )
    return visible(text)


def to(page: str, text: object, anchor: str = "") -> Markup:
    """Return a link to a page of the set."""
    return link(f"{page}{'#' if anchor else ''}{anchor}", text)
