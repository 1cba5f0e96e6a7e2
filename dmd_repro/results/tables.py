"""A printed table, a plan and the run records, set side by side.

What may not be compared is not: a difference needs the official split, the row's setting, text features and protocol,
and the reason stands in words wherever one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmd_repro.datasets import DATASETS, dataset_title
from dmd_repro.errors import RunError, nearest
from dmd_repro.metrics.binary import ZERO_WORDS
from dmd_repro.metrics.metric import Metric
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.rerun import Rerun
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.papers.tables import Printed, PublishedTable, Row, TableBlock, load_table, with_controls
from dmd_repro.planning.looks import note_look
from dmd_repro.planning.plans import PlannedRow, TablePlan, data_tag, list_plans, load_plan
from dmd_repro.records.folder import Records, RunRecord
from dmd_repro.results.chances import chances_of, margin_chances
from dmd_repro.results.evidence import evidence_words
from dmd_repro.results.executions import mixed_executions
from dmd_repro.results.prose import prose
from dmd_repro.results.reruns import answers, not_comparable, readings_of
from dmd_repro.results.runs import TEXT_WORDS, Measured, Runs, derive, measure, unprinted_columns
from dmd_repro.results.scores import mark_of
from dmd_repro.results.types import Cell, ComparedBlock, ComparedRow, ComparisonTable, Unprinted
from dmd_repro.results.verdict import Judged, RowJudged, Terms, convention_means, judge
from dmd_repro.stats.stages import stages_of
from dmd_repro.stats.summary import Summary, one_sample_t, summarise
from dmd_repro.stats.verdict import MARGIN
from dmd_repro.systems.registry import system_names


def compare(
    table: PublishedTable,
    plan: TablePlan | None,
    records: Records,
    *,
    margin: float | None = None,
    reruns: Sequence[Rerun] | None = None,
) -> ComparisonTable:
    """Set a printed table beside the runs its plan names; without a plan every row is "not run".

    `margin`, in points: the plan's where None, and another than that gives intervals and no word. `reruns` are others'
    runs (None: those that come with the package).

    Raises RunError if the folder of runs cannot be read.
    """
    runs, reruns = Runs(records), load_reruns() if reruns is None else reruns
    measured = measure_table(table, plan, runs)
    sealed = plan.margin if plan else MARGIN
    terms = Terms(sealed if margin is None else margin, sealed, stages_of(plan.one_look if plan else None))
    judged = judge(table.rows, measured, terms)
    blocks = tuple(_block(block, plan, measured, judged, reruns, terms.margin) for block in table.blocks)
    data = {
        planned.features["digest"]: dict(planned.features)
        for planned in (plan.rows.values() if plan else ())
        if planned.features
    }
    standings = {entry["standing"] for entry in data.values()}
    mark = mark_of([str(standing) for standing in standings])
    notes = list(table.notes)
    if mixed := mixed_executions(runs.executions):
        notes.append(mixed)
    found = ComparisonTable(
        name=table.name,
        title=table.title,
        mark=mark,
        blocks=blocks,
        data=tuple(data[digest] for digest in data),
        notes=tuple(notes),
        planned=plan.created if plan else None,
        margin=terms.margin,
        sealed_margin=terms.sealed,
        stages=terms.stages,
        provenance=tuple(_provenance(record) for record in runs.seen.values()),
        answers=answers(table, reruns),
        other_reruns=not_comparable(table, reruns),
    )
    return replace(found, prose=prose(found))


def measure_table(table: PublishedTable, plan: TablePlan | None, runs: Runs) -> dict[str, Measured]:
    """Return what the runs of a plan say of each row of a table, by its key."""
    measured: dict[str, Measured] = {}
    for row in table.rows:
        planned = plan.rows.get(row.key) if plan else None
        if row.derived is None:
            measured[row.key] = measure(row, planned, runs)
    if plan and not plan.sealed:  # who could change it could count any runs into any row
        again = f"dmd reproduce {table.name}" + "".join(f" --data {name}" for name in plan.data)
        for found in measured.values():
            found.not_comparable = f"its plan has no seal, so no verdict: plan again, {again} (no run is made twice)"
    for row in table.rows:
        if row.derived is not None:
            measured[row.key] = derive(row.derived, (*row.cells, *unprinted_columns(row).values()), measured)
    return measured


def _provenance(record: RunRecord) -> dict[str, Any]:
    """Say where a run comes from: what a reader needs to trust it or to repeat it."""
    where, kept = record.provenance, ("version", "commit", "dirty", "packages", "execution", "created", "seconds")
    return {
        "run": record.run_id,
        "seed": record.spec.seed,
        "model": record.spec.model,
        "protocol": record.spec.protocol,
        "mask": record.spec.mask.label,
        "data": record.data.get("name"),
        "digest": record.data["digest"],
        **{name: where.get(name) for name in kept},
    }


def plans_of(runs_dir: Path, names: Sequence[str], data: Sequence[str] | None) -> dict[str, TablePlan | None]:
    """Return the plan of each table on `data`, or its most recent one.

    Raises ClaimError for an unknown table, RunError if `data` is named and none of the tables was planned on it.
    """
    tables = [load_table(name) for name in names]
    plans = {table.name: _plan(runs_dir, table, data, alone=len(tables) == 1) for table in tables}
    if data and not any(plans.values()):
        asked = data_tag(data)
        known = {plan.tag for plan in list_plans(runs_dir) if plan.table in names}
        raise RunError.at(
            f"--data {asked}",
            expected=f"a plan of {' or '.join(names)} on it in {runs_dir}",
            got="none",
            do=nearest(asked, known) if known else f"Make one: dmd reproduce {names[0]} --data {' --data '.join(data)}",
        )
    return plans


def _plan(runs_dir: Path, table: PublishedTable, data: Sequence[str] | None, *, alone: bool) -> TablePlan | None:
    """Return a table's plan; one that does not read stands in its own table as the reason, and hides no other."""
    try:
        return load_plan(runs_dir, table.name, data)
    except RunError as error:
        if alone:
            raise
        reason = PlannedRow("skipped", reason=str(error))
        return TablePlan(table.name, (), (), {row.key: reason for row in with_controls(table).rows})


