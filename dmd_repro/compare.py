"""A printed table, a plan and the run records, set side by side.

What may not be compared is not: a difference needs the official split, the row's setting, text features and protocol,
and the reason stands in words wherever one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dmd_repro.compare_runs import DATASET_WORDS, TEXT_WORDS, Measured, Runs, derive, measure
from dmd_repro.compare_types import Cell, ComparedBlock, ComparedRow, ComparisonTable
from dmd_repro.errors import RunError, nearest
from dmd_repro.plans import TablePlan, data_tag, list_plans, load_plan
from dmd_repro.published import Block, Printed, PublishedTable, Row, load_table
from dmd_repro.records import Records
from dmd_repro.registry import MODELS
from dmd_repro.stats import CONSTANT, TOO_FEW, one_sample_t, summarise

ZERO_WORDS = {"non0": "negative / positive", "has0": "negative / non-negative"}
MARKS = {"synthetic": "SYNTHETIC DATA", "partial": "PARTIAL DATA"}


def compare(table: PublishedTable, plan: TablePlan | None, records: Records) -> ComparisonTable:
    """Set a printed table beside the runs its plan names; without a plan every row is "not run".

    Raises RunError if the folder of runs cannot be read.
    """
    runs = Runs(records)
    measured: dict[str, Measured] = {}
    for row in table.rows:
        planned = plan.rows.get(row.key) if plan else None
        if row.derived is None:
            measured[row.key] = measure(row, planned, runs)
    for row in table.rows:
        if row.derived is not None:
            measured[row.key] = derive(row.derived, tuple(row.cells), measured)
    blocks = tuple(_block(table, block, plan, measured) for block in table.blocks)
    data = {
        planned.features["digest"]: dict(planned.features)
        for planned in (plan.rows.values() if plan else ())
        if planned.features
    }
    standings = {entry["standing"] for entry in data.values()}
    mark = next((words for standing, words in MARKS.items() if standing in standings), None)
    notes = list(table.notes)
    if len(runs.executions) > 1:
        notes.append(
            f"the runs mix {len(runs.executions)} executions (device, threads, versions): equal seeds may differ"
        )
    return ComparisonTable(
        name=table.name,
        title=f"{table.title} ({mark}, not comparable with the printed numbers)" if mark else table.title,
        mark=mark,
        blocks=blocks,
        data=tuple(data[digest] for digest in data),
        notes=tuple(notes),
        planned=plan.created if plan else None,
    )


def compare_tables(runs_dir: Path, names: Sequence[str], data: Sequence[str] | None = None) -> list[ComparisonTable]:
    """Compare tables by name, each under its plan on `data`, or its most recent plan.

    Raises ClaimError for an unknown table, RunError if `data` is named and none of the tables was planned on it.
    """
    tables = [load_table(name) for name in names]
    plans = {table.name: load_plan(runs_dir, table.name, data) for table in tables}
    if data and not any(plans.values()):
        asked = data_tag(data)
        known = {plan.tag for plan in list_plans(runs_dir) if plan.table in names}
        raise RunError.at(
            f"--data {asked}",
            expected=f"a plan of {' or '.join(names)} on it in {runs_dir}",
            got="none",
            do=nearest(asked, known) if known else f"Make one: dmd reproduce {names[0]} --data {' --data '.join(data)}",
        )
    records = Records(runs_dir)
    return [compare(table, plans[table.name], records) for table in tables]


def _block(
    table: PublishedTable, block: Block, plan: TablePlan | None, measured: Mapping[str, Measured]
) -> ComparedBlock:
    first = block.rows[0]
    words = f"{DATASET_WORDS[first.dataset]}, {first.setting}, {TEXT_WORDS[first.text]} text"
    title = f"{block.title} ({words})" if block.title else words
    rows = tuple(_row(row, plan, measured[row.key]) for row in block.rows)
    return ComparedBlock(block.key, title, block.columns, rows)


def _row(row: Row, plan: TablePlan | None, measured: Measured) -> ComparedRow:
    cells = tuple(_cell(column, row.metric_id(column), printed, measured) for column, printed in row.cells.items())
    notes = list(measured.notes)
    reason = _reason(row, plan) if not measured.planned else None
    if reason:
        notes.append(reason)
    planned = plan.rows.get(row.key) if plan else None
    notes += planned.notes if planned else ()
    notes += dict.fromkeys(cell.why_not for cell in cells if cell.why_not)
    notes.append(origin(row))
    return ComparedRow(
        row=row,
        state="measured" if measured.runs else "skipped" if reason else "not run",
        cells=cells,
        planned=measured.planned,
        runs=measured.runs,
        failed=tuple(measured.failed),
        features=measured.features,
        notes=tuple(notes),
    )


def _reason(row: Row, plan: TablePlan | None) -> str | None:
    """Say why no run was planned for a row; None: nobody has asked for it yet."""
    planned = plan.rows.get(row.key) if plan else None
    if planned and planned.status == "skipped" and not row.derived:
        return planned.reason
    if row.recipe and row.recipe.model not in MODELS:
        return f"cannot be run yet: the model '{row.recipe.model}' is not in this tool"
    return row.reason


def _cell(column: str, metric: str, printed: Printed, measured: Measured) -> Cell:
    values = measured.values.get(column, {})
    summary = summarise(list(values.values()))
    difference = test = why_not = None
    if measured.runs and not values:
        why_not = "the measure is not defined on these clips"
    elif summary.mean is not None and measured.bar:
        why_not = measured.bar
    elif summary.mean is not None:
        difference = summary.mean - float(printed.value)
        if measured.failed:
            why_not = "no test: a run failed, and leaving it out would flatter the mean"
        elif summary.why in (TOO_FEW, CONSTANT):
            why_not = f"no test: {summary.why}"
        else:
            test = one_sample_t(list(values.values()), float(printed.value))
    return Cell(column, metric, printed, values, summary, difference, test, why_not)


def origin(row: Row) -> str:
    """Say where a row's numbers come from and how they count, each with its certainty."""
    parts = [f"source: {row.source.text} [{row.source.certainty}]"] if row.source else []
    if row.convention == "unknown":
        parts.append(f"which ACC2 and F1: {row.certainty}; taken here as {ZERO_WORDS['non0']}")
    elif {"acc2", "f1"} & set(row.cells):
        swapped = ", F1 with its arguments swapped" if row.f1_order == "swapped" and "f1" in row.cells else ""
        parts.append(f"counts {ZERO_WORDS[row.convention]}{swapped} [{row.certainty}]")
    return "; ".join(parts)
