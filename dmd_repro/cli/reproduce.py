"""`dmd reproduce TABLE`: plan its rows, train what is missing, print it beside the paper's numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.paths import BertSource, DataDir, RunsDir, bert_source, data_dir, encoded_dir, runs_dir
from dmd_repro.cli.train import Device, MaxEpochs, Settings, Threads, fingerprint, parse_settings
from dmd_repro.seeds import parse_seeds

if TYPE_CHECKING:
    from rich.console import Console

    from dmd_repro.grid import Grid, Job
    from dmd_repro.records import Records


def reproduce(
    table: Annotated[str, typer.Argument(help="table1 ... table5.")],
    seeds: Annotated[str, typer.Option("--seeds", help="A count from 1111 on (5), or the seeds (7,8,9).")] = "5",
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", help="Only these rows: key, method, or words of a key (aligned-glove); repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Feature set for the rows it fits, or synthetic; repeatable. Else what rows name."),
    ] = None,
    bert: BertSource = None,
    epochs: MaxEpochs = None,
    settings: Settings = None,
    device: Device = "cpu",
    threads: Threads = 1,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs side by side. Else one a core; one on a GPU.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    runs: RunsDir = None,
    store: DataDir = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and all else on stderr.")] = False,
) -> None:
    """Train what a table needs and print it. What is there is used, what was interrupted goes on where it stopped."""
    import json

    from rich.console import Console

    from dmd_repro import grid
    from dmd_repro.cli.progress import Work, duration
    from dmd_repro.compare import compare
    from dmd_repro.data.store import Store
    from dmd_repro.grid_estimate import most_seconds, seconds_per_epoch
    from dmd_repro.grid_workers import run_jobs
    from dmd_repro.plans import save_plan
    from dmd_repro.published import load_table
    from dmd_repro.records import Records
    from dmd_repro.render_terminal import show, terminal_console
    from dmd_repro.training import Execution

    published, chosen = load_table(table), parse_seeds(seeds)
    source = bert_source(bert)
    execution = Execution(device=device, threads=threads, bert=source, cache=str(encoded_dir(store)))
    execution.prepare()
    records, features = Records(runs_dir(runs)), Store(data_dir(store))
    console = Console(stderr=json_, highlight=False, soft_wrap=True)
    planned = grid.expand(
        published,
        seeds=chosen,
        store=features,
        records=records,
        data=tuple(data or ()),
        rows=tuple(rows or ()),
        overrides=parse_settings(settings, epochs),
        bert=(lambda: fingerprint(source)) if source else None,
    )
    _print_rows(planned, console)
    grid.refuse_empty(planned)
    if not dry_run:
        save_plan(records.root, planned.plan)
    missing = planned.missing

    def timing(job: Job) -> None:
        typer.echo(f"timing a few steps of {job.rows[0]} ...", err=True)

    each = seconds_per_epoch(missing, records, features, execution, timing)
    workers = min(jobs or (_cores(threads) if device == "cpu" else 1), max(1, len(missing)))
    most = most_seconds(missing, each) / workers
    console.print(_summary(planned, workers, duration(most)), markup=False)
    if dry_run:
        if json_:
            plan = {key: row.to_json() for key, row in planned.plan.rows.items()}
            typer.echo(json.dumps(_totals(planned) | {"at_most_seconds": round(most, 1), "rows": plan}, indent=1))
        return
    failed = _run(planned, Work(missing, each, records, workers, json_), run_jobs, records, features, execution)
    compared = compare(published, planned.plan, records)
    if json_:
        document = _totals(planned) | {"failed": failed, "table": compared.to_json()}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show([compared], terminal_console())
    if failed:
        typer.echo(f"dmd: {len(failed)} of {len(missing)} runs FAILED: dmd runs show {failed[0]}", err=True)
        raise typer.Exit(1)


def _run(planned: Grid, work: Any, run_jobs: Any, records: Records, features: Any, execution: Any) -> list[str]:
    try:
        with work:
            return list(
                run_jobs(
                    planned.missing,
                    records,
                    features,
                    execution=execution,
                    workers=work.workers,
                    on_event=work.on_event,
                )
            )
    except KeyboardInterrupt:
        done = sum(records.status(job.run_id) == "done" for job in planned.jobs)
        typer.echo(f"\n{done} of {len(planned.jobs)} runs are done, the others keep their finished epochs.", err=True)
        raise


def _cores(threads: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def _totals(planned: Grid) -> dict[str, Any]:
    uses = sum(len(planned.plan.rows[key].runs) for key in planned.selected)
    status = list(planned.status.values())
    return {
        "table": planned.table.name,
        "seeds": list(planned.plan.seeds),
        "to_train": len(planned.missing),
        "resumed": status.count("partial"),
        "done": status.count("done"),
        "reused": uses - len(planned.jobs),  # asked for by a second row
    }


def _summary(planned: Grid, workers: int, most: str) -> str:
    totals = _totals(planned)
    if not totals["to_train"]:
        return f"nothing to train: all {totals['done']} runs are there"
    side = f" on {workers} processes" if workers > 1 else ""
    return (
        f"{totals['to_train']} to train ({totals['resumed']} of them go on), {totals['done']} done, "
        f"{totals['reused']} reused by another row; at most {most}{side} (early stops shorten it)"
    )


def _print_rows(planned: Grid, console: Console) -> None:
    """Print which row trains on what, then the rows that do not, by reason."""
    plan = planned.plan
    seeds = ", ".join(str(seed) for seed in plan.seeds)
    console.print(f"plan of {planned.table.title} (seeds {seeds})", markup=False)
    width = max(len(key) for key in plan.rows)
    shown: set[str] = set()
    reasons: dict[str, list[str]] = {}
    for key, row in plan.rows.items():
        if key not in planned.selected:
            continue
        if row.status == "skipped":
            reasons.setdefault(row.reason or "", []).append(key)
            continue
        states: dict[str, int] = {}
        for name in row.runs.values():
            words = {"done": "done", "partial": "to go on", "failed": "to try again", "damaged": "to train again"}
            state = "reused" if name in shown else words.get(planned.status[name], "to train")
            states[state] = states.get(state, 0) + 1
        shown |= set(row.runs.values())
        what = ", ".join(f"{count} {state}" for state, count in states.items())
        notes = "".join(f"; {note}" for note in row.notes)
        label = (row.features or {}).get("label", "")
        console.print(f"  {key:{width}}  {what:18}  {label}{notes}", markup=False)
    labels = {row.key: row.label for row in planned.table.rows}
    for reason, keys in reasons.items():
        methods = dict.fromkeys(labels[key] for key in keys)
        who = ", ".join(keys) if len(keys) < 4 else f"{len(keys)} rows ({', '.join(methods)})"
        console.print(f"  not run: {who}: {reason}", markup=False)
