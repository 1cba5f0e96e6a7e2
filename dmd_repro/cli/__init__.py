"""The `dmd` command. A command is: parse, one library call, print. Libraries are imported inside the commands."""

from __future__ import annotations

import os
import sys

import typer

from dmd_repro import __version__
from dmd_repro.cli import (
    ablate,
    audit,
    bench,
    compare,
    data,
    evaluate,
    protocol,
    report,
    reproduce,
    reruns,
    runs,
    train,
)
from dmd_repro.cli.paths import use_papers
from dmd_repro.errors import DmdError

app = typer.Typer(
    name="dmd",
    help="Reproduce and audit the tables of DMD (Decoupled Multimodal Distilling, CVPR 2023), CMU-MOSI and CMU-MOSEI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(reruns.app, name="reruns")
app.add_typer(protocol.app, name="protocol")
app.command("train")(train.train)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(evaluate.export)
app.command("ablate")(ablate.ablate)
app.command("audit")(audit.audit)
app.command("bench")(bench.bench)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if os.environ.get("DMD_PAPERS") and context.invoked_subcommand not in ("reproduce", "report", "audit"):
        use_papers()  # these three have the option, which wins


def main() -> None:
    """Run the command line; a `DmdError` becomes one sentence on stderr and exit code 2."""
    try:
        app()
    except DmdError as error:
        typer.echo(f"dmd: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("dmd: interrupted. What was finished is kept; the same command goes on from there.", err=True)
        sys.exit(130)
    except BrokenPipeError:  # `dmd report | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
