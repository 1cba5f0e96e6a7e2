"""`dmd report`: the printed tables beside what the recorded runs measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli.paths import RunsDir, runs_dir

SUFFIXES = {".md": "markdown", ".tex": "latex", ".json": "json", ".txt": "terminal"}


def report(
    table: Annotated[str | None, typer.Argument(help="table1 ... table5; all tables when left out.")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="terminal, markdown, latex or json [default: by FILE's ending]."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    standalone: Annotated[bool, typer.Option("--standalone", help="LaTeX that compiles alone.")] = False,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="The plan made on this data [default: the most recent one].")
    ] = None,
    runs: RunsDir = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.")] = None,
) -> None:
    """Print the paper's tables beside the runs at hand. Trains nothing.

    Shows per number: printed value, mean ± sample STD over seeds, 95 % interval, and, where data, setting and protocol
    are the printed row's, the difference with a one-sample t test.
    """
    from dmd_repro.compare import compare_tables
    from dmd_repro.errors import SpecError, nearest
    from dmd_repro.published import table_names
    from dmd_repro.render import FORMATS, render

    chosen = "json" if json_ else format_ or SUFFIXES.get(output.suffix.lower() if output else "", "terminal")
    if chosen not in FORMATS:
        raise SpecError.at(
            f"--format {chosen}", expected="a known format", got="an unknown one", do=nearest(chosen, FORMATS)
        )
    if standalone and chosen != "latex":
        raise SpecError.at(
            "--standalone", expected="--format latex", got=chosen, do="Add --format latex or leave it out"
        )
    tables = compare_tables(runs_dir(runs), [table] if table else table_names(), data or None)
    if output is not None:
        from dmd_repro.disk import sentences, write_atomic

        with sentences(output, "a file that can be written", SpecError, "--output"):
            write_atomic(output, render(tables, chosen, standalone=standalone))
        typer.echo(f"written: {output}", err=True)
    elif chosen == "terminal":
        from dmd_repro.render_terminal import show, terminal_console

        show(tables, terminal_console())
    else:
        typer.echo(render(tables, chosen, standalone=standalone), nl=False)
