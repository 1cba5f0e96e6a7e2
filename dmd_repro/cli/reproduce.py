"""`dmd reproduce TABLE`: plan its rows, train what is missing, print it beside the paper's numbers."""

from __future__ import annotations

from typing import Annotated

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
from dmd_repro.seeds import parse_seeds


def reproduce(
    table: Annotated[
        str, typer.Argument(autocompletion=begun_tables, help="table1 ... table5; NAME/table1 of a further paper.")
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
    from dataclasses import replace

    from rich.console import Console

    from dmd_repro.cli.progress import say
    from dmd_repro.data.store.folder import Store
    from dmd_repro.papers.dmd.readings import with_readings
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.papers.tables import load_table, with_controls
    from dmd_repro.planning import grid
    from dmd_repro.planning.looks import begun_runs, sealed
    from dmd_repro.planning.plans import load_plan
    from dmd_repro.planning.protocol import one_protocol, under_protocol
    from dmd_repro.records.folder import Records
    from dmd_repro.render.terminal import show, terminal_console
    from dmd_repro.results.power import power_lines
    from dmd_repro.results.tables import compare, with_looks
    from dmd_repro.training.execution import Execution

    use_papers(papers)
    published, chosen = load_table(table), parse_seeds(seeds)
    asked = with_controls(published)
    check_margin(margin)
    source = bert_source(bert)
    execution = Execution(
        device=device, threads=threads, stack=seeds_of_one_model(stack, device), bert=source,
        cache=str(encoded_dir(store)),
    )  # fmt: skip
    if not (dry_run or on):
        execution.prepare()
    records, features = Records(runs_dir(runs)), Store(data_dir(store))
    console = Console(stderr=json_, highlight=False, soft_wrap=True)

    def expanded() -> grid.PlannedTable:
        found = grid.expand(
            under_protocol(with_readings(asked), protocol),
            seeds=chosen,
            store=features,
            records=records,
            data=tuple(data or ()),
            rows=tuple(rows or ()),
            overrides=parse_settings(settings, epochs),
            bert=(lambda: fingerprint(source)) if source else None,
            control=control,
        )
        return one_protocol(found, records, mixed=mix)

    slurm = executor(
        on, records, features.root, execution, published.name, jobs=jobs, gpus=gpus, partition=partition, time=time,
        account=account, sbatch=sbatch, setup=setup, no_wait=no_wait, say=lambda line: say(console, line),
    )  # fmt: skip
    planned, lost = expanded(), []
    if waiting := grid.lacking(planned, features):
        lost = get_needed(waiting, features, sources, console, download=download, dry_run=dry_run, quiet=json_)
        planned = expanded()
    before = load_plan(records.root, published.name, planned.plan.data)
    begun = begun_runs(records, planned.plan, before)
    planned = replace(planned, plan=sealed(planned.plan, before, begun, margin=margin, one_look=one_look))
    print_rows(planned, records, console)
    if dry_run and download and waiting and not planned.jobs and not json_:
        return  # what runs is known once the data are there
    grid.refuse_empty(planned)
    for line in power_lines(published, planned.plan, records):
        say(console, line)
    earlier, missing = made_before(planned, records), planned.missing
    failed = train_missing(
        planned,
        records=records,
        store=features,
        execution=execution,
        jobs=jobs,
        dry_run=dry_run,
        json_=json_,
        console=console,
        slurm=slurm,
        wait=not no_wait,
    )
    if failed is None:
        return
    others = load_reruns(reruns_dir(store))
    plan = load_plan(records.root, published.name, planned.plan.data)  # as it was sealed
    shown = asked if control else published
    (compared,) = with_looks([compare(shown, plan, records, reruns=others)], records.root, planned.plan.data)
    if json_:
        document = totals(planned, earlier) | {"failed": failed, "table": compared.to_json()}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show([compared], terminal_console())
    if lost:
        typer.echo(f"dmd: could not be downloaded, so its rows were not run: {', '.join(lost)}", err=True)
    refuse_failures(failed, len(missing))
    if lost:
        raise typer.Exit(1)
