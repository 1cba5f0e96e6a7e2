"""`dmd runs cancel`: take queued and training jobs back from Slurm."""

from __future__ import annotations

from typing import Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import RunsDir, runs_dir
from dmd_repro.cli.tell import tell


def cancel_runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(autocompletion=complete.runs, metavar="[RUN]...", help="Runs; else all of the folder."),
    ] = None,
    runs: RunsDir = None,
) -> None:
    """Cancel the Slurm jobs of a folder's runs; finished epochs are kept, and the same command submits them again."""
    from dmd_repro.errors import RunError, nearest
    from dmd_repro.execution.slurm.status import cancel, live_runs
    from dmd_repro.records.folder import Records

    records = Records(runs_dir(runs))
    live = live_runs(records) if names else {}
    chosen = []
    for name in names or []:
        hits = [run for run in live if run.startswith(name)]
        if len(hits) != 1:
            raise RunError.at(
                f"run '{name}' in {records.root}", expected="one run that is queued or training on Slurm",
                got=f"{len(hits)} of them" if hits else "none", do=nearest(name, live) if live else "dmd runs list",
            )  # fmt: skip
        chosen += hits
    tasks = cancel(records, chosen)
    tell(f"{len(tasks)} jobs cancelled: {', '.join(tasks)}" if tasks else "nothing is queued or training on Slurm")
