"""The first page: the answer on top, then what it rests on, and where the rest is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dmd_repro.render.sentences import NOTHING, answers
from dmd_repro.render.study.audit import AUDIT, head_lines
from dmd_repro.render.study.curves import table_file
from dmd_repro.render.study.frame import Page, to
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Cell, Markup, html, items, link, table
from dmd_repro.render.study.missing import MISSING
from dmd_repro.render.study.missing import in_short as missing_in_short
from dmd_repro.render.study.rows import RUNS
from dmd_repro.render.study.runs import in_short
from dmd_repro.render.study.tables import answer_lines, short
from dmd_repro.results.types import ComparisonTable

INDEX = "index.html"
ANSWERS, HEAD = 3, 6  # of a table, and of the audit, on the first page
HEADS = ("table", "rows, read as means", "rows run", "runs counted", "failed", "not learned", "numbers")


def index_page(study: Study, files: Sequence[tuple[str, str]]) -> Page:
    """Return the first page. `files`: what else the folder holds, (path, words)."""
    body = [_overview(study.tables)] if any(row.runs for found in study.tables for row in found.rows) else []
    silent = [found for found in study.tables if answers(found) == [NOTHING]]
    for found in (one for one in study.tables if one not in silent):
        title = to(table_file(found.name), found.title)
        mark = f' <span class="v failed">{html(found.mark)}</span>' if found.mark else ""
        body += [Markup(f"<h2>{title}{mark}</h2>"), *answer_lines(found, ANSWERS)]
    if silent:
        named = ", ".join(to(table_file(found.name), found.title) for found in silent)
        heading = "The other tables" if len(silent) < len(study.tables) else "The tables"
        body.append(Markup(f"<h2>{heading}</h2><p>{html(NOTHING)} {named}.</p>"))
    if study.findings:
        lines = head_lines(study.findings)
        body += [Markup("<h2>The printed numbers beside each other</h2>"), items(lines[:HEAD], "ol", "answers")]
        body.append(Markup(f"<p>{to(AUDIT, 'All that the audit says')}. None of it is an accusation.</p>"))
    body.append(Markup("<h2>What it rests on</h2>"))
    body.append(Markup(f"<p>{html(in_short(study)) if study.runs else 'No run is recorded in this folder.'} "
                       f"{to(RUNS, 'What was run')}: data, digests, devices, versions, times.</p>"))  # fmt: skip
    body.append(Markup(f"<p>{html(missing_in_short(study))} {to(MISSING, 'What was not')}.</p>"))
    body += [Markup("<h2>The same as files</h2>"), items(_file(path, words) for path, words in files)]
    return Page(INDEX, "Answer", study.title, body)


def _file(path: str, words: str) -> Markup:
    return Markup(f"{link(path, path)}: {html(words)}")


def _overview(tables: Sequence[ComparisonTable]) -> Markup:
    rows = []
    for found in tables:
        printed = [row for row in found.rows if row.cells]
        there = [row for row in printed if row.runs]
        runs = len({run for row in there for run in row.runs.values()})
        words = Counter(row.words.mean for row in there)
        failed, lost = (
            sum(map(len, found)) for found in ([r.failed for r in printed], [r.not_learned for r in printed])
        )
        counts = (runs, failed, lost, sum(len(row.cells) for row in printed))
        cells = [Cell(f"{len(there)} of {len(printed)}", len(there)), *(Cell(str(n), n) for n in counts)]
        said = ", ".join(f"{n} {word}" for word, n in words.items()) or "nothing was run"
        rows.append([Cell(to(table_file(found.name), short(found.name))), Cell(said), *cells])
    return table("The tables of this study", HEADS, "llrrrrr", rows)
