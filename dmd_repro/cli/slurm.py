"""Options of `--on slurm`, and what they make: the same for every command that trains."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.records.folder import Records
    from dmd_repro.training.execution import Execution

PANEL = "On a cluster"
On = Annotated[
    str | None,
    typer.Option("--on", metavar="slurm", help="slurm: train as an array of jobs.", rich_help_panel=PANEL),
]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", min=1, help="A card a job, at most so many at a time.", rich_help_panel=PANEL),
]
Partition = Annotated[str | None, typer.Option("--partition", help="Where to queue.", rich_help_panel=PANEL)]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time", help="Time limit of a job, as in sbatch; it requeues itself.", rich_help_panel=PANEL),
]
Account = Annotated[str | None, typer.Option("--account", help="Whom to charge.", rich_help_panel=PANEL)]
Sbatch = Annotated[
    str, typer.Option("--sbatch", metavar="OPTIONS", help="Further options of sbatch.", rich_help_panel=PANEL)
]
Setup = Annotated[
    str, typer.Option("--setup", metavar="SHELL", help="Lines before a job: module load ...", rich_help_panel=PANEL)
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Submit and return; the same command attaches.", rich_help_panel=PANEL)
]


def executor(
    on: str | None,
    records: Records,
    data: Path,
    execution: Execution,
    table: str,
    *,
    jobs: int | None,
    gpus: int | None,
    partition: str | None,
    time: str | None,
    account: str | None,
    sbatch: str,
    setup: str,
    no_wait: bool,
    say: Callable[[str], None],
) -> Slurm | None:
    """Return what carries a plan out on Slurm, None where it is carried out here.

    Raises SpecError for another word than slurm, and for an option that only Slurm has.
    """
    given = {
        "--gpus": gpus, "--partition": partition, "--time": time, "--account": account, "--sbatch": sbatch,
        "--setup": setup, "--no-wait": no_wait,
    }  # fmt: skip
    if on is None:
        if odd := next((name for name, value in given.items() if value), None):
            raise SpecError.at(odd, expected="--on slurm beside it", got="none", do="Add --on slurm, or leave it out")
        return None
    if on != "slurm":
        raise SpecError.at(f"--on {on}", expected="slurm", got=f"'{on}'", do=nearest(on, ["slurm"]))
    if ":" in execution.device:
        raise SpecError.at(
            f"--device {execution.device}", expected="cuda beside --on slurm", got="cards by number",
            do="A job sees the card that Slurm gives it: write --device cuda, and --gpus N for N at a time",
        )  # fmt: skip
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.execution.slurm.script import Options

    options = Options(
        at_once=gpus or jobs, gpus=gpus is not None or execution.device.startswith("cuda"), partition=partition,
        time=time, account=account, extra=sbatch, setup=setup,
    )  # fmt: skip
    options.extras()
    ours = {k: v for k, v in os.environ.items() if k in ("DMD_PAPERS", "DMD_SYSTEMS")}
    return Slurm(
        records=records, data=data, execution=execution, options=options, table=table,
        command=" ".join(["dmd", *sys.argv[1:]]), environment=ours, say=say,
    )  # fmt: skip
