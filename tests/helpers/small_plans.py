"""Plans of a table on synthetic data, of a few short runs."""

from __future__ import annotations

from dmd_repro.data.store.folder import Store
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.grid import PlannedTable, expand
from dmd_repro.records.folder import Records

ALIGNED = "mosi-aligned-glove-dmd"
QUICK = {"max_epochs": 2, "d": 4, "heads": 2, "layers": 1}


def plan(records: Records, table: str = "table1", **options: object) -> PlannedTable:
    """Plan a table, on synthetic data and two seeds unless told otherwise."""
    options = {"data": ("synthetic",), "seeds": (1111, 1112), "store": Store(records.root.parent / "data"), **options}
    return expand(load_table(table), records=records, **options)  # type: ignore[arg-type]


def quick(records: Records, **options: object) -> PlannedTable:
    """Plan two short runs of the aligned row."""
    return plan(records, rows=(ALIGNED,), overrides=QUICK, **options)
