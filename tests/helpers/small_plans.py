"""Plans of a table on synthetic data, of a few short runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmd_repro.data.store.folder import Store
from dmd_repro.execution.workers import run_stacks
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.grid import Job, PlannedTable, expand
from dmd_repro.planning.stacks import group
from dmd_repro.records.folder import Records
from dmd_repro.training.execution import Execution

ALIGNED = "mosi-aligned-glove-dmd"
QUICK = {"max_epochs": 2, "d": 4, "heads": 2, "layers": 1}


def plan(records: Records, table: str = "table1", **options: object) -> PlannedTable:
    """Plan a table, on synthetic data and two seeds unless told otherwise."""
    options = {"data": ("synthetic",), "seeds": (1111, 1112), "store": Store(records.root.parent / "data"), **options}
    return expand(load_table(table), records=records, **options)  # type: ignore[arg-type]


def quick(records: Records, **options: object) -> PlannedTable:
    """Plan two short runs of the aligned row."""
    return plan(records, rows=(ALIGNED,), overrides=QUICK, **options)


def run_jobs(jobs: Sequence[Job], records: Records, store: Store, *, execution: Execution, **options: Any) -> list[str]:
    """Train jobs, grouped as the execution says; returns and raises as `run_stacks`."""
    return run_stacks(group(jobs, records, execution.stack), records, store, execution=execution, **options)
