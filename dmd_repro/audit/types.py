"""What an audit says: findings, each by a small named check with its premise and its innocent explanations.

*flag* means: worth a question, and here is how it may have come about. It never means fraud. *fail* means: two things
printed in the same paper contradict each other as worded, whatever was done to round them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dmd_repro.datasets import DATASETS
from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.papers.tables import PublishedTable, Row, TableBlock

Status = Literal["ok", "flag", "fail", "n/a"]
STATUSES: tuple[Status, ...] = ("ok", "flag", "fail", "n/a")
ARITHMETIC = "certain, as arithmetic"
ONE_RUN = "certain if the number is one run; void if it is a mean over seeds"
MEAN = "the number is a mean over seeds, which need not be a count of clips"
SPREAD = 1.1  # points: sample STD of ACC2 and of ACC7 over 10 seeds in one independent study of DMD on MOSI
SPREAD_SOURCE = "assumed: one independent study of DMD on MOSI found it over 10 seeds"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of one number, row or table; `None` where the finding is not about one."""

    check: str
    table: str | None
    row: str | None  # key of the row, or the switch of `--code`
    setting: str | None  # aligned | unaligned
    metric: str | None
    printed: str | None
    status: Status
    certainty: str
    explanation: str

    def to_json(self) -> dict[str, str | None]:
        """Return the finding as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Said:
    """A check's answer before it is signed with the check's name and its innocent explanations."""

    status: Status
    explanation: str
    table: PublishedTable | None = None
    row: Row | None = None
    metric: str | None = None
    printed: str | None = None
    certainty: str = ARITHMETIC
    setting: str | None = None  # of a finding on a block; a row brings its own
    innocent: tuple[str, ...] | None = None  # in place of the check's own


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """The seed spread of one metric: measured from runs at hand, or assumed."""

    std: float  # points
    source: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks may look at: the printed tables and the spreads measured from runs at hand, if any."""

    tables: Mapping[str, PublishedTable]
    spreads: Mapping[tuple[str, str], SeedSpread] = field(default_factory=dict)  # by (dataset, column)
    paper: str = ""  # "": this paper

    def spread(self, dataset: str, column: str) -> SeedSpread:
        """Return the spread over seeds of a column on a data set, measured if it can be."""
        return self.spreads.get((dataset, column)) or SeedSpread(SPREAD, SPREAD_SOURCE)

    def blocks(self, *names: str) -> Iterable[tuple[PublishedTable, TableBlock]]:
        """Yield every block of some of this paper's tables, where they are there; of a further paper every block."""
        for table in self.some(*names):
            for block in table.blocks:
                yield table, block

    def some(self, *names: str) -> list[PublishedTable]:
        """Return some of this paper's tables, where they are there; of a further paper all."""
        return [self.tables[name] for name in (self.tables if self.paper else names) if name in self.tables]

    def row(self, table: str, key: str) -> Row | None:
        """Return a row, None if the table or the row is not there (tables may be edited)."""
        rows = self.tables[table].rows if table in self.tables else ()
        return next((row for row in rows if row.key == key), None)


@dataclass(frozen=True, slots=True)
class Check:
    """One question put to the printed numbers."""

    name: str
    question: str
    premise: str
    innocent: tuple[str, ...]  # how a flag may have come about without anyone's fault
    run: Callable[[Evidence], Iterable[Said]]
    this_paper: bool = False  # about this paper alone
    further: bool = False  # about further papers alone

    def findings(self, evidence: Evidence) -> list[Finding]:
        """Put the question; flags and fails get the innocent explanations."""
        out = []
        for said in self.run(evidence):
            text = said.explanation
            innocent = self.innocent if said.innocent is None else said.innocent
            if said.status in ("flag", "fail") and innocent:
                text += f" Innocent explanations: {'; '.join(innocent)}."
            out.append(
                Finding(
                    check=self.name,
                    table=said.table.name if said.table else None,
                    row=said.row.key if said.row else None,
                    setting=said.row.setting if said.row else said.setting,
                    metric=said.metric,
                    printed=said.printed,
                    status=said.status,
                    certainty=said.certainty,
                    explanation=text,
                )
            )
        return out


def cell(table: PublishedTable, row: Row, column: str) -> dict[str, Any]:
    """Return the fields of `Said` that point at one cell."""
    printed = row.cells.get(column)
    return {"table": table, "row": row, "metric": column, "printed": printed.text if printed else None}


def heading(column: str) -> str:
    """Return how a table heads a column."""
    return COLUMNS[column]


def in_points(row: Row, column: str) -> bool:
    """Whether a column is printed in percent, so that a gap in it is one in points."""
    return METRICS[row.metric_id(column)].unit == "%"


def better(row: Row, column: str) -> int:
    """Return 1 where the higher number of a column is the better one, -1 where the lower one is."""
    return 1 if METRICS[row.metric_id(column)].higher_is_better else -1


def zeros_of(row: Row) -> tuple[str, ...]:
    """Return the ACC2 conventions a row may have been counted by: its own, or all of its data set if unknown."""
    return (row.convention,) if row.convention != "unknown" else DATASETS[row.dataset].zeros


def orders_of(row: Row) -> tuple[Literal["plain", "swapped"], ...]:
    """Return the orders of the F1 arguments a row may have used."""
    return (row.f1_order,) if row.f1_order != "unknown" else ("plain", "swapped")


def sign_counts(dataset: str, zero: str) -> tuple[int, int]:
    """Return (negative, positive) test clips of an official data set; zeros are left out, or go with one side."""
    signs = DATASETS[dataset].test_signs
    assert signs is not None
    negative, none, positive = signs
    if zero == "neg0":
        return negative + none, positive
    return (negative, positive) if zero == "non0" else (negative, positive + none)


def counted(row: Row, column: str) -> bool:
    """Whether the official clips are known that a column of a row is counted over."""
    facts = DATASETS[row.dataset]
    return facts.test_signs is not None if column in ("acc2", "f1") else facts.splits is not None


def both_signs(row: Row) -> bool:
    """Whether the two usual ways of counting the sign are this data set's, with known class counts."""
    return counted(row, "acc2") and set(DATASETS[row.dataset].zeros) == {"non0", "has0"}


def clips(dataset: str, column: str, zero: str | None = None) -> int:
    """Return how many test clips a column is counted over; `zero` as the data set is usually counted if not given."""
    facts = DATASETS[dataset]
    if column not in ("acc2", "f1"):  # classes and errors count every clip
        assert facts.splits is not None
        return facts.splits["test"]
    return sum(sign_counts(dataset, zero or facts.zeros[0]))
