"""`dmd reruns`: what others measured when they ran the systems themselves, and adding one's own figures to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli.paths import DataDir, reruns_dir
from dmd_repro.cli.tell import tell

app = typer.Typer(help="List others' runs, and add per-seed numbers of your own or a rival's.", no_args_is_help=True)


@app.command("list")
def list_reruns(
    data: DataDir = None, json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List every re-run with its figures and the printed row it stands beside, or why it stands beside none."""
    import json

    from dmd_repro.papers.folders import all_table_names
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.papers.tables import load_table
    from dmd_repro.results.reruns import places, shown, title

    found = places(load_reruns(reruns_dir(data)), [load_table(name) for name in all_table_names()])
    if json_:
        typer.echo(json.dumps([place.to_json() for place in found], indent=1, ensure_ascii=False))
        return
    from dmd_repro.render.terminal import show_list, terminal_console

    console = terminal_console()
    beside = [("·", place.line) for place in found if place.beside]
    show_list("Beside a printed row", beside, console)
    for why in dict.fromkeys(place.why for place in found if not place.beside):
        lines = [("·", f"{title(place.rerun)}: {shown(place.rerun)}") for place in found if place.why == why]
        show_list(f"Not comparable: {why}", lines, console)


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A line a run (seed), or a line a mean (n).")],
    data: DataDir = None,
) -> None:
    """Add a CSV of re-runs to your own folder; `dmd report` then shows them beside the printed numbers.

    Columns: system, dataset, setting, text, seed (or n), measures (acc7, acc2_non0, f1_non0, mae, ...), and,
    optionally, code, source, protocol. Nothing is added unless all of the file is right.
    """
    from dmd_repro.disk import sentences, write_atomic
    from dmd_repro.errors import ClaimError
    from dmd_repro.papers.folders import all_table_names
    from dmd_repro.papers.rerun_csv import read_rerun_csv
    from dmd_repro.papers.tables import load_table
    from dmd_repro.results.reruns import places

    added, folder = read_rerun_csv(file), reruns_dir(data)
    target = folder / f"{file.stem}.csv"
    content = file.read_bytes()
    if target.exists() and target.read_bytes() != content:
        raise ClaimError.at(
            str(target), expected="no other file of this name", got="one", do="Rename yours, or remove that one"
        )
    with sentences(target, "a file that can be written", ClaimError, "--data-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)
    for place in places(added, [load_table(name) for name in all_table_names()]):
        tell(place.line)
    tell(f"added: {target}", err=True)
