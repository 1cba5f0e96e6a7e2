"""What a study is made of: tables, runs, histories, edges, findings and further results, each record examined once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dmd_repro.audit.findings import audit, spreads_of_tables
from dmd_repro.audit.types import Finding
from dmd_repro.errors import ClaimError, DmdError, RunError, Unreadable
from dmd_repro.metrics.registry import METRICS, one_a_column, shown_in
from dmd_repro.papers.dmd.edges import EdgeRuns, edge_runs, edge_sheet
from dmd_repro.papers.dmd.table4 import table4_sheets
from dmd_repro.papers.folders import paper_of, table_names
from dmd_repro.papers.rerun import Rerun
from dmd_repro.papers.tables import PublishedTable, load_table, with_controls
from dmd_repro.planning.plans import TablePlan, list_plans
from dmd_repro.records.folder import Records, RunRecord, RunStatus
from dmd_repro.results.ablation import ablation_sheet, compare_arms
from dmd_repro.results.histories import Histories, histories
from dmd_repro.results.learned import learned
from dmd_repro.results.lottery import lottery_sheet
from dmd_repro.results.scores import mark_of
from dmd_repro.results.shapley import shapley_sheets
from dmd_repro.results.sheet import Sheet
from dmd_repro.results.tables import compare, plans_of
from dmd_repro.results.types import ComparisonTable

Place = tuple[str, str]  # name of a table, key of its row
MEASURES = tuple(one_a_column(shown_in("comparison")))  # of a line about a run


class ReadOnce(Records):
    """Records of which each is examined once, however many parts of a study ask for it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._seen: dict[str, tuple[RunStatus, RunRecord | None, str]] = {}

    def look(self, run_id: str) -> tuple[RunStatus, RunRecord | None, str]:
        """As `Records.look`; the record without the content of its files."""
        if run_id not in self._seen:
            status, record, problem = super().look(run_id)
            self._seen[run_id] = status, None if record is None else record.alone(), problem
        return self._seen[run_id]

    def get(self, run_id: str, check: bool = True) -> RunRecord | None:
        """As `Records.get`, always with `check`; Unreadable likewise."""
        status, record, problem = self.look(run_id)
        if status == "unreadable":
            raise Unreadable(problem)
        return record if status == "done" else None


@dataclass(frozen=True, slots=True)
class StudiedRun:
    """One record: its facts as `Records.scan` names them, what it measured on test, whether it learned."""

    facts: Mapping[str, Any]
    provenance: Mapping[str, Any]
    sizes: Mapping[str, int]  # clips by split
    test: Mapping[str, float | None]  # by metric, as tables print it
    learned: str  # "" where the run is not done
    why: str  # why it did not learn, or it cannot be told
    places: tuple[Place, ...]  # rows of the tables of the study that count it

    @property
    def run_id(self) -> str:
        """The 12 digits."""
        return str(self.facts["run_id"])

    @property
    def status(self) -> str:
        """done, failed, partial, damaged or unreadable."""
        return str(self.facts["status"])

    @property
    def what(self) -> str:
        """System, mask and protocol; "" of a record that does not read."""
        facts = self.facts
        return f"{facts['model']} ({facts['mask']}, {facts['protocol']})" if facts["model"] else ""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything the pages show. `whole`: all runs of the folder, not those of some tables' plans alone."""

    tables: Sequence[ComparisonTable]
    runs: Sequence[StudiedRun] = ()
    curves: Sequence[Histories] = ()
    edges: Sequence[tuple[EdgeRuns, Sheet]] = ()
    sheets: Sequence[Sheet] = ()  # ablations, and further readings of the tables
    findings: Sequence[Finding] = ()
    planned: Mapping[tuple[str, str, int], str] = field(default_factory=dict)  # table, row, seed -> run
    shown: Mapping[str, str] = field(default_factory=dict)  # table -> the data its plan is on
    unshown: Mapping[str, Sequence[str]] = field(default_factory=dict)  # table -> the data of its other plans
    whole: bool = True

    @property
    def mark(self) -> str | None:
        """SYNTHETIC DATA, PARTIAL DATA or both, where any of its runs or tables is of such."""
        marks = {mark_of([str(run.facts["standing"])]) for run in self.runs} | {table.mark for table in self.tables}
        marks |= {sheet.mark for sheet in self.sheets}
        return " AND ".join(mark for mark in ("SYNTHETIC DATA", "PARTIAL DATA") if mark in marks) or None

    @property
    def title(self) -> str:
        """What the study is of: this paper, or the further ones whose tables it holds."""
        papers = dict.fromkeys(paper_of(table.name) or "DMD" for table in self.tables)
        return f"{', '.join(papers)}: what is printed, and what was measured"

    def name_of(self, place: Place) -> str:
        """Return a row of a table in words: `table1 DMD* (MOSI, aligned)`."""
        name, key = place
        rows = (row for table in self.tables if table.name == name for row in table.rows)
        row = next((row.row for row in rows if row.row.key == key), None)
        return f"{name} {row.label} ({row.dataset.upper()}, {row.setting})" if row else f"{name} {key}"


