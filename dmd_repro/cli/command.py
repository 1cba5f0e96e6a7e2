"""All commands under one name, and how a command ends: the exit codes, and one sentence for what a user can mend."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from dmd_repro import __version__
from dmd_repro.cli import (
    ablate,
    audit,
    bench,
    compare,
    data,
    evaluate,
    figure,
    protocol,
    report,
    reproduce,
    reruns,
    runs,
    systems,
    train,
)
from dmd_repro.cli.paths import use_papers
from dmd_repro.cli.screen import Screen, screens
from dmd_repro.errors import DmdError, SpecError


class _Commands(TyperGroup):
    """The commands, of which an unknown option leads to the one meant, or to the setting: `--lr`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command."""
        with _understood():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        with _understood():
            return super().invoke(ctx)


@contextmanager
def _understood() -> Iterator[None]:
    """Turn an unknown option into a SpecError that says what it may mean."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "NoSuchOption":  # click's, or that of the copy of it which newer typers bring
            raise
        raise _no_option(error) from None


def _no_option(error: Any) -> SpecError:
    from dmd_repro.systems.registry import setting_names, system_names
    from dmd_repro.systems.suggest import suggest_option

    options = {name for p in error.ctx.command.get_params(error.ctx) for name in p.opts if name.startswith("-")}
    typed = {word.partition("+")[0] for word in sys.argv} & set(system_names())
    models = (typed or system_names()) if "--set" in options else ()
    settings = {name for model in models for name in setting_names(model)}
    path = error.ctx.command_path
    return SpecError.at(
        error.option_name, expected=f"an option of {path}", got="an unknown one",
        do=suggest_option(error.option_name, {name for name in options if len(name) > 2}, settings),
    )  # fmt: skip


app = typer.Typer(
    name="dmd",
    cls=_Commands,
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
app.add_typer(systems.app, name="systems")
app.command("train")(train.train)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)
app.command("figure")(figure.figure)
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
    system: list[str] = typer.Option([], "--system", metavar="FILE.py", help="A file with a system of your own."),
) -> None:
    if system:
        from dmd_repro.systems.registry import add_file

        for file in system:
            add_file(Path(file))
    if os.environ.get("DMD_PAPERS") and context.invoked_subcommand not in ("reproduce", "report", "audit", "figure"):
        use_papers()  # these four have the option, which wins


def main() -> None:
    """Run the command line; a `DmdError` becomes one sentence on stderr and exit code 2.

    A reader that has enough (`dmd report | head`) ends it with 141, as it would `cat`.
    """
    with screens() as out:
        code = _run(out)
        if code in (0, 1):  # a failure of the command itself stays what it is
            with suppress(OSError):
                out.flush()
    if isinstance(out.error, BrokenPipeError):
        code = 141
    elif out.error is not None:
        got = out.error.strerror or type(out.error).__name__
        said = DmdError.at(
            "standard output", expected="a place that takes all of it", got=f"'{got}'",
            do="Make room or send it elsewhere, and run the same command again: finished runs are kept",
        )  # fmt: skip
        code = _fail(str(said), 2)
    sys.exit(code)


def _run(out: Screen) -> int:
    try:
        Path.cwd()
    except OSError as error:
        return _fail(
            f"the working folder: expected one that is there, got '{error.strerror}'. Change to another (cd) and type "
            "the same command again.",
            2,
        )
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except DmdError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted. What was finished is kept: run the same command again to resume.", 130)
    except OSError:
        if out.error is None:
            raise
    return 0


def _fail(message: str, code: int) -> int:
    with suppress(OSError):
        typer.echo(f"dmd: {message}", err=True)
    return code
