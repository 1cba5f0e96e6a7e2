"""The audit: every check put to every printed table. No data, no training, no torch.

A check is a small named object (question, premise, innocent explanations, function); `CHECKS` is all of them in the
order they are printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dmd_repro.audit import arithmetic as audit_arithmetic
from dmd_repro.audit import attainable as audit_attainable
from dmd_repro.audit import chance as audit_chance
from dmd_repro.audit import claimed as audit_claimed
from dmd_repro.audit import inferred as audit_inferred
from dmd_repro.audit import noise as audit_noise
from dmd_repro.audit import one_rule as audit_one_rule
from dmd_repro.audit.types import FEWEST_SEEDS, STATUSES, AuditInput, Check, Finding, SeedSpread, Status, spread_key
from dmd_repro.errors import ClaimError, nearest
from dmd_repro.papers.dmd import claims as audit_claims
from dmd_repro.papers.dmd import parts as audit_parts
from dmd_repro.papers.folders import paper_asked, table_names
from dmd_repro.papers.tables import load_table
from dmd_repro.stats.summary import mean_and_std

if TYPE_CHECKING:
    from dmd_repro.results.types import ComparisonTable

CHECKS: tuple[Check, ...] = (
    *audit_attainable.CHECKS,
    *audit_chance.CHECKS,
    *audit_inferred.CHECKS,
    *audit_one_rule.CHECKS,
    *audit_arithmetic.CHECKS,
    *audit_claims.CHECKS,
    *audit_noise.CHECKS,
    *audit_parts.CHECKS,
    *audit_claimed.CHECKS,
)


def checks_of(paper: str) -> tuple[Check, ...]:
    """Return the checks that are put to a paper: those of this paper alone are put to it alone."""
    return tuple(check for check in CHECKS if not (check.this_paper if paper else check.further))


def audit(
    folder: Path | None = None,
    *,
    table: str | None = None,
    checks: Sequence[str] = (),
    spreads: Mapping[tuple[str, str, str, str], SeedSpread] | None = None,
) -> list[Finding]:
    """Return every finding on the printed tables, or on one of them, or of some checks.

    `table` may be one of a further paper, or that paper: then the checks are those that belong to no paper alone.
    `folder` holds other tables than the paper's; `spreads` are seed spreads measured from runs. Raises ClaimError for
    an unknown table or check (with the nearest), or a malformed table.
    """
    paper = "" if table is None or folder is not None else paper_asked(table)
    names = table_names(folder, paper)
    if not names:  # an audit of nothing would find nothing wrong
        raise ClaimError.at(
            f"tables in {folder}",
            expected="files such as table1.yaml",
            got="none",
            do="Check the folder after --tables",
        )
    reruns = {} if paper else spreads_of_reruns()
    evidence = AuditInput({name: load_table(name, folder) for name in names}, {**reruns, **(spreads or {})}, paper)
    table = None if table == paper else table
    if table is not None and table not in evidence.tables:
        raise ClaimError.at(
            f"table '{table}'", expected="a known table", got="an unknown name", do=nearest(table, evidence.tables)
        )
    put = checks_of(paper)
    known = [check.name for check in put]
    for name in checks:
        if name not in known:
            raise ClaimError.at(
                f"--check {name}", expected="a known check", got="an unknown name", do=nearest(name, known)
            )
    found = [f for check in put if not checks or check.name in checks for f in check.findings(evidence)]
    return [finding for finding in found if table is None or finding.table == table]


def counts(findings: Iterable[Finding]) -> dict[Status, int]:
    """Return how many findings have each status."""
    found = Counter(finding.status for finding in findings)
    return {status: found[status] for status in STATUSES}


def spreads_of_reruns() -> dict[tuple[str, str, str, str], SeedSpread]:
    """Return the seed spreads others measured of DMD, where a printed row can be read beside them."""
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.results.reruns import readings_of

    found: dict[tuple[str, str, str, str], SeedSpread] = {}
    reruns = load_reruns()
    for name in ("table1", "table2"):
        for row in load_table(name).rows if name in table_names() else ():
            if row.recipe is None or row.recipe.model != "dmd":
                continue
            for column, readings in readings_of(row, reruns).items():
                most = max(readings, key=lambda reading: reading.n)
                if most.n >= FEWEST_SEEDS and most.std > 0:
                    found[spread_key(row, column)] = SeedSpread(most.std, most.n, f"re-runs by {most.by}")
    return found


def spreads_of_runs(runs_dir: Path) -> dict[tuple[str, str, str, str], SeedSpread]:
    """Return the seed spreads of the full systems' runs at hand, five or more on official data; {} for none."""
    from dmd_repro.planning.plans import plans_dir
    from dmd_repro.results.tables import compare_tables

    return spreads_of_tables(compare_tables(runs_dir, table_names())) if plans_dir(runs_dir).is_dir() else {}


def spreads_of_tables(tables: Iterable[ComparisonTable]) -> dict[tuple[str, str, str, str], SeedSpread]:
    """Return the seed spreads that tables hold of the full systems, five runs or more on official data."""
    found: dict[tuple[str, str, str, str], SeedSpread] = {}
    for table in tables:
        for row in table.rows:
            full = row.row.recipe is not None and row.row.recipe.model == "dmd" and not row.row.recipe.mask.off
            for cell in row.cells if full and row.row.recipe and row.row.recipe.head is None else ():
                if cell.difference is None or cell.summary.n < FEWEST_SEEDS:
                    continue
                _, std = mean_and_std(list(cell.values.values()))
                if std > 0:
                    key = spread_key(row.row, cell.column)
                    found.setdefault(key, SeedSpread(std, cell.summary.n, "runs at hand"))
    return found
