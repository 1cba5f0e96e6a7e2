"""A table under another protocol than its recipes name, and never two protocols in one table unless asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dmd_repro.errors import SpecError, nearest
from dmd_repro.papers.tables import PublishedTable, Row
from dmd_repro.planning.grid import PlannedTable
from dmd_repro.planning.plans import PlannedRow
from dmd_repro.records.folder import Records
from dmd_repro.systems.registry import find_system, system_names

DEFAULT = "official"


def under_protocol(table: PublishedTable, protocol: str | None) -> PublishedTable:
    """Return a table whose recipes follow a protocol, where their model has it. None: as printed.

    Raises SpecError if no model has a protocol of that name.
    """
    if protocol is None:
        return table
    known = {name: find_system(name).protocols for name in system_names()}
    if not any(protocol in names for names in known.values()):
        raise SpecError.at(
            f"--protocol {protocol}", expected="a protocol", got="an unknown name",
            do=nearest(protocol, {name for names in known.values() for name in names}),
        )  # fmt: skip

    def turned(row: Row) -> Row:
        recipe = row.recipe
        if recipe is None or protocol not in known.get(recipe.model, ()):
            return row
        return replace(row, recipe=replace(recipe, protocol=protocol))

    return replace(table, blocks=tuple(replace(block, rows=tuple(map(turned, block.rows))) for block in table.blocks))


def one_protocol(planned: PlannedTable, records: Records, *, mixed: bool) -> PlannedTable:
    """Return the plan with the protocol noted in every row that departs from the authors' code.

    Rows kept from an earlier plan count. Raises SpecError if rows of one model would follow two protocols and `mixed`
    is false.
    """
    found = _protocols(planned, records)
    rows: dict[str, PlannedRow] = dict(planned.plan.rows)
    by_model: dict[str, set[str]] = {}
    for key, (model, protocol) in found.items():
        by_model.setdefault(model, set()).add(protocol)
        note = f"protocol {protocol}"
        if protocol != DEFAULT and note not in rows[key].notes:
            rows[key] = replace(rows[key], notes=(*rows[key].notes, note))
    for model, protocols in by_model.items():
        if len(protocols) > 1 and not mixed:
            kept = [key for key in found if key not in planned.selected]
            few = ", ".join(kept[:3]) + (" ..." if kept[3:] else "")
            raise SpecError.at(
                f"{planned.table.name} on {planned.plan.tag}", expected=f"one protocol for the rows of {model}",
                got=f"{' and '.join(sorted(protocols))} ({few} from earlier)",
                do="Leave out --rows, or add --mix-protocols to have both, noted in every row",
            )  # fmt: skip
    return replace(planned, plan=replace(planned.plan, rows=rows))


def _protocols(planned: PlannedTable, records: Records) -> Mapping[str, tuple[str, str]]:
    """Return (model, protocol) of each row with runs: of those asked for now, and of those an earlier plan left."""
    out = {key: (job.spec.model, job.spec.protocol) for job in planned.jobs for key in job.rows}
    for key, row in planned.plan.rows.items():
        for run in row.runs.values():
            if key not in out and (record := records.whole(run, check=False)):
                out[key] = record.spec.model, record.spec.protocol
    return out
