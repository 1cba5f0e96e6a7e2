"""Where the two folders are: options shared by the commands. An option wins over the environment, that over the default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where imported features are kept [env DMD_DATA; else the user's data folder]."),
]
RunsDir = Annotated[
    Path | None, typer.Option("--runs-dir", help="Where runs are recorded [env DMD_RUNS; else ./runs].")
]


def data_dir(option: Path | None) -> Path:
    """Return the folder of imported features."""
    if option is None and os.environ.get("DMD_DATA"):
        option = Path(os.environ["DMD_DATA"])
    if option is None:
        from platformdirs import user_data_path

        option = user_data_path("dmd", appauthor=False)
    return option.expanduser().absolute()


def runs_dir(option: Path | None) -> Path:
    """Return the folder of run records."""
    if option is None:
        option = Path(os.environ.get("DMD_RUNS") or "runs")
    return option.expanduser().absolute()