def gather(
    runs_dir: Path, names: Sequence[str], data: Sequence[str] | None = None, *, reruns: Sequence[Rerun],
    margin: float | None = None, control: bool = True, whole: bool = True,
    looked: Callable[[list[ComparisonTable]], list[ComparisonTable]] = lambda tables: tables,
) -> Study:  # fmt: skip
    """Read a folder of runs for a study of the named tables; `whole`: with the runs that stand in no plan of theirs.

    `data`, `margin`, `control` as in `results.tables.compare_tables`; `looked` may count this print of the tables.
    Raises ClaimError for an unknown table or data without a plan, RunError where the folder cannot be read.
    """
    records = ReadOnce(runs_dir)
    plans = plans_of(runs_dir, names, data)
    printed = {name: with_controls(load_table(name)) if control else load_table(name) for name in plans}
    tables = looked([compare(printed[n], p, records, margin=margin, reruns=reruns) for n, p in plans.items()])
    planned = {
        (name, key, seed): run
        for name, plan in plans.items()
        for key, row in (plan.rows.items() if plan else ())
        for seed, run in row.runs.items()
    }
    places: dict[str, list[Place]] = {}
    for (name, key, _), run in planned.items():
        places.setdefault(run, []).append((name, key))
    counted = {(table.name, row.row.key, run) for table in tables for row in table.rows for run in row.runs.values()}
    rows = [row for row in records.rows() if whole or row["run_id"] in places]
    runs = [_studied(row, places.get(row["run_id"], ()), counted) for row in rows]
    known = {run.run_id for run in runs}
    wanted = None if whole else known
    return Study(
        tables=tables,
        runs=runs,
        curves=_of(lambda: [one for one in histories(records, None) if _wanted(one, wanted, runs)]),
        edges=_of(lambda: [(unit, edge_sheet(unit)) for unit in edge_runs(records, (), wanted)]),
        sheets=_sheets(records, printed, plans, data, whole),
        findings=_findings(names, tables),
        planned=planned,
        shown={name: plan.tag for name, plan in plans.items() if plan and plan.created},
        unshown=_unshown(records, plans),
        whole=whole,
    )


def _of(make: Callable[[], list[Any]]) -> list[Any]:
    """Return what the runs at hand hold of something; [] where they hold none."""
    try:
        return make()
    except RunError:
        return []


def _wanted(one: Histories, wanted: set[str] | None, runs: Sequence[StudiedRun]) -> bool:
    shown = {run.facts["configuration"] for run in runs}
    return wanted is None or one.name in shown


def _studied(row: Mapping[str, Any], places: Sequence[Place], counted: set[tuple[str, str, str]]) -> StudiedRun:
    record: RunRecord | None = row["record"]
    facts = {name: value for name, value in row.items() if name != "record"}
    test: dict[str, float | None] = {}
    outcome = why = ""
    if record is not None and row["status"] == "done":
        try:
            true, said = record.scores("test")
            values = {name: METRICS[name].shown(true, said) for name in MEASURES}
            test = {name: value if math.isfinite(value) else None for name, value in values.items()}
            verdict = learned(record)
            outcome, why = verdict.outcome, verdict.reason
        except DmdError as error:  # its files went in the meantime
            facts |= {"status": "damaged", "problem": str(error)}
    provenance = record.provenance if record else {}
    sizes = record.data.get("sizes") if record else None
    return StudiedRun(
        facts, provenance, sizes if isinstance(sizes, dict) else {}, test, outcome, why,
        tuple(place for place in places if (*place, row["run_id"]) in counted),
    )  # fmt: skip


def _sheets(
    records: Records, printed: Mapping[str, PublishedTable], plans: Mapping[str, TablePlan | None],
    data: Sequence[str] | None, whole: bool,
) -> list[Sheet]:  # fmt: skip
    """Return the ablations at hand, then the further readings of tables that were run."""
    found: list[Sheet] = []
    for arms in list_plans(records.root) if whole and not data else ():
        if arms.table.startswith("ablate-"):
            found += _of(partial(_ablation, arms, records))
    for name, plan in plans.items():
        if plan is None or not any(records.look(run)[0] == "done" for run in plan.run_ids):
            continue
        found += _of(partial(_lottery, printed[name], plan, records))
        if name == "table3":
            found += _of(partial(shapley_sheets, records, data or ()))
        if name == "table4":
            found += _of(partial(table4_sheets, plan, records, data or ()))
    return [sheet for sheet in found if sheet.grids]


def _unshown(records: Records, plans: Mapping[str, TablePlan | None]) -> dict[str, list[str]]:
    """Return, by table, the data of the plans that this study leaves out: one table is compared under one plan."""
    found: dict[str, list[str]] = {}
    for plan in list_plans(records.root):
        shown = plans.get(plan.table)
        if shown is not None and plan.tag != shown.tag:
            found.setdefault(plan.table, []).append(plan.tag)
    return {name: sorted(tags) for name, tags in found.items()}


def _ablation(plan: TablePlan, records: Records) -> list[Sheet]:
    title = f"Ablation {plan.table.removeprefix('ablate-')}"
    return [ablation_sheet(title, plan, compare_arms(plan, records))]


def _lottery(table: PublishedTable, plan: TablePlan, records: Records) -> list[Sheet]:
    return [lottery_sheet(table, plan, records)]


def _findings(names: Sequence[str], tables: Sequence[ComparisonTable]) -> list[Finding]:
    """Return the audit of the papers whose tables the study is of; of a single table, its own findings."""
    found: list[Finding] = []
    for paper in dict.fromkeys(paper_of(name) for name in names):
        mine = [name for name in names if paper_of(name) == paper]
        alone = paper or None
        if set(mine) != set(table_names(paper=paper)):
            alone = mine[0] if len(mine) == 1 else alone
        try:
            found += audit(table=alone, spreads=spreads_of_tables(tables))
        except ClaimError:  # a paper that no check can be put to
            continue
    return found
