"""Training and reproducing from Python: what the commands do, with their results as values."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmd_repro.api.records import Folder
from dmd_repro.api.tables import Comparison, compare

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
    protocol: str = "official",
    drop: Iterable[str] = (),
    text: str | None = None,
    bert: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    runs_dir: Folder = None,
    data_dir: Folder = None,
) -> dict[str, Any]:
    """Train one run, or resume it; one that is there is read, not repeated. Progress goes to stderr.

    The arguments are those of `dmd train` (`settings` are its `--set`, `drop` the parts to switch off). Returns what
    `dmd train --json` prints: run_id, epochs, best_epoch, config, learned, and metrics by split in the unit tables
    print. `predictions_df(run_id)` and `history_df(run_id)` hold the rest.

    Raises DmdError, one sentence, for whatever can be mended.
    """
    from dmd_repro.cli.train import train as command

    return _json(
        command, model=model, data=data, seed=seed, epochs=epochs, settings=_sets(settings), text=text, bert=bert,
        protocol=protocol, drop=list(drop), device=device, threads=threads, runs=_path(runs_dir), store=_path(data_dir),
    )  # fmt: skip


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
    device: str = "cpu",
    threads: int = 1,
    jobs: int | None = None,
    runs_dir: Folder = None,
    data_dir: Folder = None,
) -> Comparison:
    """Train what a table needs and return it beside the printed numbers; finished runs are used, others resume.

    The arguments are those of `dmd reproduce`; `seeds` is a count from 1111 on, or the seeds themselves. Progress goes
    to stderr. A run that fails is shown as failed in the result and spoils no other.

    Raises DmdError, one sentence, for whatever can be mended.
    """
    import typer

    from dmd_repro.cli.reproduce import reproduce as command

    chosen = [data] if isinstance(data, str) else list(data or ())
    named = str(seeds) if isinstance(seeds, int) else ",".join(map(str, seeds)) + ","
    with contextlib.suppress(typer.Exit):  # of a failed run, which the comparison names
        _json(
            command, table=table, seeds=named, rows=[rows] if isinstance(rows, str) else list(rows), data=chosen,
            protocol=protocol, bert=bert, epochs=epochs, settings=_sets(settings), device=device, threads=threads,
            jobs=jobs, runs=_path(runs_dir), store=_path(data_dir),
        )  # fmt: skip
    return compare(table, chosen or None, runs_dir=runs_dir)


def _json(command: Callable[..., None], **arguments: Any) -> dict[str, Any]:
    """Run a command with --json and return its document; what it says besides goes to stderr, as there."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        command(**arguments, json_=True)
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def _sets(settings: Mapping[str, Setting] | None) -> list[str]:
    return [f"{name}={str(x).lower() if isinstance(x, bool) else x}" for name, x in (settings or {}).items()]


def _path(folder: Folder) -> Path | None:
    return None if folder is None else Path(folder)
