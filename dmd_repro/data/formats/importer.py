"""`dmd data import`: from a file to a feature set in the store, in a few megabytes of memory, whatever its size."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dmd_repro.data.formats.columns import NanRule
from dmd_repro.data.formats.families import convert
from dmd_repro.data.pickle_gate.containers import load_file
from dmd_repro.data.pickle_gate.filearray import ByteSource, FileArray
from dmd_repro.data.pickle_gate.unpickle import open_source
from dmd_repro.data.store.disk import size_text
from dmd_repro.data.store.folder import Store, check_name
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.disk import sentences
from dmd_repro.errors import DataError
from dmd_repro.shapes import SPLITS

Progress = Callable[[str, int, int], None]  # what is being done, bytes done, bytes in all (0: not known)
_STORED = {"text": 4, "audio": 4, "vision": 4, "text_bert": 8}  # bytes a value takes in the store
_PIECE = 1 << 23


def import_file(
    path: Path,
    store: Store,
    *,
    name: str | None = None,
    dataset: str | None = None,
    nan: NanRule = "refuse",
    force: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> tuple[Manifest, bool]:
    """Read a feature file of either family safely, validate it and store it; all or nothing.

    Returns the manifest and whether anything was written (False: the same content was there under this name). `name`
    None becomes `<dataset>-<aligned|unaligned>-<kind of text>`. Raises DataError with a place for whatever is wrong:
    in the file, on the disk, or because the file changed meanwhile.
    """
    if name is not None:
        check_name(name)  # before minutes of reading
    scratch = next(folder for folder in (store.root, *store.root.absolute().parents) if folder.is_dir())
    meter = _Meter(on_progress)
    with closing(open_source(path)) as source:
        source.on_read = meter.read
        meter.stage(f"Reading {path.name}", 0)
        with sentences(scratch, "room for what the file holds packed or as text", DataError, "--data-dir"):
            raw = load_file(source, scratch)
        columns, stored = _sizes(raw)
        _check_room(scratch, stored)
        meter.stage(f"Validating {path.name}", columns)
        incoming = convert(raw, path.name, dataset=dataset, nan=nan)
        meter.stage(f"Hashing {path.name}", source.size)
        facts = {"file": path.name, "bytes": source.size, "sha256": _sha256(source)}
        source.check_unchanged()
        name = name or incoming.default_name
        before = store.manifest(name).content if not force and name in store.names() else None
        meter.stage(f"Storing '{name}'", columns)
        manifest = store.write(name, incoming.with_source({**(incoming.source or {}), **facts}), force=force)
    return manifest, manifest.content != before


class _Meter:
    """Adds up the bytes read in a stage and passes them on."""

    def __init__(self, hear: Progress) -> None:
        self._hear, self._title, self._done, self._total = hear, "", 0, 0

    def stage(self, title: str, total: int) -> None:
        self._title, self._done, self._total = title, 0, total
        self._hear(title, 0, total)

    def read(self, n: int) -> None:
        self._done += n
        self._hear(self._title, self._done, self._total)


def _sizes(raw: Any) -> tuple[int, int]:
    """Return how many bytes of big columns an import reads, and how many it will store."""
    read = stored = 0
    for split in SPLITS if isinstance(raw, Mapping) else ():
        part = raw.get(split)
        for key, width in _STORED.items() if isinstance(part, Mapping) else ():
            array = part.get(key)
            if isinstance(array, FileArray):
                read, stored = read + array.nbytes, stored + array.size * width
    return read, stored


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError.at(
            str(folder),
            expected=f"{size_text(needed)} of free space for the imported features",
            got=f"{size_text(free)}",
            do="Free some, or choose another folder with --data-dir",
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sha256(source: ByteSource) -> str:
    digest = hashlib.sha256()
    for start in range(0, source.size, _PIECE):
        digest.update(source.read(start, min(_PIECE, source.size - start)).data)
    return digest.hexdigest()
