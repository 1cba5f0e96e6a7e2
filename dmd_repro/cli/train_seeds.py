"""`dmd train --seeds`: several seeds of one configuration, side by side or stacked, and their mean and spread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from dmd_repro.data.features import Features
    from dmd_repro.data.store.folder import Store
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.records.folder import Records, RunRecord
    from dmd_repro.spec import RunSpec
    from dmd_repro.training.execution import Execution


def train_seeds(
    specs: Sequence[RunSpec],
    features: Features,
    records: Records,
    store: Store,
    *,
    execution: Execution,
    jobs: int | None,
    json_: bool,
    said: str,
    slurm: Slurm | None = None,
    wait: bool = True,
) -> None:
    """Train what is missing of the runs of `specs`, which differ in their seed alone, and print what came out.

    `said`: what they are, in words. `slurm` carries it out where that is given. Ends with exit code 1 if a run FAILED.
    """
    from rich.console import Console

    from dmd_repro.cli.carry import carry_out, look_ahead
    from dmd_repro.cli.outcome import result
    from dmd_repro.cli.planned import refuse_failures
    from dmd_repro.cli.progress import say
    from dmd_repro.planning.grid import Job
    from dmd_repro.records.folder import DataStamp
    from dmd_repro.spec import run_id
    from dmd_repro.systems.registry import full_name

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    stamp = DataStamp.of(features)
    planned = [
        Job(
            run_id(spec, stamp.digest), spec, features.name, features.text, stamp, (full_name(spec.model, spec.config),)
        )
        for spec in specs
    ]
    missing = [job for job in planned if records.get(job.run_id) is None]
    if missing:
        ahead = look_ahead(missing, records, store, execution, jobs=jobs, slurm=slurm)
        resumed = sum(records.status(job.run_id) == "partial" for job in missing)
        resume = f" ({resumed} resume)" if resumed else ""
        say(console, f"{said}: {len(missing)} to train{resume}, {len(planned) - len(missing)} done; {ahead.time}")
        for line in (*ahead.told, *ahead.lines):
            say(console, f"  {line}")
        done = carry_out(ahead, records, store, console=console, err=True, slurm=slurm, wait=wait)
        if done is None:
            return
        failed = done
    else:
        say(console, f"{said}: all {len(planned)} runs are there, none trained again")
        failed = []
    found = [record for job in planned if (record := records.get(job.run_id)) is not None]
    if json_:
        document = {"runs": [result(record) for record in found], "failed": failed, "over_seeds": over_seeds(found)}
        typer.echo(json.dumps(document, indent=1))
    elif found:
        tell("\n".join(report_seeds(found, len(planned))))
    refuse_failures(failed, len(missing))


def over_seeds(records: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return n, mean and sample STD (divisor n - 1) of each metric over finished runs, by split and metric.

    Percent metrics are shares from 0 to 1. Where a run lacks a metric (a constant has no correlation) n is smaller.
    """
    from dmd_repro.cli.progress import scores
    from dmd_repro.stats.summary import summarise

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split in ("test", "valid"):
        values: dict[str, list[float]] = {}
        for record in records:
            for name, value in scores(record, split).items():
                values.setdefault(name, []).extend([] if value is None else [value])
        found[split] = {
            name: {"n": one.n, "mean": one.mean, "std": one.std}
            for name, one in ((name, summarise(one)) for name, one in values.items())
        }
    return found


def report_seeds(records: Sequence[RunRecord], asked: int) -> list[str]:
    """Return lines on runs that differ in their seed alone: who did not learn, mean and spread of each metric."""
    from dmd_repro.cli.outcome import data_mark, heading, shorten
    from dmd_repro.cli.progress import shown
    from dmd_repro.metrics.registry import METRICS, shown_in
    from dmd_repro.results.learned import learned

    first, numbers = records[0], over_seeds(records)
    judged = [(record, learned(record)) for record in records]
    lines = [
        f"{heading(first)}: {len(records)} of {asked} runs",
        *(f"NOT LEARNED, seed {r.spec.seed}: {said.reason}" for r, said in judged if said.outcome == "not learned"),
        f"  {'':5} {'test':>16} {'valid':>16}  counted as",
    ]
    for name in shown_in("run", first.data["dataset"]):
        cells = []
        for split in ("test", "valid"):
            one = numbers[split][name]
            mean = shown(name, one["mean"])
            spread = "" if one["std"] is None else f" ± {shown(name, one['std']).removesuffix(' %')}"
            cells.append(f"{mean.removesuffix(' %')}{spread}{' %' if mean.endswith(' %') else ''}")
        lines.append(f"  {METRICS[name].heading:5} {cells[0]:>16} {cells[1]:>16}  {METRICS[name].words}".rstrip())
    runs = ", ".join(record.run_id for record in records)
    return [
        *lines,
        "mean ± sample STD over seeds",
        *([mark] if (mark := data_mark(first)) else []),
        f"records in {shorten(first.path.parent)}: {runs}",
    ]
