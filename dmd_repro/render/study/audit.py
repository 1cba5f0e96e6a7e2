"""The page of the audit: what the printed numbers say of each other, strongest first, and the findings behind it."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.audit.findings import CHECKS
from dmd_repro.audit.head import HeadLine, head_of
from dmd_repro.audit.types import Finding
from dmd_repro.render.findings import INNOCENT, LEGEND, NOTHING, place, summary
from dmd_repro.render.study.frame import Page, to
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.markup import Cell, Markup, cells, details, html, items, slug, table
from dmd_repro.render.study.rows import word

AUDIT = "audit.html"
TOLD = ("inferred", "flag", "fail")


def head_lines(findings: Sequence[Finding]) -> list[Markup]:
    """Return what the findings say as a whole, strongest first, each with a link to its check."""
    return [_said(line) for line in head_of(findings)] or [html(NOTHING)]


def _said(line: HeadLine) -> Markup:
    return Markup(f'{html(line.text)} <span class="soft">[{to(AUDIT, line.check, slug("check", line.check))}]</span>')


def audit_page(study: Study) -> Page:
    """Return the page; findings that are fine are counted, and not listed."""
    found = study.findings
    body = [items(head_lines(found), "ol", "answers"), Markup(f"<p>{html(summary(found))}.</p>")]
    body += [Markup(f'<p class="soft">{html(LEGEND)}</p><h2>Findings</h2>')]
    questions = {check.name: check.question for check in CHECKS}
    for check in dict.fromkeys(finding.check for finding in found):
        every = [finding for finding in found if finding.check == check]
        told = [finding for finding in every if finding.status in TOLD]
        title = Markup(
            f"<strong>{html(check)}</strong> {html(questions.get(check, ''))} "
            f'<span class="soft">{html(summary(every).partition(": ")[2])}</span>'
        )
        inside = _check(check, told) if told else "<p>Nothing to ask.</p>"
        body.append(details(title, inside, anchor=slug("check", check)))
    return Page(AUDIT, "Audit", "What the printed numbers say of each other", body)


def _check(check: str, told: Sequence[Finding]) -> str:
    rows = []
    for finding in told:
        status = word(finding.status, "FAIL" if finding.status == "fail" else "")
        said = finding.explanation.partition(INNOCENT)[0]
        rows.append([Cell(status), *cells([place(finding), said, finding.certainty])])
    innocent = dict.fromkeys(text for one in told if (text := one.explanation.partition(INNOCENT)[2]))
    parts = [table(f"Findings of {check}", ("status", "where", "what", "certainty"), "llll", rows, long=(2, 3))]
    return "".join([*parts, *(f"<p>Innocent explanations: {html(text)}</p>" for text in innocent)])
