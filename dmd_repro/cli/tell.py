"""Lines for people, as against JSON, CSV and other text that a program reads: these never pass the window's width."""

from __future__ import annotations

import typer


def tell(text: str, *, err: bool = False) -> None:
    """Print lines, cut between words at the width of the terminal, at 80 columns in a pipe or a file.

    A word that is longer, such as a path, stays whole. `err`: on stderr.
    """
    from dmd_repro.render.terminal import folded, terminal_console

    width = terminal_console(err).width
    typer.echo("\n".join(part for line in text.split("\n") for part in folded(line, width)), err=err)
