"""`dmd ablate`: a full model beside what is left when a part goes or a switch turns, paired over seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import (
    BertSource,
    DataDir,
    Device,
    Jobs,
    RunsDir,
    Seeds,
    Stacked,
    Threads,
    bert_source,
    data_dir,
    encoded_dir,
    runs_dir,
)
from dmd_repro.cli.planned import made_before, refuse_failures, seeds_of_one_model, totals, train_missing
from dmd_repro.cli.slurm import Account, Gpus, NoWait, On, Partition, Sbatch, Setup, TimeLimit, executor
from dmd_repro.cli.train import SYSTEMS, MaxEpochs, Settings, fingerprint, parse_settings
from dmd_repro.seeds import parse_seeds


def ablate(
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="PART", help="Parts to switch off: ca,heterogd; repeatable.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="PART", help="Keep these parts alone; repeatable.")
    ] = None,
    all_masks: Annotated[bool, typer.Option("--all-masks", help="Every set of parts: 16 models for dmd.")] = False,
    switch: Annotated[
        list[str] | None,
        typer.Option("--switch", metavar="NAME=VALUE", help="Measure one switch (dmd protocol show); repeatable."),
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="official (the authors' code) or paper (the equations).")
    ] = None,
    mix: Annotated[bool, typer.Option("--mix-protocols", help="Allow two protocols in the table, row by row.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            autocompletion=complete.feature_sets,
            help="A feature set, or synthetic. Else mosi-unaligned-glove.",
        ),
    ] = None,
    seeds: Seeds = "5",
    model: Annotated[str, typer.Option("--model", help=f"The system, {SYSTEMS}.")] = "dmd",
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    runs: RunsDir = None,
    store: DataDir = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and all else on stderr.")] = False,
) -> None:
    """Train the full model and its ablations on the same seeds and batches; print both and the paired difference.

    Runs that another table made are reused. --set changes every model alike, --switch the measured one alone.
    """
    import json

    from rich.console import Console

    from dmd_repro.cli.progress import say
    from dmd_repro.data.store.folder import Store
    from dmd_repro.planning import ablate as library
    from dmd_repro.planning.plans import load_plan
    from dmd_repro.records.folder import Records
    from dmd_repro.render.sheet import show_sheets
    from dmd_repro.render.terminal import terminal_console
    from dmd_repro.results.ablation import ablation_sheet, compare_arms
    from dmd_repro.training.execution import Execution

    protocols, overrides, chosen = (
        tuple(protocol or ("official",)),
        parse_settings(settings, epochs),
        parse_seeds(seeds),
    )
    arms = library.arms_of(
        model,
        protocols,
        library.masks_asked(model, drop or (), keep or (), all_masks),
        library.switches_asked(model, switch or (), protocols[0], overrides),
        mixed=mix,
    )
    source = bert_source(bert)
    execution = Execution(
        device=device, threads=threads, stack=seeds_of_one_model(stack, device), bert=source,
        cache=str(encoded_dir(store)),
    )  # fmt: skip
    if not (dry_run or on):
        execution.prepare()
    records, features = Records(runs_dir(runs)), Store(data_dir(store))
    console = Console(stderr=json_, highlight=False, soft_wrap=True)
    slurm = executor(
        on, records, features.root, execution, "ablate", jobs=jobs, gpus=gpus, partition=partition, time=time,
        account=account, sbatch=sbatch, setup=setup, no_wait=no_wait, say=lambda line: say(console, line),
    )  # fmt: skip
    planned = library.plan_ablation(
        model, arms, data=data, seeds=chosen, store=features, records=records, overrides=overrides,
        bert=(lambda: fingerprint(source)) if source else None,
    )  # fmt: skip
    earlier, missing = made_before(planned, records), planned.missing
    failed = train_missing(
        planned, records=records, store=features, execution=execution, jobs=jobs, dry_run=dry_run, json_=json_,
        console=console, slurm=slurm, wait=not no_wait,
    )  # fmt: skip
    if failed is None:
        return
    plan = load_plan(records.root, planned.plan.table, planned.plan.data) or planned.plan  # with the seeds of before
    sheet = ablation_sheet(f"Ablation of {model}", plan, compare_arms(plan, records))
    if json_:
        document = totals(planned, earlier) | {"failed": failed, **sheet.to_json()}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show_sheets([sheet], terminal_console())
    refuse_failures(failed, len(missing))
