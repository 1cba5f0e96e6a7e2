"""`dmd systems`: the systems at hand, what is declared of each, and whether one keeps its promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.cli.tell import tell
from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from dmd_repro.systems.declare import System

app = typer.Typer(help="The systems: list, show, check one of your own.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Print every system with the grade of its MOSI row, what it reads, and its protocols."""
    import json

    from dmd_repro.render.systems import systems_grid, systems_json
    from dmd_repro.render.terminal import show_grid, terminal_console
    from dmd_repro.systems.registry import find_system, system_names

    systems = [find_system(name) for name in system_names()]
    if json_:
        typer.echo(json.dumps([systems_json(s) for s in systems], indent=2))
    else:
        show_grid(systems_grid(systems), terminal_console())


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A system: dmd systems list.")], json_: Json = False) -> None:
    """Print what is declared of a system: evidence, parts, protocols, switches, its settings by data set."""
    import json

    from dmd_repro.render.systems import system_grids, systems_json
    from dmd_repro.render.terminal import show_grid, terminal_console

    system = _find(name)
    if json_:
        typer.echo(json.dumps(systems_json(system), indent=2))
        return
    console = terminal_console()
    console.print(f"{system.title} ({system.name}): {system.paper}", markup=False, highlight=False)
    for grid in system_grids(system):
        show_grid(grid, console)


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A system's name, or a Python file with one.")],
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="One of its protocols; the first if left out.")
    ] = None,
) -> None:
    """Build, probe and train a system on a few synthetic clips; exit code 1 if a check fails."""
    from dmd_repro.evaluate.conformance import conformance

    system = _find(name)
    chosen = protocol or system.protocols[0]
    if chosen not in system.protocols:
        raise SpecError.at(
            f"--protocol {chosen}", expected=f"a protocol of {system.name}", got="an unknown name",
            do=nearest(chosen, system.protocols),
        )  # fmt: skip
    failed = made = 0
    for aligned in (True,) if system.inputs.aligned_only else (True, False):
        tell(f"{system.name}, protocol {chosen}, {'aligned' if aligned else 'unaligned'} clips")
        for one in conformance(system, chosen, aligned=aligned):
            made += 1
            failed += bool(one.problem)
            tell(f"  {'FAILED' if one.problem else 'ok    '} {one.promise}")
            if one.problem:
                tell(f"         {one.problem}")
    tell(f"{system.name}: {made - failed} of {made} checks passed" + ("" if failed else ", a full citizen"))
    raise typer.Exit(1 if failed else 0)


@app.command("template")
def template() -> None:
    """Print a file to begin with: LF-LSTM, one LSTM a modality."""
    from importlib import resources

    typer.echo(resources.files("dmd_repro.systems").joinpath("template.txt").read_text(encoding="utf-8"), nl=False)


def _find(name: str) -> System:
    from dmd_repro.systems.registry import add_file, find_system

    return add_file(Path(name)) if name.endswith(".py") else find_system(name)
