"""The `dmd` command. A command is: parse, one library call, print. Libraries are imported inside the commands."""

from dmd_repro.cli.command import app, main

__all__ = ["app", "main"]
