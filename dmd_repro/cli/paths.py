"""Options that commands share: an option wins over the environment, that over `dmd.toml`, that over the default."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.errors import DataError, DmdError, RunError, SpecError

log = logging.getLogger(__name__)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        readable=False,  # one that cannot be read is a sentence of ours, where it is read
        envvar="DMD_DATA",
        help="Where imported features are kept; else the user's own.",
    ),
]
BertSource = Annotated[
    str | None,
    typer.Option(
        "--bert",
        metavar="FOLDER|NAME",
        envvar="DMD_BERT",
        help="The BERT that reads token ids: a folder, or a hub name in the local cache.",
    ),
]
Control = Annotated[
    bool, typer.Option("--control/--no-control", help="With our row of language alone in each block, or without it.")
]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir", metavar="DIR", readable=False, envvar="DMD_RUNS", help="Where runs are recorded; else ./runs."
    ),
]
PapersDir = Annotated[
    Path | None,
    typer.Option(
        "--papers",
        metavar="DIR",
        readable=False,
        envvar="DMD_PAPERS",
        help="More papers: DIR/NAME/table1.yaml is NAME/table1.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", envvar="DMD_DEVICE", help="cpu, cuda (all cards), cuda:1, cuda:0,1. Not part of a run's identity."
    ),
]
Threads = Annotated[
    int,
    typer.Option("--threads", min=1, envvar="DMD_THREADS", help="Threads of a run. Equal results need equal threads."),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, envvar="DMD_JOBS", help="Runs side by side. Else one a core; one a GPU."),
]
Stacked = Annotated[
    str,
    typer.Option(
        "--stack",
        metavar="auto|K",
        envvar="DMD_STACK",
        help="Seeds of a row that train as one model. auto: what a GPU holds, 1 on a CPU.",
    ),
]
Seeds = Annotated[
    str, typer.Option("--seeds", envvar="DMD_SEEDS", help="A count from 1111 on (5), or the seeds (7,8,9).")
]


def begun_tables(incomplete: str) -> list[str]:
    """Offer table names to a shell; none where a folder of papers cannot be read."""
    from dmd_repro.papers.tables import all_table_names

    try:
        return [name for name in all_table_names() if name.startswith(incomplete)]
    except (DmdError, OSError):
        return []


TableName = Annotated[
    str | None,
    typer.Argument(
        autocompletion=begun_tables,
        help="table1 ... table5 (all when left out); of another paper NAME/table1, or NAME for all of it.",
    ),
]


def use_papers(option: Path | None = None) -> None:
    """Take in the papers of a folder, and the data sets they bring; what trains in other processes finds them too."""
    from dmd_repro.papers.datasets import read_datasets
    from dmd_repro.papers.folders import VARIABLE

    if option is not None:
        os.environ[VARIABLE] = str(option.expanduser().absolute())
    read_datasets()


def output_path(text: str) -> Path:
    """Read -o; SpecError for an empty name, which would otherwise be the working folder."""
    if not text.strip():
        raise SpecError.at(
            '-o ""', expected="the name of a file", got="an empty one", do="Name it, or leave the option out to print"
        )
    return Path(text)


def data_dir(option: Path | None) -> Path:
    """Return the folder of imported features."""
    if option is None and (said := _settled("data-dir")):
        option = Path(said)
    if option is None:
        from platformdirs import user_data_path

        option = user_data_path("dmd", appauthor=False)
    return _folder(option, "--data-dir", DataError)


def runs_dir(option: Path | None) -> Path:
    """Return the folder of run records."""
    if option is None:
        option = Path(_settled("runs-dir") or "runs")
    return _folder(option, "--runs-dir", RunError)


def _folder(path: Path, option: str, kind: type[DmdError]) -> Path:
    """Return it absolute; it may be missing, but a file in its place would read as an empty folder."""
    try:
        path = path.expanduser().absolute()
    except RuntimeError:  # what pathlib raises for the home of a user that is not there
        raise kind.at(
            str(path), expected="a user of this machine after '~'", got="none", do=f"Write {option} in full"
        ) from None
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112 (pathlib raises where it may not look)
        raise kind.at(str(path), expected="a folder", got="a file", do=f"Name a folder with {option}")
    log.info("%s is %s", option, path)
    return path


def encoded_dir(option: Path | None) -> Path:
    """Return where hidden states encoded by a frozen BERT are kept: beside the features, under no name of the store."""
    return data_dir(option) / ".encoded"


def reruns_dir(option: Path | None) -> Path:
    """Return where a user's own figures of re-runs are kept: beside the features, under no name of the store."""
    return data_dir(option) / ".reruns"


def bert_source(option: str | None) -> str:
    """Return the folder or hub name of the BERT, "" where none is named."""
    return option or _settled("bert") or ""


def _settled(name: str) -> str | None:
    """Return what the environment or `dmd.toml` says, for commands that lack the option."""
    from dmd_repro.cli.settings import read_settings

    value, _ = read_settings().settled(name)
    return None if value is None else str(value)
