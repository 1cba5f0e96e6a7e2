"""`dmd protocol show | diff`: every switch between the paper and the authors' code, with its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmd_repro.errors import SpecError, nearest

if TYPE_CHECKING:
    from dmd_repro.systems.dmd.switches import Protocol

app = typer.Typer(help="The protocols: what the authors' code does, what the paper says.", no_args_is_help=True)
Format = Annotated[str, typer.Option("--format", "-f", help="terminal, markdown or json.")]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


@app.command("show")
def show(
    protocol: Annotated[str | None, typer.Argument(help="official or paper; both when left out.")] = None,
    format_: Format = "terminal",
    json_: Json = False,
) -> None:
    """Print every switch with its value, what the paper says, what the code does, and what is the same in both."""
    from dmd_repro.render.protocols import protocol_names

    _print(protocol_names([protocol] if protocol else []), "json" if json_ else format_, only_differing=False)


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(help="official or paper.")] = "official",
    second: Annotated[str, typer.Argument(help="The other one.")] = "paper",
    format_: Format = "terminal",
    json_: Json = False,
) -> None:
    """Print the switches that two protocols set differently."""
    from dmd_repro.render.protocols import protocol_names

    if first == second:
        raise SpecError.at(
            f"dmd protocol diff {first} {second}",
            expected="two protocols",
            got="one twice",
            do="Name official and paper",
        )
    _print(protocol_names([first, second]), "json" if json_ else format_, only_differing=True)


def _print(protocols: tuple[Protocol, ...], format_: str, *, only_differing: bool) -> None:
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
        show_protocols(protocols, terminal_console(), only_differing=only_differing)
    else:
        typer.echo(protocol_text(protocols, format_, only_differing=only_differing), nl=False)