def compare_tables(
    runs_dir: Path,
    names: Sequence[str],
    data: Sequence[str] | None = None,
    *,
    margin: float | None = None,
    reruns: Sequence[Rerun] | None = None,
    control: bool = False,
) -> list[ComparisonTable]:
    """Compare tables by name, each under its plan on `data`, or its most recent plan; raises as `plans_of` does.

    `control`: with the rows of our own that nothing is printed of.
    """
    plans, records = plans_of(runs_dir, names, data), Records(runs_dir)
    reruns = load_reruns() if reruns is None else reruns
    tables = {name: with_controls(load_table(name)) if control else load_table(name) for name in plans}
    return [compare(tables[name], plan, records, margin=margin, reruns=reruns) for name, plan in plans.items()]


def with_looks(tables: Sequence[ComparisonTable], runs_dir: Path, data: Sequence[str] | None) -> list[ComparisonTable]:
    """Count this print of each table that holds headline verdicts, and say so under it."""
    out = []
    for table in tables:
        decided = [row for row in table.rows if row.words.headline and row.words.stage]
        plan = load_plan(runs_dir, table.name, data) if decided else None
        if plan:
            n = "/".join(str(n) for n in sorted({row.words.stage.n for row in decided if row.words.stage}))
            runs = sorted({run for row in decided for run in row.runs.values()})
            table = replace(table, looks=note_look(runs_dir, table.name, plan.data, runs, f"n = {n}"))
        out.append(table)
    return out


Judgements = Mapping[str, RowJudged]


def _block(
    block: TableBlock,
    plan: TablePlan | None,
    measured: Mapping[str, Measured],
    judged: Judgements,
    reruns: Sequence[Rerun],
    margin: float,
) -> ComparedBlock:
    first = block.rows[0]
    words = f"{dataset_title(first.dataset)}, {first.setting}, {TEXT_WORDS[first.text]} text"
    title = f"{block.title} ({words})" if block.title else words
    rows = tuple(_row(row, plan, measured[row.key], judged, reruns, margin) for row in block.rows)
    return ComparedBlock(block.key, title, block.columns, rows)


def _row(
    row: Row,
    plan: TablePlan | None,
    measured: Measured,
    judged: Judgements,
    reruns: Sequence[Rerun],
    margin: float,
) -> ComparedRow:
    read = readings_of(row, reruns)
    cells = tuple(
        replace(
            _cell(row, column, printed, measured, judged[row.key].cells[column], margin), reruns=read.get(column, ())
        )
        for column, printed in row.cells.items()
    )
    notes = list(measured.notes)
    reason = _reason(row, plan) if not measured.planned else None
    if reason:
        notes.append(reason)
    planned = plan.rows.get(row.key) if plan else None
    notes += planned.notes if planned else ()
    untested = list(dict.fromkeys(cell.why_not for cell in cells if cell.why_not))
    notes += untested
    words = judged[row.key].words
    if words.why and not words.headline and any(cell.test is not None for cell in cells):
        notes.append(f"no word: {words.why}")
    evidence = evidence_words(row)
    said = evidence and any(evidence.partition(": ")[2] in note for note in notes)
    behind = [*([evidence] if evidence and not said else []), origin(row)]
    notes += behind
    return ComparedRow(
        row=row,
        state="measured" if measured.runs else "skipped" if reason else "not run",
        cells=cells,
        planned=measured.planned,
        runs=measured.runs,
        failed=tuple(measured.failed),
        not_learned=tuple(measured.not_learned),
        words=words,
        unprinted=_unprinted(row, measured),
        features=measured.features,
        notes=tuple(notes),
        background=(*(why for why in untested if why.startswith("no test")), *behind),
    )


