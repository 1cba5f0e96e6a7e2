"""Several tables planned at once: with the readings and the rows of our own that one of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError, nearest
from dmd_repro.papers.dmd.readings import with_readings
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import PublishedTable, load_table, with_controls
from dmd_repro.planning.grid import PlannedTable, expand, lacking, select_rows
from dmd_repro.planning.protocol import one_protocol, under_protocol
from dmd_repro.records.folder import Records
from dmd_repro.spec import Scalar


def table_to_plan(name: str) -> PublishedTable:
    """Return a table with all the rows that a plan of it has; raises ClaimError as `load_table`."""
    return with_readings(with_controls(load_table(name)))


def planned_tables(
    names: Sequence[str] = (),
    *,
    seeds: Sequence[int],
    store: Store,
    records: Records,
    data: Sequence[str] = (),
    rows: Sequence[str] = (),
    protocol: str | None = None,
    mixed: bool = False,
    overrides: Mapping[str, str | Scalar] | None = None,
    bert: Callable[[], str] | None = None,
    control: bool = True,
) -> list[PlannedTable]:
    """Plan some tables, or all of the paper, each as `grid.expand` does; one that no name of `rows` fits is left out.

    Raises as `expand`, and SpecError for a name of `rows` that fits no row of any of them.
    """
    tables = [table_to_plan(name) for name in names or table_names()]
    found = []
    for table, asked in _asked(tables, rows):
        planned = expand(
            under_protocol(table, protocol), seeds=seeds, store=store, records=records, data=data, rows=asked,
            overrides=overrides, bert=bert, control=control,
        )  # fmt: skip
        found.append(one_protocol(planned, records, mixed=mixed))
    return found


def _asked(tables: Sequence[PublishedTable], rows: Sequence[str]) -> list[tuple[PublishedTable, tuple[str, ...]]]:
    """Return each table with the names of `--rows` that fit a row of it."""
    wanted = [part.strip() for item in rows for part in item.split(",") if part.strip()]
    if not wanted or len(tables) == 1:
        return [(table, tuple(rows)) for table in tables]
    fitting: dict[str, list[str]] = {}
    for name in wanted:
        for table in tables:
            with suppress(SpecError):
                select_rows(table, (name,))
                fitting.setdefault(table.name, []).append(name)
        if not any(name in names for names in fitting.values()):
            known = {word for table in tables for row in table.rows for word in (row.key, row.method.lower())}
            raise SpecError.at(
                f"--rows {name}", expected=f"a row of {', '.join(t.name for t in tables)}",
                got="none of their keys or methods", do=nearest(name.lower(), known),
            )  # fmt: skip
    return [(table, tuple(fitting[table.name])) for table in tables if table.name in fitting]


def lacking_in(plans: Sequence[PlannedTable], store: Store) -> dict[str, tuple[str, ...]]:
    """Return the feature sets that rows of some plans name and the store lacks, each with the keys of those rows."""
    found: dict[str, tuple[str, ...]] = {}
    for planned in plans:
        for name, keys in lacking(planned, store).items():
            found[name] = (*found.get(name, ()), *keys)
    return found


def renewed(planned: PlannedTable, records: Records) -> PlannedTable:
    """Return a plan with its runs as they are now."""
    return replace(planned, status={name: records.status(name) for name in planned.status})


def rows_named(plans: Sequence[PlannedTable], name: str) -> frozenset[str]:
    """Return the rows that a name after `--rows` fits, each behind its table: table1/mosi-aligned-glove-dmd."""
    found: set[str] = set()
    for planned in plans:
        with suppress(SpecError):
            found |= {f"{planned.table.name}/{row.key}" for row in select_rows(planned.table, (name,))}
    return frozenset(found)
