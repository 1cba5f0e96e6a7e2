"""What `dmd data check` reports: facts of each split, and findings that say what they do to the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "warning", "defect"]


@dataclass(frozen=True, slots=True)
class DataFinding:
    """One thing looked at and what came of it.

    A defect makes numbers wrong or too good; a warning makes them incomparable or unusual.
    """

    check: str
    severity: Severity
    message: str
    effect: str = ""  # what it does to the results


@dataclass(frozen=True, slots=True)
class Padding:
    """Exact zero steps at the ends of the clips of one modality in one split."""

    side: str  # left | right | both | none
    share: float  # of all steps
    zero_clips: int  # clips that are zero at every step
    longer_than_claimed: int  # clips with more steps than their stated length
    not_finite: int  # values


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One split: sizes, labels, padding."""

    clips: int
    videos: int | None  # None: ids do not tell them
    shapes: Mapping[str, tuple[int, ...]]
    label_range: tuple[float, float]
    histogram: Mapping[str, int]  # labels rounded to -3 ... 3
    signs: tuple[int, int, int]  # labels < 0, = 0, > 0
    padding: Mapping[str, Padding]


@dataclass(slots=True)
class CheckReport:
    """All that `dmd data check` shows; `failed` if a finding is a defect."""

    name: str
    dataset: str
    aligned: bool
    texts: tuple[str, ...]
    standing: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[DataFinding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a finding is a defect."""
        return any(f.severity == "defect" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self) | {"failed": self.failed}


def some(items: Iterable[str], most: int = 3) -> str:
    """Return the first few items and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def plural(n: int, thing: str) -> str:
    """Return "1 clip", "3 clips"."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
