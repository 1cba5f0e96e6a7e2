"""All commands under one name, and how a command ends: the exit codes, and one sentence for what a user can mend."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
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
    config,
    data,
    evaluate,
    features,
    figure,
    log,
    protocol,
    report,
    reproduce,
    reruns,
    runs,
    systems,
    train,
)
from dmd_repro.cli.cancel import cancel_runs
from dmd_repro.cli.paths import use_papers
from dmd_repro.cli.screen import Screen, screens
from dmd_repro.cli.settings import KEYS, Settings, read_settings
from dmd_repro.errors import DmdError, SpecError


class _Commands(TyperGroup):
    """The commands: an unknown option leads to the one meant, or to the setting (`--lr`), a wrong variable is named."""

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
    """Turn an unknown option, and a value from the environment that is none, into one sentence."""
    try:
        yield
    except Exception as error:
        kind = type(error).__name__  # click's, or that of the copy of it which newer typers bring
        if kind == "NoSuchOption":
            raise _no_option(error) from None
        if kind == "BadParameter" and (said := _bad_variable(error)):
            raise said from None
        raise


def _bad_variable(error: Any) -> SpecError | None:
    """Return what is wrong with the environment variable that a value came from; None where it was typed."""
    context, option = error.ctx, error.param
    name = getattr(option, "envvar", None)
    if context is None or not isinstance(name, str):
        return None
    source = context.get_parameter_source(option.name)
    if source is None or source.name != "ENVIRONMENT":
        return None
    try:
        read_settings().settled(next(key for key in KEYS if KEYS[key].variable == name))
    except SpecError as said:  # as `dmd config show` says it
        return said
    return SpecError.at(name, expected=f"a value of {option.opts[0]}", got=f"'{error.message}'", do="Set it anew")


def _no_option(error: Any) -> SpecError:
    from dmd_repro.systems.registry import setting_names, system_names
    from dmd_repro.systems.suggest import suggest_option

    arguments = [p.name for p in error.ctx.command.get_params(error.ctx) if p.param_type_name == "argument"]
    options = {name for p in error.ctx.command.get_params(error.ctx) for name in p.opts if name.startswith("-")}
    typed = {word.partition("+")[0] for word in sys.argv} & set(system_names())
    models = (typed or system_names()) if "--set" in options else ()
    settings = {name for model in models for name in setting_names(model)}
    path = error.ctx.command_path
    return SpecError.at(
        error.option_name, expected=f"an option of {path}", got="an unknown one",
        do=suggest_option(error.option_name, {name for name in options if len(name) > 2}, settings, arguments),
    )  # fmt: skip


log_ = logging.getLogger(__name__)
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")  # that Typer has a completion for

app = typer.Typer(
    name="dmd",
    cls=_Commands,
    help="Reproduce and audit the tables of DMD (Decoupled Multimodal Distilling, CVPR 2023), CMU-MOSI and CMU-MOSEI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(reruns.app, name="reruns")
app.add_typer(protocol.app, name="protocol")
app.add_typer(systems.app, name="systems")
app.add_typer(config.app, name="config")
app.add_typer(log.app, name="log")
app.command("train")(train.train)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)
app.command("features")(features.features)
app.command("figure")(figure.figure)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(evaluate.export)
app.command("ablate")(ablate.ablate)
app.command("audit")(audit.audit)
runs.app.command("cancel")(cancel_runs)
app.command("bench")(bench.bench)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Say on stderr what is read from where, and resumed."),
    system: list[str] = typer.Option([], "--system", metavar="FILE.py", help="A file with a system of your own."),
) -> None:
    if verbose:
        _say_more()
    settings = read_settings()
    context.default_map = _defaults(context.command, settings)
    if system:
        from dmd_repro.systems.registry import add_file

        for file in system:
            add_file(Path(file))
    papers, source = settings.settled("papers")
    asked = context.command.commands.get(context.invoked_subcommand or "")  # type: ignore[attr-defined]
    if papers and not any(parameter.name == "papers" for parameter in asked.params):  # where it is an option, that wins
        use_papers(Path(str(papers)) if source == "file" else None)
    log_.info("Python %s, dmd %s, defaults from %s", sys.version.split()[0], __version__, settings.file or "no file")


def _defaults(group: Any, settings: Settings) -> dict[str, Any]:
    """Return what the file sets, by command and by the name of its parameter: an option is known by its variable."""
    if not settings.values:
        return {}
    values = {KEYS[name].variable: value for name, value in settings.values.items()}
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found[name] = _defaults(command, settings)
        else:
            found[name] = {p.name: values[p.envvar] for p in command.params if getattr(p, "envvar", None) in values}
    return found


def _say_more() -> None:
    """Let the program's own log messages reach stderr, those that only inform too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    ours = logging.getLogger("dmd_repro")
    ours.handlers[:], ours.propagate = [handler], False
    ours.setLevel(logging.INFO)


def _say_less() -> None:
    """Undo `_say_more`: its stream ends with the command."""
    ours = logging.getLogger("dmd_repro")
    ours.handlers[:], ours.propagate = [], True
    ours.setLevel(logging.NOTSET)


def main() -> None:
    """Run the command line; a `DmdError` becomes one sentence on stderr and exit code 2.

    A reader that has enough (`dmd report | head`) ends it with 141, as it would `cat`.
    """
    with screens() as out:
        code = _run(out)
        _say_less()
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


@cache
def commands() -> Any:
    """Return the commands with their options, built once a process: `app()` would build all of them at each call."""
    return typer.main.get_command(app)


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
        _check_shell(sys.argv[1:])
        commands()(prog_name="dmd")
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


def _check_shell(arguments: list[str]) -> None:
    """Refuse to make a completion for a shell that Typer cannot find, or has no completion for."""
    asked = next((a for a in arguments if a in ("--install-completion", "--show-completion")), None)
    if asked is None:
        return
    import shellingham

    try:
        shell = shellingham.detect_shell()[0]
    except (shellingham.ShellDetectionFailure, RuntimeError, NotImplementedError):
        shell = "no shell"
    if shell not in SHELLS:
        do = "Type it in such a shell, at its prompt"
        raise DmdError.at(f"dmd {asked}", expected=f"to be typed in {', '.join(SHELLS)}", got=shell, do=do)


def _fail(message: str, code: int) -> int:
    with suppress(OSError):
        typer.echo(f"dmd: {message}", err=True)
    return code
