"""What an audit says: findings, each by a small named check with its premise and its innocent explanations.

*inferred* means: the printed numbers say something their source does not, and nothing is wrong with it. *flag* means:
worth a question, and here is how it may have come about. It never means fraud. *fail* means: two things
printed in the same paper contradict each other as worded, whatever was done to round them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dmd_repro.datasets import DATASETS
from dmd_repro.metrics.registry import COLUMNS, METRICS
from dmd_repro.papers.tables import PublishedTable, Row, TableBlock

Status = Literal["ok", "inferred", "flag", "fail", "n/a"]
STATUSES: tuple[Status, ...] = ("ok", "inferred", "flag", "fail", "n/a")
ARITHMETIC = "certain, as arithmetic"
ONE_RUN = "certain if the number is one run; void if it is a mean over seeds"
MEAN = "the number is a mean over seeds, which need not be a count of clips"
FEWEST_SEEDS = 5  # runs a seed spread is estimated from: its 95 % interval is then 0.6 to 2.9 times the STD


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
    head: str | None = None  # the finding in one short sentence, where it belongs to what the numbers say as a whole

    def to_json(self) -> dict[str, str | None]:
        """Return the finding as plain JSON values; what stands in the head is there for itself."""
        return {name: value for name, value in asdict(self).items() if name != "head"}


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
    head: str | None = None


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """The seed spread of one metric, measured over five runs or more."""

    std: float  # points, sample STD
    n: int
    source: str  # whose runs

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the true STD, if the values are normal: std sqrt((n - 1) / chi-square)."""
        from scipy.special import chdtri

        low, high = (self.std * math.sqrt((self.n - 1) / float(chdtri(self.n - 1, p))) for p in (0.025, 0.975))
        return low, high

    @property
    def words(self) -> str:
        """The spread with its interval and source."""
        low, high = self.interval
        return f"seed STD {self.std:.2f} points, 95 % interval {low:.2f} to {high:.2f} ({self.n} {self.source})"


@dataclass(frozen=True, slots=True)
class AuditInput:
    """What the checks may look at: the printed tables and the spreads measured from runs at hand, if any."""

    tables: Mapping[str, PublishedTable]
    spreads: Mapping[tuple[str, str, str, str], SeedSpread] = field(default_factory=dict)  # by `spread_key`
    paper: str = ""  # "": this paper

    def spread(self, row: Row, column: str) -> SeedSpread | None:
        """Return the measured spread over seeds of a column on a row's data, setting and text; None: not measured."""
        return self.spreads.get(spread_key(row, column))

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


def spread_key(row: Row, column: str) -> tuple[str, str, str, str]:
    """Return what a seed spread belongs to: data set, setting, text and column."""
    return row.dataset, row.setting, row.text, column


@dataclass(frozen=True, slots=True)
class Check:
    """One question put to the printed numbers."""

    name: str
    question: str
    premise: str
    innocent: tuple[str, ...]  # how a flag may have come about without anyone's fault
    run: Callable[[AuditInput], Iterable[Said]]
    this_paper: bool = False  # about this paper alone
    further: bool = False  # about further papers alone

    def findings(self, evidence: AuditInput) -> list[Finding]:
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
                    head=said.head,
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
