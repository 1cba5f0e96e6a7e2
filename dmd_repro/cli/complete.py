"""What a shell completes besides commands, options and tables: runs, feature sets and systems, as they are here now.

A shell asks while a line is typed: where a folder cannot be read there is nothing to offer, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from dmd_repro.cli.paths import data_dir, runs_dir
from dmd_repro.errors import DmdError


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Offer the ids of the runs in the folder that `--runs-dir`, or what stands for it, names."""
    from dmd_repro.records.folder import Records

    return _begun(lambda: Records(runs_dir(context.params.get("runs"))).run_ids(), incomplete)


def feature_sets(context: typer.Context, incomplete: str) -> list[str]:
    """Offer imported and generated feature sets."""
    from dmd_repro.data.store.folder import Store

    return _begun(lambda: [*Store(data_dir(context.params.get("store"))).names(), "synthetic"], incomplete)


def systems(incomplete: str) -> list[str]:
    """Offer the systems that ship and those of installed packages."""
    from dmd_repro.systems.registry import system_names

    return _begun(system_names, incomplete)


def _begun(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except (DmdError, OSError):
        return []