def _unprinted(row: Row, measured: Measured) -> tuple[Unprinted, ...]:
    """Return what is always shown of a measured row and not printed: MAE and Corr, as a rule."""
    if not measured.runs:
        return ()
    values = {name: measured.values.get(column, {}) for name, column in unprinted_columns(row).items()}
    return tuple(
        Unprinted(METRICS[name].heading, name, by_seed, *_summaries(METRICS[name], by_seed, measured))
        for name, by_seed in values.items()
    )


def _reason(row: Row, plan: TablePlan | None) -> str | None:
    """Say why no run was planned for a row; None: nobody has asked for it yet."""
    planned = plan.rows.get(row.key) if plan else None
    if planned and planned.status == "skipped" and not row.derived:
        return planned.reason
    if row.recipe and row.recipe.model not in system_names():
        return f"cannot be run yet: the model '{row.recipe.model}' is not in this tool"
    return row.reason


def _cell(row: Row, column: str, printed: Printed, measured: Measured, judged: Judged, margin: float) -> Cell:
    metric = row.metric_id(column)
    values = measured.values.get(column, {})
    summary, learned = _summaries(METRICS[metric], values, measured)
    difference = test = why_not = None
    if measured.runs and not values:
        why_not = "the measure is not defined on these clips"
    elif summary.mean is not None and measured.not_comparable:
        why_not = measured.not_comparable
    elif summary.mean is not None:
        difference = summary.mean - float(printed.value)
        if measured.failed:
            why_not = "no test: a run failed, and leaving it out would flatter the mean"
        elif summary.interval is None:
            why_not = f"no test: {summary.why}"
        else:
            test = one_sample_t(list(values.values()), float(printed.value))
    conventions = convention_means(column, row.dataset, measured)
    others = [value for seed, value in values.items() if seed in measured.not_learned]
    scores = [(loss, values[seed]) for seed, loss in measured.selection.items() if seed in values]
    spread = row.derived is not None and row.derived.statistic == "population_std"
    told = difference is not None and not measured.failed and not spread
    normal = told and not measured.not_learned
    return Cell(
        column, metric, printed, values, summary, difference, test, why_not, judged, conventions,
        chances=chances_of(metric, printed, learned or summary, others, scores) if told else (), learned=learned,
        beside=margin_chances(printed, summary, margin * METRICS[metric].point) if normal else None,
    )  # fmt: skip


def _summaries(metric: Metric, by_seed: Mapping[int, float], measured: Measured) -> tuple[Summary, Summary | None]:
    """Return the summary of all runs and, where some did not learn, that of those that did."""
    bounds, values = metric.bounds, list(by_seed.values())
    kept = [value for seed, value in by_seed.items() if seed not in measured.not_learned]
    if len(kept) == len(values):
        return summarise(values, bounds=bounds), None
    mixed = f"{len(kept)} of {len(values)} runs learned, so no normal interval holds for all"
    return summarise(values, bounds=bounds, mixed=mixed), summarise(kept, bounds=bounds)


def zero_words(zero: str) -> str:
    """Return a way of counting the sign in two or three words: `negative / positive`."""
    return next(words for name, words in ZERO_WORDS.items() if name == zero).partition(",")[0]


def origin(row: Row) -> str:
    """Say where a row's numbers come from and how they count, each with its certainty."""
    parts = [f"source: {row.source.text} [{row.source.certainty}]"] if row.source else []
    usual = DATASETS[row.dataset].zeros[0]
    if row.convention == "unknown":
        parts.append(f"which ACC2 and F1: {row.certainty}; taken here as {zero_words(usual)}")
    elif {"acc2", "f1"} & {*row.cells, *row.ours}:
        swapped = ", F1 with its arguments swapped" if row.f1_order == "swapped" and "f1" in row.cells else ""
        parts.append(f"counts {zero_words(row.convention)}{swapped} [{row.certainty}]")
    return "; ".join(parts)
