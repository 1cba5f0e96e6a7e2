"""`dmd reproduce TABLE`: plan its rows, train what is missing, print it beside the paper's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.data_get import SourcesFile
from dmd_repro.cli.needed import get_needed
from dmd_repro.cli.paths import (
    BertSource,
    Control,
    DataDir,
    Device,
    Jobs,
    PapersDir,
    RunsDir,
    Seeds,
    Stacked,
    Threads,
    begun_tables,
    bert_source,
    data_dir,
    encoded_dir,
    reruns_dir,
    runs_dir,
    use_papers,
)
from dmd_repro.cli.planned import (
    check_margin,
    made_before,
    print_rows,
    refuse_failures,
    seeds_of_one_model,
    totals,
    train_missing,
)
from dmd_repro.cli.slurm import Account, Gpus, NoWait, On, Partition, Sbatch, Setup, TimeLimit, executor
from dmd_repro.cli.train import MaxEpochs, Settings, fingerprint, parse_settings
from dmd_repro.cli.whole import ALL, hours_without_data, refuse_lacking, show_hours
from dmd_repro.seeds import parse_seeds

if TYPE_CHECKING:
    from pathlib import Path

    from dmd_repro.planning.grid import PlannedTable
    from dmd_repro.records.folder import Records
    from dmd_repro.results.types import ComparisonTable


def reproduce(
    table: Annotated[
        str,
        typer.Argument(
            autocompletion=begun_tables, help="table1 ... table5, or all of them; NAME/table1 of a further paper."
        ),
    ],
    seeds: Seeds = "5",
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", help="Only these rows: key, method, or words of a key (aligned-glove); repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            autocompletion=complete.feature_sets,
            help="Feature set for the rows it fits, or synthetic; repeatable. Else what rows name.",
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="official (the authors' code) or paper (the equations).")
    ] = None,
    mix: Annotated[bool, typer.Option("--mix-protocols", help="Allow two protocols in one table, row by row.")] = False,
    bert: BertSource = None,
    epochs: MaxEpochs = None,
    settings: Settings = None,
    device: Device = "cpu",
    threads: Threads = 1,
    jobs: Jobs = None,
    stack: Stacked = "auto",
    on: On = None,
    gpus: Gpus = None,
    partition: Partition = None,
    time: TimeLimit = None,
    account: Account = None,
    sbatch: Sbatch = "",
    setup: Setup = "",
    no_wait: NoWait = False,
    download: Annotated[
        bool, typer.Option("--download", help="First get the feature sets that rows need and that are not here.")
    ] = False,
    sources: SourcesFile = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="Points within which a mean counts as reproduced; sealed with the first run."),
    ] = None,
    one_look: Annotated[
        bool,
        typer.Option("--one-look", help="Words once, at these seeds, instead of at 5, 10, 20, 50; sealed likewise."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    control: Control = True,
    runs: RunsDir = None,
    papers: PapersDir = None,
    store: DataDir = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and all else on stderr.")] = False,
) -> None:
    """Train what a table needs and print it. Finished runs are used; interrupted ones resume."""
    import json
    from functools import partial

    from rich.console import Console

    from dmd_repro.cli.progress import say
    from dmd_repro.data.store.folder import Store
    from dmd_repro.papers.folders import table_names
    from dmd_repro.papers.tables import load_table
    from dmd_repro.planning.grid import refuse_empty
    from dmd_repro.planning.tables import lacking_in, planned_tables, renewed
    from dmd_repro.records.folder import Records
    from dmd_repro.training.execution import Execution

    use_papers(papers)
    names, chosen = table_names() if table == ALL else [table], parse_seeds(seeds)
    for name in names:
        load_table(name)
    check_margin(margin)
    source, changed = bert_source(bert), parse_settings(settings, epochs)
    execution = Execution(
        device=device, threads=threads, stack=seeds_of_one_model(stack, device), bert=source,
        cache=str(encoded_dir(store)),
    )  # fmt: skip
    if not (dry_run or on):
        execution.prepare()
    records, features = Records(runs_dir(runs)), Store(data_dir(store))
    console = Console(stderr=json_, highlight=False, soft_wrap=True)
    on_slurm = {
        name: executor(
            on, records, features.root, execution, name, jobs=jobs, gpus=gpus, partition=partition, time=time,
            account=account, sbatch=sbatch, setup=setup, no_wait=no_wait, say=lambda line: say(console, line),
        )
        for name in names
    }  # fmt: skip
    expanded = partial(
        planned_tables, names, seeds=chosen, store=features, records=records, data=tuple(data or ()),
        rows=tuple(rows or ()), protocol=protocol, mixed=mix, overrides=changed,
        bert=(lambda: fingerprint(source)) if source else None, control=control,
    )  # fmt: skip
    plans, lost = expanded(), []
    if waiting := lacking_in(plans, features):
        lost = get_needed(waiting, features, sources, console, download=download, dry_run=dry_run, quiet=json_)
        plans = expanded()
    if table == ALL and dry_run:
        show_hours(plans, features, records, seeds=chosen, overrides=changed, json_=json_)
        return
    from dmd_repro.render.terminal import show, terminal_console
    from dmd_repro.results.power import power_lines  # statistics take a second to load, which a plan of all can spare

    if table == ALL:
        refuse_lacking(plans, records, console)
    plans = [sealed_plan(planned, records, margin=margin, one_look=one_look) for planned in plans]
    outcomes = []
    for planned in plans:
        planned = renewed(planned, records)  # a table before may have made some of its runs
        slurm = on_slurm[planned.table.name]
        later = hours_without_data(planned, features, execution, changed, jobs=jobs, slurm=slurm) if dry_run else []
        if not planned.jobs:
            print_rows(planned, records, console, later)
            if dry_run and download and waiting and not json_:
                return  # what runs is known once the data are there
            refuse_empty(planned)
        power = power_lines(load_table(planned.table.name), planned.plan, records)
        earlier = made_before(planned, records)
        failed = train_missing(
            planned, records=records, store=features, execution=execution, jobs=jobs, dry_run=dry_run, json_=json_,
            console=console, slurm=slurm, wait=not no_wait, later=later, power=power,
        )  # fmt: skip
        if failed is not None:
            compared = compare_plan(planned, records, reruns_dir(store), control=control)
            outcomes.append(Outcome(planned, totals(planned, earlier), failed, compared))
            if not json_:
                show([compared], terminal_console())
    if not outcomes:
        return
    if json_:
        documents = [one.to_json() for one in outcomes]
        document = {"tables": documents} if table == ALL else documents[0]
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    if lost:
        typer.echo(f"dmd: could not be downloaded, so its rows were not run: {', '.join(lost)}", err=True)
    refuse_failures([run for one in outcomes for run in one.failed], sum(len(one.planned.missing) for one in outcomes))
    if lost:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A table that was carried out."""

    planned: PlannedTable
    totals: dict[str, Any]
    failed: list[str]
    compared: ComparisonTable

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self.totals | {"failed": self.failed, "table": self.compared.to_json()}


def sealed_plan(planned: PlannedTable, records: Records, *, margin: float | None, one_look: bool) -> PlannedTable:
    """Return a planned table with its margin and its looks; raises SpecError where they are sealed otherwise."""
    from dataclasses import replace

    from dmd_repro.planning.looks import begun_runs, sealed
    from dmd_repro.planning.plans import load_plan

    before = load_plan(records.root, planned.table.name, planned.plan.data)
    begun = begun_runs(records, planned.plan, before)
    return replace(planned, plan=sealed(planned.plan, before, begun, margin=margin, one_look=one_look))


def compare_plan(planned: PlannedTable, records: Records, reruns: Path, *, control: bool) -> ComparisonTable:
    """Return a table beside what its runs measured; `control`: with the rows of our own."""
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.papers.tables import load_table, with_controls
    from dmd_repro.planning.plans import load_plan
    from dmd_repro.results.tables import compare, with_looks

    published = load_table(planned.table.name)
    plan = load_plan(records.root, published.name, planned.plan.data)  # as it was sealed
    shown = with_controls(published) if control else published
    compared = compare(shown, plan, records, reruns=load_reruns(reruns))
    (looked,) = with_looks([compared], records.root, planned.plan.data)
    return looked
