"""A question before something goes or gigabytes come: asked on a terminal, answered by an option elsewhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dmd_repro.cli.tell import tell
from dmd_repro.errors import DmdError

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def ask_to_remove(what: str, yes: bool, kind: type[DmdError]) -> bool:
    """Ask before something is removed; `yes`: no question. Raises `kind` where nobody can answer."""
    if yes:
        return True
    if not on_a_terminal():
        raise kind.at(f"Remove {what}", expected="a yes", got="nobody to ask (no terminal)", do="Add --yes")
    if typer.confirm(f"Remove {what}?"):
        return True
    tell("Nothing was removed.")
    return False


def on_a_terminal() -> bool:
    """Whether somebody can be asked and reads the question."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
