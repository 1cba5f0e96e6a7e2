"""Findings of an audit as terminal text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence
from typing import Literal

from dmd_repro.audit.head import MOST_LINES, WIDTH, HeadLine, head_of
from dmd_repro.audit.types import STATUSES, Finding
from dmd_repro.visible import csv_cell, visible

FindingFormat = Literal["terminal", "markdown", "csv", "json"]
FINDING_FORMATS: tuple[FindingFormat, ...] = ("terminal", "markdown", "csv", "json")
FIELDS = ("check", "table", "row", "setting", "metric", "printed", "status", "certainty", "explanation")
INNOCENT = " Innocent explanations: "
_WORDS = {"ok": "ok", "inferred": "inferred", "flag": "FLAG", "fail": "FAIL", "n/a": "n/a"}
LEGEND = (
    "inferred: the numbers say what their source does not; flag: worth a question, with innocent explanations "
    "beside it; fail: two things printed in the same paper contradict each other as worded; n/a: the question does not "
    "apply. None is an accusation."
)


def render_findings(
    findings: Sequence[Finding], format_: FindingFormat, *, every: bool = True, head_only: bool = False
) -> str:
    """Return findings in one format; JSON and CSV hold all.

    The others show what is not ok alone unless `every`; `head_only` leaves the terminal what the numbers say as a
    whole, one screen of 80 columns.
    """
    return visible(_render(findings, format_, every, head_only))


def _render(findings: Sequence[Finding], format_: FindingFormat, every: bool, head_only: bool) -> str:
    head = head_of(findings)
    if format_ == "json":
        document = {"head": [line.to_json() for line in head], "findings": [finding.to_json() for finding in findings]}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format_ == "csv":
        stream = io.StringIO()
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        lines = (finding.to_json() for finding in findings)
        writer.writerows({k: csv_cell(v) if isinstance(v, str) else v for k, v in line.items()} for line in lines)
        return stream.getvalue()
    shown = [finding for finding in findings if every or finding.status in ("inferred", "flag", "fail")]
    if format_ == "markdown":
        return _markdown(shown, findings, head)
    if head_only:
        return "\n".join([*_head(head), "", *_wrap(MORE, 0), *_wrap(summary(findings), 0), ""])
    return _terminal(shown, findings)


MORE = (
    "In brackets the check that says it: `dmd audit --check NAME` shows its findings, with certainty and innocent "
    "explanations; `--all` every finding, `--list` the checks. None is an accusation."
)
NOTHING = "Nothing in these numbers contradicts or questions another."


def _head(head: Sequence[HeadLine]) -> list[str]:
    """Return at most MOST_LINES lines, the strongest first; a sentence that does not fit whole is left out."""
    lines: list[str] = ["What the printed numbers say, strongest first"]
    for i, line in enumerate(head, start=1):
        said = textwrap.wrap(
            f"{line.text} [{line.check}]", WIDTH, initial_indent=f"{i:2} ", subsequent_indent="   ",
            break_on_hyphens=False,
        )  # fmt: skip
        if len(lines) + len(said) > MOST_LINES:
            break
        lines += said
    return lines if head else [*lines, f" · {NOTHING}"]


def summary(findings: Sequence[Finding]) -> str:
    """Return one line: how many checks asked how many questions, and what they answered."""
    checks = len({finding.check for finding in findings})
    said = ", ".join(f"{sum(f.status == status for f in findings)} {status}" for status in STATUSES)
    return f"{checks} check{'s' * (checks != 1)}, {len(findings)} findings: {said}"


def place(finding: Finding) -> str:
    """Return where a finding points, from the table inwards."""
    number = f"{finding.metric} {finding.printed}" if finding.metric and finding.printed else finding.metric
    return " ".join(part for part in (finding.table, finding.row or finding.setting, number) if part)


def _terminal(shown: Sequence[Finding], findings: Sequence[Finding]) -> str:
    lines: list[str] = []
    for check in dict.fromkeys(finding.check for finding in shown):
        every = [finding for finding in findings if finding.check == check]
        lines.append(f"{check}: {summary(every).partition(': ')[2]}")
        mine = [finding for finding in shown if finding.check == check]
        for finding in mine:
            lines.append(f"  {_WORDS[finding.status]:8}  {place(finding)}")
            lines += _wrap(finding.explanation.partition(INNOCENT)[0], 8)
        # what all findings of a check share is said once, under them
        lines += _wrap("certainty: " + "; or ".join(dict.fromkeys(finding.certainty for finding in mine)), 2)
        innocents = dict.fromkeys(i for f in mine if (i := f.explanation.partition(INNOCENT)[2]))
        lines += [line for innocent in innocents for line in _wrap(f"innocent explanations: {innocent}", 2)]
        lines.append("")
    return "\n".join([*lines, *_wrap(LEGEND, 0), summary(findings), ""])


def _wrap(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def _markdown(shown: Sequence[Finding], findings: Sequence[Finding], head: Sequence[HeadLine]) -> str:
    from dmd_repro.render.markdown import plain

    lines = [
        *(f"{i}. {plain(line.text)} ({line.check})" for i, line in enumerate(head, start=1)),
        "",
        summary(findings),
        "",
        f"{LEGEND}",
        "",
        "| status | check | where | what | certainty |",
        "|:--|:--|:--|:--|:--|",
    ]
    for finding in shown:
        cells = (finding.status, finding.check, place(finding), finding.explanation, finding.certainty)
        lines.append("| " + " | ".join(map(plain, cells)) + " |")
    return "\n".join([*lines, ""])
