"""What the printed numbers say as a whole: the findings that have a sentence of their own, strongest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmd_repro.audit.types import Finding

MOST_LINES, WIDTH = 15, 80
# Strongest first: a contradiction in print, then what holds whatever was averaged, then what needs a premise.
ORDER = (
    *("claims", "cross-table", "f1-functions", "constant-call", "conventions", "noise-floor"),
    *("interaction", "language-alone", "epochs", "one-rule"),
)


@dataclass(frozen=True, slots=True)
class HeadLine:
    """One sentence and the check that says it."""

    text: str
    check: str

    def to_json(self) -> dict[str, str]:
        """Return the line as plain JSON values."""
        return {"text": self.text, "check": self.check}


def head_of(findings: Sequence[Finding]) -> list[HeadLine]:
    """Return the findings' sentences, contradictions first, then in `ORDER`; a check's own stay in their order."""

    def rank(finding: Finding) -> tuple[bool, int]:
        place = ORDER.index(finding.check) if finding.check in ORDER else len(ORDER)
        return finding.status != "fail", place

    found = sorted((finding for finding in findings if finding.head), key=rank)
    return [HeadLine(finding.head or "", finding.check) for finding in found]
