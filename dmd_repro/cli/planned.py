"""What `dmd reproduce` and `dmd ablate` share: show a plan, train what is missing of it, with an estimate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from rich.console import Console

    from dmd_repro.cli.carry import Ahead
    from dmd_repro.data.store.folder import Store
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.planning.grid import Job, PlannedTable
    from dmd_repro.records.folder import Records
    from dmd_repro.training.execution import Execution


def check_margin(margin: float | None) -> None:
    """Raise SpecError for a margin that is no number of points above 0."""
    import math

    from dmd_repro.errors import SpecError

    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise SpecError.at(f"--margin {margin:g}", expected="points above 0", got=f"{margin:g}", do="Write --margin 1")


def train_missing(
    planned: PlannedTable,
    *,
    records: Records,
    store: Store,
    execution: Execution,
    jobs: int | None,
    dry_run: bool,
    json_: bool,
    console: Console,
    slurm: Slurm | None = None,
    wait: bool = True,
    later: Sequence[str] = (),
    power: Sequence[str] = (),
) -> list[str] | None:
    """Print the plan and save it, say what it takes, train what is missing; return the ids of runs that FAILED.

    None of a dry run, which trains nothing: it says first what it takes, and what rows do that lack their data
    (`later`). `power`: lines on what the words of the table can find. `slurm` carries it out where that is given; not
    to `wait` for it ends as a dry run does. `json_`: stdout is kept for the result (of a dry run: the plan itself).
    """
    from dmd_repro.cli.carry import carry_out, look_ahead
    from dmd_repro.cli.progress import say
    from dmd_repro.planning.plans import save_plan
    from dmd_repro.training.execution import check_precision

    missing, earlier = planned.missing, made_before(planned, records)
    for job in missing:
        if planned.status[job.run_id] == "unreadable" and not dry_run:
            records.get(job.run_id)  # says so: it is neither trained again in silence nor moved aside
        check_precision(job.spec, execution.device)
    if not dry_run:
        print_rows(planned, records, console, below=power)
        save_plan(records.root, planned.plan)

    def timing(job: Job) -> None:
        tell(f"timing a few steps of {job.rows[0]} ...", err=True)

    ahead = look_ahead(
        missing, records, store, execution, jobs=jobs, slurm=slurm, measured=not dry_run, on_timing=timing
    )  # fmt: skip
    said = [*answer(planned, earlier, ahead), *later]
    if dry_run:
        print_rows(planned, records, console, said, power)
        if json_:
            typer.echo(json.dumps(plan_json(planned, earlier, ahead), indent=1))
        return None
    for line in said:
        say(console, line)
    try:
        failed = carry_out(ahead, records, store, console=console, err=json_, slurm=slurm, wait=wait)
        save_plan(records.root, planned.plan)  # another command may have planned other seeds before these were begun
        return failed
    except KeyboardInterrupt:
        done = sum(records.status(job.run_id) == "done" for job in planned.jobs)
        left = (
            "the jobs go on: the same command attaches to them, dmd runs cancel stops them"
            if slurm
            else "the others keep their finished epochs"
        )
        typer.echo(f"\n{done} of {len(planned.jobs)} runs are done, {left}.", err=True)
        raise


def seeds_of_one_model(text: str, device: str) -> int:
    """Read `--stack`: the most seeds of one model, 0 for what a GPU holds; on a CPU "auto" is 1."""
    from dmd_repro.planning.stacks import parse_stack

    asked = parse_stack(text)
    return asked or (0 if device.startswith("cuda") else 1)


def refuse_failures(failed: list[str], trained: int) -> None:
    """End with exit code 1 and the run to look at, if a run FAILED."""
    if failed:
        typer.echo(f"dmd: {len(failed)} of {trained} runs FAILED: dmd runs show {failed[0]}", err=True)
        raise typer.Exit(1)


def made_before(planned: PlannedTable, records: Records) -> dict[str, str]:
    """Return, for each finished run of the plan that only plans of other tables name, the first of those tables."""
    from dmd_repro.planning.plans import list_plans

    own: set[str] = set()
    others: dict[str, str] = {}
    for plan in reversed(list_plans(records.root)):
        for run in plan.run_ids:
            if plan.table == planned.table.name:
                own.add(run)
            else:
                others.setdefault(run, plan.table)
    done = (job.run_id for job in planned.jobs if planned.status[job.run_id] == "done")
    return {run: others[run] for run in done if run in others and run not in own}


def totals(planned: PlannedTable, earlier: Mapping[str, str]) -> dict[str, Any]:
    """Return the counts of a plan; `reused`: runs made for another table, and those a second row asks for."""
    uses = sum(len(planned.plan.rows[key].runs) for key in planned.selected)
    status = list(planned.status.values())
    return {
        "table": planned.table.name,
        "seeds": list(planned.plan.seeds),
        "to_train": len(planned.missing),
        "resumed": status.count("partial"),
        "done": status.count("done"),
        "reused": uses - len(planned.jobs) + len(earlier),
    }


def plan_json(planned: PlannedTable, earlier: Mapping[str, str], ahead: Ahead) -> dict[str, Any]:
    """Return a plan and what it takes as plain JSON values; seconds are None unless every configuration has some."""
    seconds = {"typical_seconds": ahead.typical_seconds, "at_most_seconds": ahead.seconds}
    return {
        **totals(planned, earlier),
        **{name: value and round(value, 1) for name, value in seconds.items()},
        "configurations_not_measured": ahead.not_measured,
        "measured": {key: one.source for key, one in ahead.costs.items()},
        "rows": {key: row.to_json() for key, row in planned.plan.rows.items()},
    }


def answer(planned: PlannedTable, earlier: Mapping[str, str], ahead: Ahead) -> list[str]:
    """Return what a plan takes in a few lines: how long, for how many runs, and how that is known."""
    counts = totals(planned, earlier)
    second = counts["reused"] - len(earlier)
    reused = [f"{len(earlier)} of them reused from {', '.join(sorted(set(earlier.values())))}"] if earlier else []
    if not counts["to_train"]:
        return [f"nothing to train: all {counts['done']} runs are there" + "".join(f", {part}" for part in reused)]
    done = ", ".join([f"{counts['done']} done", *reused])
    runs = f"{counts['to_train']} to train ({counts['resumed']} of them resume), {done}, {second} reused by another row"
    return [ahead.time, *(f"  {line}" for line in (runs, *ahead.told, *ahead.lines))]


def print_rows(
    planned: PlannedTable,
    records: Records,
    console: Console,
    above: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Print which rows train on what, then those that do not, by reason, between some lines."""
    from dmd_repro.cli.progress import say

    plan, earlier = planned.plan, made_before(planned, records)
    seeds = ", ".join(str(seed) for seed in plan.seeds)
    for line in (f"plan of {planned.table.title} (seeds {seeds})", *above):
        say(console, line)
    width = max(len(key) for key in plan.rows)
    shown: set[str] = set()
    reasons: dict[str, list[str]] = {}
    trained: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}  # by data: key, what becomes of its runs, notes
    for key, row in plan.rows.items():
        if key not in planned.selected:
            continue
        if row.status == "skipped":
            reasons.setdefault(row.reason or "", []).append(key)
            continue
        states: dict[str, int] = {}
        for name in row.runs.values():
            words = {
                "done": "done",
                "partial": "to resume",
                "failed": "to try again",
                "damaged": "to train again",
                "unreadable": "UNREADABLE",
            }
            state = words.get(planned.status[name], "to train")
            state = f"reused from {earlier[name]}" if name in earlier else state
            state = "reused" if name in shown else state
            states[state] = states.get(state, 0) + 1
        shown |= set(row.runs.values())
        what = ", ".join(f"{count} {state}" for state, count in states.items())
        trained.setdefault((row.features or {}).get("label", ""), []).append((key, what, row.notes))
    for label, rows in trained.items():
        shared = [note for note in rows[0][2] if all(note in notes for _, _, notes in rows)]
        say(console, "; ".join((f"  on {label}", *shared)))
        for key, what, notes in rows:
            say(console, "; ".join((f"    {key:{width}}  {what}", *(note for note in notes if note not in shared))))
    labels = {row.key: row.label for row in planned.table.rows}
    for reason, keys in reasons.items():
        methods = dict.fromkeys(labels.get(key, key) for key in keys)
        who = ", ".join(keys) if len(keys) < 4 else f"{len(keys)} rows ({', '.join(methods)})"
        say(console, f"  not run: {who}: {reason}")
    for line in below:
        say(console, line)
