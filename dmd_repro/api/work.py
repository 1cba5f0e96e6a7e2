"""Training and reproducing from Python: what the commands do, with their results as values."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmd_repro.api.records import Folder
from dmd_repro.api.tables import Comparison, compare
from dmd_repro.errors import SpecError

if TYPE_CHECKING:
    from dmd_repro.data.features import Features

Setting = str | int | float | bool


def load_features(name: str, *, text: str | None = None, data_dir: Folder = None) -> Features:
    """Return a feature set: `synthetic`, or one that `dmd data import` stored.

    `.splits["test"]` holds `ids` (B), `language`, `acoustic`, `visual` (B, T, D) float32, memory-mapped and read-only,
    `lengths` and `labels` (B,) sentiment; `.standing` says official, partial or synthetic. `text`: glove, hidden or
    bert, where the set holds several.

    Raises DataError with the nearest name for one that is not there, SpecError for another kind of text.
    """
    from dmd_repro.cli.paths import data_dir as folder
    from dmd_repro.cli.train import text_kind
    from dmd_repro.data.resolve import load_features as load
    from dmd_repro.data.store.folder import Store

    return load(name, Store(folder(None if data_dir is None else Path(data_dir))), text=text_kind(text))


def train(
    model: str,
    data: str,
    *,
    seed: int = 1111,
    epochs: int | None = None,
    settings: Mapping[str, Setting] | None = None,
    protocol: str | None = None,
    drop: Iterable[str] = (),
    text: str | None = None,
    bert: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    runs_dir: Folder = None,
    data_dir: Folder = None,
) -> dict[str, Any]:
    """Train one run, or resume it; one that is there is read, not repeated. Progress goes to stderr.

    The arguments are those of `dmd train`, with its defaults, environment and `dmd.toml` (`settings` are its `--set`,
    `drop` the parts to switch off). Returns what `dmd train --json` prints: run_id, epochs, best_epoch, config,
    learned, and metrics by split (shares from 0 to 1, MAE and Corr on their own scale). `predictions_df(run_id)` and
    `history_df(run_id)` hold the rest.

    Raises DmdError, one sentence, for whatever can be mended.
    """
    given = {
        "--data": data, "--seed": seed, "--epochs": epochs, "--text": text, "--bert": bert, "--protocol": protocol,
        "--device": device, "--threads": threads, "--runs-dir": runs_dir, "--data-dir": data_dir,
        "--set": _sets(settings), "--drop": list(drop),
    }  # fmt: skip
    return _command("train", model, given)


def reproduce(
    table: str,
    data: str | Iterable[str] | None = None,
    *,
    seeds: int | Iterable[int] = 5,
    rows: str | Iterable[str] = (),
    epochs: int | None = None,
    settings: Mapping[str, Setting] | None = None,
    protocol: str | None = None,
    bert: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    jobs: int | None = None,
    runs_dir: Folder = None,
    data_dir: Folder = None,
) -> Comparison:
    """Train what a table needs and return it beside the printed numbers; finished runs are used, others resume.

    The arguments are those of `dmd reproduce`; `seeds` is a count from 1111 on, or the seeds themselves. Progress goes
    to stderr. A run that fails is shown as failed in the result and spoils no other.

    Raises DmdError, one sentence, for whatever can be mended.
    """
    if table == "all":
        raise SpecError.at("reproduce", expected="one table", got="'all'", do="Call it for each table")
    chosen = [data] if isinstance(data, str) else list(data or ())
    given = {
        "--seeds": seeds if isinstance(seeds, int) else ",".join(map(str, seeds)) + ",", "--data": chosen,
        "--rows": [rows] if isinstance(rows, str) else list(rows), "--protocol": protocol, "--bert": bert,
        "--epochs": epochs, "--set": _sets(settings), "--device": device, "--threads": threads, "--jobs": jobs,
        "--runs-dir": runs_dir, "--data-dir": data_dir,
    }  # fmt: skip
    _command("reproduce", table, given)
    return compare(table, chosen or None, runs_dir=runs_dir)


def _command(name: str, argument: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a command with --json, as typed, and return its document; what it says besides goes to stderr, as there.

    A failed run (exit code 1) is in the document. Raises SpecError for what the command line does not take.
    """
    import typer

    from dmd_repro.cli.command import commands

    usage: Any = typer.BadParameter.__mro__[1]  # the errors of a command line, in whichever click this typer brings

    typed, said = [name, argument, "--json"], io.StringIO()
    for option, value in given.items():
        typed += [f"{option}={one}" for one in (value if isinstance(value, list) else [value]) if one is not None]
    try:
        with contextlib.redirect_stdout(said):
            code = commands()(typed, prog_name="dmd", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except usage as error:
        raise SpecError.at(
            name, expected="arguments that it takes", got=f"'{error}'", do=f"See help(dmd.{name})"
        ) from None
    if code == 130:
        raise KeyboardInterrupt
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def _sets(settings: Mapping[str, Setting] | None) -> list[str]:
    return [f"{name}={str(x).lower() if isinstance(x, bool) else x}" for name, x in (settings or {}).items()]
