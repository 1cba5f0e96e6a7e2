"""`dmd data identify` and `dmd data rm`: what a file is, and removing a feature set with what depends on it in view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli import complete
from dmd_repro.cli.ask import Yes, ask_to_remove
from dmd_repro.cli.data_get import SourcesFile
from dmd_repro.cli.paths import DataDir, RunsDir, data_dir, runs_dir
from dmd_repro.cli.tell import tell
from dmd_repro.errors import DataError


def identify(
    file: Annotated[Path, typer.Argument(help="Any file.", show_default=False)],
    sources: SourcesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataDir = None,
) -> None:
    """Name a file by its hash, else by the digest of its arrays, and say which rows it serves; exit 1 if unknown."""
    import json
    from dataclasses import asdict

    from dmd_repro.cli.data_show import byte_progress
    from dmd_repro.data.download.identify import identify as run
    from dmd_repro.data.download.sources import load_sources
    from dmd_repro.data.matrix import matrix
    from dmd_repro.data.store.folder import Store

    known, store = load_sources(sources), Store(data_dir(data))
    with byte_progress() as progress:
        found = run(file, store, known, progress)
    rows = next((need.rows for need in matrix(store, known).needs if need.name == found.serves), {})
    if as_json:
        typer.echo(json.dumps({**asdict(found), "rows": {t: list(keys) for t, keys in rows.items()}}, indent=1))
    else:
        tell(f"{file.name}: {found.name or 'unknown'}; {found.how}")
        tell(f"sha256 {found.sha256}\n{found.size:,} bytes")
        if found.digest:
            tell(f"digest of its arrays {found.digest}")
        for table, keys in rows.items():
            tell(f"{'serves' if found.name else 'could serve'} {table}: {', '.join(keys)}")
        if found.serves and not rows:
            tell("serves no printed row")
        if rows and found.standing not in (None, "official"):
            tell(f"{found.standing}: not the official split, never compared with printed numbers")
    if found.name is None:
        raise typer.Exit(1)


def rm(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete.feature_sets, help="A feature set, as `dmd data list` names it.", show_default=False
        ),
    ],
    yes: Yes = False,
    data: DataDir = None,
    runs: RunsDir = None,
) -> None:
    """Remove a feature set. What was trained on it stays a record, but cannot be resumed or evaluated without it."""
    from dmd_repro.data.download.sources import label_file, load_sources
    from dmd_repro.data.matrix import matrix
    from dmd_repro.data.store.folder import Store
    from dmd_repro.records.folder import Records
    from dmd_repro.records.lock import writer_of

    store, known = Store(data_dir(data)), load_sources()
    if name in known and known[name].kind == "labels":
        _rm_labels(label_file(store.root, known[name].dataset or ""), name, yes)
        return
    if name not in store.names():
        store.manifest(name)  # says what it may mean
    what = f"'{name}' in {store.root}"
    try:
        digests = set(store.manifest(name).digests.values())
    except DataError:
        digests, what = set(), f"{what}, which is damaged"
    records = Records(runs_dir(runs))
    used = [row["run_id"] for row in records.rows() if row["digest"] in digests]
    for run in used:
        if writer := writer_of(records.root, run):
            raise DataError.at(
                what, expected="no run at work on it", got=f"run {run} ({writer})", do="Wait until it has finished"
            )
    found = matrix(store, known)
    serves = [*((need.name, need.rows) for need in found.needs), *((own.name, own.rows) for own in found.own)]
    for table, keys in next((rows for other, rows in serves if other == name), {}).items():
        tell(f"{table} has {len(keys)} row{'s' if len(keys) > 1 else ''} that train on it.")
    if used:
        ids = ", ".join(used[:3]) + (", ..." if len(used) > 3 else "")
        were = "run was" if len(used) == 1 else "runs were"
        tell(f"{len(used)} {were} trained on it ({ids}).")
        tell("They stay records and in reports, but cannot be resumed or evaluated without it.")
    if name in known:
        tell(f"To have it again: dmd data download {name}")
    if ask_to_remove(what, yes, DataError):
        store.remove(name)
        tell(f"Removed {what}.")


def _rm_labels(path: Path, name: str, yes: bool) -> None:
    from dmd_repro.data.store.disk import disk

    if not path.is_file():
        raise DataError.at(f"'{name}'", expected=f"it at {path}", got="nothing there", do="Nothing is to be removed")
    tell("dmd data check compares with it where --labels names no other.")
    if ask_to_remove(f"the list of clips {path}", yes, DataError):
        with disk(path, "Check the folder's permissions"):
            path.unlink(missing_ok=True)
        tell(f"Removed {path}.")
