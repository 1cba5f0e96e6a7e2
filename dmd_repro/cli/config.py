"""`dmd config`: which defaults hold here, and where each of them comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmd_repro.cli.tell import tell

if TYPE_CHECKING:
    from dmd_repro.cli.settings import Settings

app = typer.Typer(
    help="Defaults of your own (dmd.toml), and where each of them comes from.",
    no_args_is_help=True,
)


@app.command("show")
def show(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every default and where its value comes from: the environment, a file, or the program.

    An option of a command wins over the environment variable, that over dmd.toml (or the table tool.dmd of a
    pyproject.toml) in the working folder or the nearest above, that over the default.
    Folders in a file are relative to it.
    """
    import json

    from dmd_repro.cli.settings import KEYS, read_settings

    settings = read_settings()
    rows = {name: _row(name, settings) for name in KEYS}
    if json_:
        file = str(settings.file) if settings.file else None
        typer.echo(json.dumps({"file": file, "defaults": rows}, indent=1))
        return
    from dmd_repro.cli.runs import columns

    heads = ("key", "variable", "value", "from")
    lines = [(name, row["variable"], _short(str(row["value"])), row["from"]) for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    tell(f"file: {settings.file or 'no dmd.toml and no [tool.dmd], here or above'}\n")
    shown = columns(heads, lines, right=0).splitlines()
    typer.echo("\n".join(line.rstrip() for line in (shown[0], "  ".join("─" * width for width in widths), *shown[1:])))
    tell("\nAn option of a command wins over the variable, that over the file, that over the default.")


def _short(value: str) -> str:
    """Return a value with the user's own folder as it is typed."""
    import os

    home = os.path.expanduser("~")  # noqa: PTH111 (never raises)
    return f"~{value[len(home) :]}" if len(home) > 1 and value.startswith(f"{home}{os.sep}") else value


def _row(name: str, settings: Settings) -> dict[str, Any]:
    from dmd_repro.cli.paths import data_dir, runs_dir
    from dmd_repro.cli.settings import KEYS

    value, source = settings.settled(name)
    if value is None:
        places = {"data-dir": data_dir, "runs-dir": runs_dir}
        value = str(places[name](None)) if name in places else KEYS[name].default
    return {"value": value, "from": source, "variable": KEYS[name].variable, "holds": KEYS[name].words}
