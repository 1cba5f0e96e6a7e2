"""`dmd log`: the histories of runs, epoch by epoch, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.paths import RunsDir, output_path, runs_dir
from dmd_repro.cli.tell import tell

app = typer.Typer(help="Write the histories of runs for other programs to show.", no_args_is_help=True)


@app.callback()
def _log() -> None:
    """Keep `tensorboard` a subcommand, though it is the only one."""


@app.command("tensorboard")
def tensorboard(
    run: Annotated[
        list[str] | None, typer.Argument(autocompletion=complete.runs, help="Runs; else all of the folder.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", parser=output_path, help="The folder to write to; else tensorboard."
        ),
    ] = None,
    runs: RunsDir = None,
) -> None:
    """Write the loss terms, metrics and edges of every epoch for TensorBoard, of unfinished runs what there is.

    Takes the extra `tensorboard`. Only the runs' own folders in DIR are written; what they held before is replaced.
    """
    from dmd_repro.disk import sentences, write_output
    from dmd_repro.errors import RunError, SpecError
    from dmd_repro.records.folder import Records
    from dmd_repro.records.run import RunRecord
    from dmd_repro.render.tensorboard import EVENTS, event_file, refuse_without_library, run_folder

    refuse_without_library()
    records = Records(runs_dir(runs))
    names = [records.find(name) for name in run or ()] or records.run_ids()
    if not names:
        raise RunError.at(
            str(records.root), expected="recorded runs", got="none", do="Train one, or name the folder with --runs-dir"
        )
    output, written = output or Path("tensorboard"), 0
    for name in names:
        status, record, problem = records.look(name)
        if status not in ("done", "partial") or record is None:
            tell(f"left out: run {name} is {status}{': ' + problem if problem else ''}", err=True)
            continue
        record = record if status == "done" else RunRecord.load(records.root / f"{name}.tmp")
        if not (record.path / "history.jsonl").exists():
            tell(f"left out: run {name} has no finished epoch", err=True)
            continue
        folder = output / run_folder(record, status)
        with sentences(folder, "a folder that can be written", SpecError, "--output"):
            folder.mkdir(parents=True, exist_ok=True)
            write_output(folder / EVENTS, event_file(record))
        written += 1
    tell(f"written: {written} of {len(names)} runs. tensorboard --logdir {output}")
