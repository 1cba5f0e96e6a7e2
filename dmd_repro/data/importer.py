"""`dmd data import`: from a file to a feature set in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from dmd_repro.data.columns import NanRule
from dmd_repro.data.formats import convert
from dmd_repro.data.manifest import Manifest
from dmd_repro.data.store import Store, check_name
from dmd_repro.data.unpickle import load_pickle
from dmd_repro.errors import DataError


def import_file(
    path: Path,
    store: Store,
    *,
    name: str | None = None,
    dataset: str | None = None,
    nan: NanRule = "refuse",
    force: bool = False,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> tuple[Manifest, bool]:
    """Read a feature file of either family safely, validate it and store it; all or nothing.

    Returns the manifest and whether anything was written (False: the same content was there under this name). `name`
    None becomes `<dataset>-<aligned|unaligned>-<kind of text>`; `on_stage` hears what is being done. Raises DataError
    with a place for whatever is wrong.
    """
    if name is not None:
        check_name(name)  # before minutes of reading
    on_stage(f"Reading {path.name}")
    raw = load_pickle(path)
    on_stage(f"Validating {path.name}")
    incoming = convert(raw, path.name, dataset=dataset, nan=nan)
    name = name or incoming.default_name
    on_stage(f"Storing '{name}'")
    source = {**(incoming.source or {}), "file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
    before = store.manifest(name).content if not force and name in store.names() else None
    manifest = store.write(name, incoming.with_source(source), force=force)
    return manifest, manifest.content != before


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError.at(
            str(path), expected="a file that can be read", got=error.strerror or str(error), do="Check the disk"
        ) from error
