"""`dmd protocol show | diff`: every switch between the paper and the authors' code, with its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from dmd_repro.systems.declare import System

app = typer.Typer(help="The protocols: what the authors' code does, what the paper says.", no_args_is_help=True)
Format = Annotated[str, typer.Option("--format", "-f", help="terminal, markdown or json.")]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


@app.command("show")
def show(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[SYSTEM] [PROTOCOL]", help="dmd and all its protocols if left out.")
    ] = None,
    format_: Format = "terminal",
    json_: Json = False,
) -> None:
    """Print every switch with its value, what the paper says, what the code does, and what is the same in both."""
    from dmd_repro.render.protocols import protocol_names
    from dmd_repro.systems.registry import find_system, system_names

    asked = list(what or ())
    system = find_system(asked.pop(0) if asked and asked[0] in system_names() else "dmd")
    if asked and what and len(what) == 1 and asked[0] not in system.protocols:
        raise SpecError.at(
            f"dmd protocol show {asked[0]}", expected="a system or a protocol of dmd", got="an unknown name",
            do=nearest(asked[0], {*system_names(), *system.protocols}),
        )  # fmt: skip
    _print(system, protocol_names(asked, system), "json" if json_ else format_, only_differing=False)


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(help="official or paper.")] = "official",
    second: Annotated[str, typer.Argument(help="The other one.")] = "paper",
    model: Annotated[str, typer.Option("--model", help="The system: dmd systems list.")] = "dmd",
    format_: Format = "terminal",
    json_: Json = False,
) -> None:
    """Print the switches that two protocols set differently."""
    from dmd_repro.render.protocols import protocol_names
    from dmd_repro.systems.registry import find_system

    if first == second:
        raise SpecError.at(
            f"dmd protocol diff {first} {second}",
            expected="two protocols",
            got="one twice",
            do="Name official and paper",
        )
    system = find_system(model)
    _print(system, protocol_names([first, second], system), "json" if json_ else format_, only_differing=True)


def _print(system: System, protocols: tuple[str, ...], format_: str, *, only_differing: bool) -> None:
    from dmd_repro.render.protocols import PROTOCOL_FORMATS, protocol_text, show_protocols
    from dmd_repro.render.terminal import terminal_console

    if format_ not in PROTOCOL_FORMATS:
        raise SpecError.at(
            f"--format {format_}",
            expected="a known format",
            got="an unknown one",
            do=nearest(format_, PROTOCOL_FORMATS),
        )
    if format_ == "terminal":
        show_protocols(system, protocols, terminal_console(), only_differing=only_differing)
    else:
        typer.echo(protocol_text(system, protocols, format_, only_differing=only_differing), nl=False)
