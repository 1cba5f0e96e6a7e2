"""`dmd data identify` and `dmd data rm`: what a file is, and removing a feature set with what depends on it in view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmd_repro.cli.data_get import SourcesFile
from dmd_repro.cli.paths import DataDir, RunsDir, data_dir, runs_dir
from dmd_repro.errors import DataError, DmdError

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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
        typer.echo(f"{file.name}: {found.name or 'unknown'}; {found.how}")
        typer.echo(f"sha256 {found.sha256}\n{found.size:,} bytes")
        if found.digest:
            typer.echo(f"digest of its arrays {found.digest}")
        for table, keys in rows.items():
            typer.echo(f"{'serves' if found.name else 'could serve'} {table}: {', '.join(keys)}")
        if found.serves and not rows:
            typer.echo("serves no printed row")
    if found.name is None:
        raise typer.Exit(1)


def rm(
    name: Annotated[str, typer.Argument(help="A feature set, as `dmd data list` names it.", show_default=False)],
    yes: Yes = False,
    data: DataDir = None,
    runs: RunsDir = None,
) -> None:
    """Remove a feature set. What was trained on it stays a record, but cannot be resumed or evaluated without it."""
    from dmd_repro.data.store.folder import Store
    from dmd_repro.records.folder import Records

    store = Store(data_dir(data))
    try:
        digests, what = set(store.manifest(name).digests.values()), f"'{name}' in {store.root}"
    except DataError:
        if name not in store.names():
            raise
        digests, what = set(), f"'{name}' in {store.root}, which is damaged"
    records = Records(runs_dir(runs))
    used = [row for row in records.rows() if row["digest"] in digests]
    if used:
        ids = ", ".join(row["run_id"] for row in used[:3]) + (", ..." if len(used) > 3 else "")
        were = "run was" if len(used) == 1 else "runs were"
        typer.echo(f"{len(used)} {were} trained on it ({ids}): still records and in reports,")
        typer.echo("but without it none can be resumed or evaluated.")
    if ask(f"Remove {what}", yes, DataError):
        store.remove(name)
        typer.echo(f"Removed {what}.")


def ask(what: str, yes: bool, kind: type[DmdError]) -> bool:
    """Ask on a terminal before something goes; `yes`: no question. Raises `kind` where nobody can answer."""
    if yes:
        return True
    if not _on_a_terminal():
        raise kind.at(what, expected="a yes", got="nobody to ask (no terminal)", do="Add --yes")
    if typer.confirm(f"{what}?"):
        return True
    typer.echo("Nothing was removed.")
    return False


def _on_a_terminal() -> bool:
    import sys

    return sys.stdin is not None and sys.stdin.isatty()
