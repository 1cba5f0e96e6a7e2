"""A study written: the pages, every table in every format, the PDF; the folder is put in place as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dmd_repro.render.figures import figure
from dmd_repro.render.formats import FORMATS, SUFFIXES, render
from dmd_repro.render.sentences import ALL
from dmd_repro.render.study.audit import audit_page
from dmd_repro.render.study.book import HOW, book, to_pdf
from dmd_repro.render.study.curves import curves_page
from dmd_repro.render.study.edges import edges_page
from dmd_repro.render.study.frame import Page, framed
from dmd_repro.render.study.further import further_page
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.index import index_page
from dmd_repro.render.study.missing import missing_page
from dmd_repro.render.study.own_folder import put_folder
from dmd_repro.render.study.runs import known_runs, runs_page
from dmd_repro.render.study.tables import table_page

BOOK, PDF, FILES = "study.tex", "study.pdf", "files"


@dataclass(frozen=True, slots=True)
class Written:
    """What a study became."""

    pages: int
    files: int
    no_pdf: str  # why there is no PDF, "" where there is one


def pages_of(study: Study, files: list[tuple[str, str]] | None = None) -> dict[str, str]:
    """Return the pages by their file. `files`: what else is in the folder, (path, words)."""
    known = known_runs(study)
    tables = [table_page(study, found, known) for found in study.tables]
    made: list[Page | None] = [index_page(study, files or []), *tables, curves_page(study), edges_page(study)]
    made += [further_page(study), runs_page(study), missing_page(study)]
    made += [audit_page(study)] if study.findings else []
    pages = [page for page in made if page is not None]
    done = sum(run.status == "done" for run in study.runs)
    foot = f"Made by dmd from {done} finished run{'s' * (done != 1)}. The same records give the same pages."
    return {page.file: framed(page, pages, study.mark, foot) for page in pages}


def files_of(study: Study) -> dict[str, str]:
    """Return every table in every format and its seeds as a drawing, and all of them together, by path."""
    out: dict[str, str] = {}
    for found in study.tables:
        name = found.name.replace("/", ".")
        for format_ in FORMATS:
            out[f"{FILES}/{name}{SUFFIXES[format_]}"] = render([found], format_, ink=ALL)
        if drawing := figure(found):
            out[f"{FILES}/figures/{name}-seeds.svg"] = drawing
    out[f"{FILES}/report.json"] = render(study.tables, "json")
    out[f"{FILES}/report.csv"] = render(study.tables, "csv")
    out[f"{FILES}/report.html"] = render(study.tables, "html")
    out[f"{FILES}/report.txt"] = "\n\n".join(found.prose for found in study.tables) + "\n"
    return out


def write_study(study: Study, folder: Path, *, pdf: bool = True) -> Written:
    """Write a study into a folder, new, empty or a study of before; raises SpecError as `own_folder.put_folder` does.

    `pdf`: compile the LaTeX where that is possible.
    """
    source = book(study)
    made, why = to_pdf(source) if pdf else (None, f"not asked for: {HOW}")
    texts = files_of(study)
    named = [(PDF, "all of it on paper")] if made else []
    named += [(BOOK, "its LaTeX" if made else f"all of it on paper: {HOW}")]
    named += [
        (f"{FILES}/report.json", "every number, unrounded"),
        (f"{FILES}/report.csv", "one line a number"),
        (f"{FILES}/report.html", "all tables on one page"),
        (f"{FILES}/report.txt", "the results as paragraphs"),
    ]
    alone = "alone; .txt, .tex, .csv, .json and .html beside it"
    named += [(f"{FILES}/{one.name.replace('/', '.')}.md", f"{one.name} {alone}") for one in study.tables]
    pages = pages_of(study, named)
    content = {name: text.encode(errors="backslashreplace") for name, text in {**pages, **texts, BOOK: source}.items()}
    if made:
        content[PDF] = made
    put_folder(folder, content)
    return Written(len(pages), len(content) + 1, why)
