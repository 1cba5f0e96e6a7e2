"""`dmd reproduce all`: what the whole paper takes, from measured figures, and which tables lack their data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dmd_repro.data.store.folder import Store
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.planning.grid import PlannedTable
    from dmd_repro.records.folder import Records
    from dmd_repro.spec import Scalar
    from dmd_repro.training.execution import Execution

ALL = "all"  # in the place of a table's name


def refuse_lacking(plans: Sequence[PlannedTable], records: Records, console: Console) -> None:
    """Raise SpecError, with each table's reasons above it, where a table has no row that can be run."""
    from dmd_repro.cli.planned import print_rows
    from dmd_repro.errors import SpecError

    empty = [planned for planned in plans if not planned.jobs]
    if not empty:
        return
    for planned in empty:
        print_rows(planned, records, console)
    names = ", ".join(planned.table.name for planned in empty)
    raise SpecError.at(
        f"dmd reproduce {ALL}", expected="in each table at least one row that can be run", got=f"none in {names}",
        do=f"Get the data (--download), see what it takes (dmd reproduce {ALL} --dry-run), or try the program on "
        "stand-in data (--data synthetic)",
    )  # fmt: skip


def hours_without_data(
    planned: PlannedTable,
    store: Store,
    execution: Execution,
    overrides: Mapping[str, str | Scalar],
    *,
    jobs: int | None,
    slurm: Slurm | None,
) -> list[str]:
    """Return how long the rows of a table take that lack their data, once these are there; [] where no row does."""
    from dmd_repro.execution.estimate import figures_for
    from dmd_repro.execution.places import sides
    from dmd_repro.planning.hours import Machine, clock, costs_of
    from dmd_repro.planning.whole import configurations
    from dmd_repro.render.duration import duration
    from dmd_repro.render.hours import epochs_words, source_words
    from dmd_repro.training import cards

    found = configurations([planned], store, seeds=planned.plan.seeds, overrides=overrides)
    lack = [one for one in found if not one.here]
    if not lack:
        return []
    runs, kind = sum(one.to_train for one in lack), cards.kind(execution.device)
    costs = costs_of(lack, kind, figures_for(execution), {})
    workers = (slurm.options.at_once or runs) if slurm else jobs or sides(execution)
    machine = Machine("", "cuda" if kind == "cuda" else "cpu", max(1, workers))
    (typical, out), (most, _) = clock(costs, machine), clock(costs, machine, most=True)
    what = f"for the {runs} runs whose data are not here"
    if typical is None or most is None:
        return [f"time not measured {what}"]
    known = [one for one in costs if one.seconds_per_epoch is not None]
    left_out = f", {out} of {len(costs)} configurations left out that are not measured" if out else ""
    more = " more" if planned.jobs else ""
    return [
        f"typically {duration(3600 * typical)}, at most {duration(3600 * most)}{more} {what}{left_out}",
        f"  from {source_words(known)}",
        f"  {epochs_words(known)}",
    ]


def show_hours(
    plans: Sequence[PlannedTable],
    store: Store,
    records: Records,
    *,
    seeds: Sequence[int],
    overrides: Mapping[str, str | Scalar],
    json_: bool,
) -> None:
    """Print how long the tables take on two and eight cores, one card and four, what dominates, and what would save."""
    from dmd_repro.planning.figures import measured
    from dmd_repro.planning.hours import plan_json, seen_in
    from dmd_repro.planning.whole import configurations
    from dmd_repro.render.hours import hours_sheet
    from dmd_repro.render.sheet import show_sheets
    from dmd_repro.render.terminal import terminal_console

    found, figures, seen = configurations(plans, store, seeds=seeds, overrides=overrides), measured(), seen_in(records)
    if json_:
        tables = [planned.table.name for planned in plans]
        document = {"tables": tables, "seeds": list(seeds), **plan_json(found, figures, seen)}
        typer.echo(json.dumps(document, indent=1))
    else:
        show_sheets([hours_sheet(plans, found, figures, seen)], terminal_console())
