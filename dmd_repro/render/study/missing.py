"""The page of what is missing: rows not run, runs that failed, did not learn, are unfinished or do not count."""

from __future__ import annotations

from dmd_repro.render.layout import ranges
from dmd_repro.render.study.curves import table_file
from dmd_repro.render.study.frame import Page, to
from dmd_repro.render.study.gather import StudiedRun, Study
from dmd_repro.render.study.markup import Cell, Markup, cells, html, items, table
from dmd_repro.render.study.rows import RUNS, row_anchor
from dmd_repro.render.study.runs import known_runs
from dmd_repro.render.study.tables import plans_said, short
from dmd_repro.results.types import ComparedRow

MISSING = "missing.html"


def missing_page(study: Study) -> Page:
    """Return the page."""
    body = [Markup(f"<p>{html(in_short(study))}</p>")]
    for heading, part in (
        ("Failed", _runs(study, "failed", "Runs that ended in an error: counted as failed, never left out in silence")),
        ("Did not learn", _not_learned(study)),
        ("Unfinished", _runs(study, "partial", "Runs begun and not finished: the same command resumes them")),
        ("Damaged", _runs(study, "damaged", "Records that do not agree with themselves: left out")),
        ("Unreadable", _runs(study, "unreadable", "Records that cannot be read here: left out")),
        ("Rows not run, or not whole", _rows(study)),
        ("Plans not shown", items(said for found in study.tables if (said := plans_said(study, found.name)))),
    ):
        if part:
            body += [Markup(f"<h2>{html(heading)}</h2>"), part]
    return Page(MISSING, "What was not", "What was not run, failed or did not learn", body)


def in_short(study: Study) -> str:
    """Return what is missing in a sentence."""
    rows = [row for table_ in study.tables for row in table_.rows if row.row.cells]
    bare = sum(not row.runs for row in rows)
    parts = [f"{bare} of {len(rows)} rows have no run that counts"]
    for status, words in (("failed", "failed"), ("partial", "unfinished"), ("damaged", "damaged"),
                          ("unreadable", "unreadable")):  # fmt: skip
        n = sum(run.status == status for run in study.runs)
        parts += [f"{n} run{'s' * (n != 1)} {words}"] if n else []
    lost = sum(run.learned == "not learned" for run in study.runs)
    parts += [f"{lost} run{'s' * (lost != 1)} did not learn"] if lost else []
    return "; ".join(parts) + "."


def _line(run: StudiedRun, study: Study, why: str) -> list[Cell]:
    facts = run.facts
    texts = [run.what, str(facts["data"] or ""), "" if facts["seed"] is None else str(facts["seed"])]
    return [Cell(to(RUNS, run.run_id, known_runs(study)[run.run_id])), *cells(texts), Cell(why)]


def _runs(study: Study, status: str, caption: str) -> Markup:
    rows = [_line(run, study, str(run.facts["problem"] or "")) for run in study.runs if run.status == status]
    return table(caption, ("run", "what", "data", "seed", "said"), "lllll", rows, long=(4,)) if rows else Markup("")


def _not_learned(study: Study) -> Markup:
    rows = [_line(run, study, run.why) for run in study.runs if run.learned == "not learned"]
    caption = "Runs that predict no better than a constant: counted, and no word is read where one is"
    return table(caption, ("run", "what", "data", "seed", "why"), "lllll", rows, long=(4,)) if rows else Markup("")


def _rows(study: Study) -> Markup:
    """Return, table by table, the rows without all of their runs, those of one reason together."""
    parts = []
    for found in study.tables:
        reasons: dict[str, list[Markup]] = {}
        for row in found.rows:
            left = set(row.planned) - set(row.runs) - set(row.failed)
            if (row.runs and not left) or not (row.row.cells or row.planned):
                continue
            place = to(table_file(found.name), f"{row.row.label} ({_setting(row)})", row_anchor(row.row.key))
            reasons.setdefault(_why(row, left), []).append(place)
        lines = [Markup(f"{html(why)}: {', '.join(rows)}") for why, rows in reasons.items()]
        parts += [f"<h3>{html(short(found.name))}</h3>{items(lines)}"] if lines else []
    return Markup("".join(parts))


def _setting(row: ComparedRow) -> str:
    return f"{row.row.dataset.upper()}, {row.row.setting}"


def _why(row: ComparedRow, left: set[int]) -> str:
    if left:
        return f"planned and not there: seed{'s' * (len(left) > 1)} {ranges(left)}"
    if row.state == "skipped":
        return next((note for note in row.notes if note not in row.background), "skipped").rstrip(".")
    return "failed" if row.failed else "not planned here"
