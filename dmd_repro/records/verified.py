"""What `dmd runs verify` found whole, so that it reads again only what changed since: `<runs>/.verified.json`.

A cache and never the truth: it holds the sizes and times of files that were read and agreed, and nothing of what is in
them. Deleted, cut or of another version, it is made anew from the records. Only `verify` asks it; what counts in a
table is read and hashed every time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from dmd_repro.disk import parse_json, write_atomic
from dmd_repro.errors import RunError, Unreadable
from dmd_repro.records.folder import Records

VERSION = 1  # raised by whatever verify learns to find: then everything is read again
Stamp = list[list[Any]]


class RunVerifier:
    """Verifies finished runs of a folder, each that did not change since it was found whole at a glance."""

    def __init__(self, records: Records, *, everything: bool = False) -> None:
        self.records, self.path = records, records.root / ".verified.json"
        self._before = self._load()
        self._known = {} if everything else self._before
        self._whole: dict[str, Stamp] = {}
        self._found: dict[str, list[str] | RunError] = {}
        self.skipped = 0

    def prepare(self, names: Iterable[str]) -> None:
        """Verify runs side by side: reading and hashing leave Python's lock to others."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for name, found in zip(names := list(names), pool.map(self._verify, names), strict=True):
                self._found[name] = found

    def __call__(self, name: str) -> list[str]:
        """Return what is wrong with a finished run; raises as `Records.verify` does."""
        found = self._found.get(name)
        found = self._verify(name) if found is None else found
        if isinstance(found, RunError):
            raise found
        return found

    def _verify(self, name: str) -> list[str] | RunError:
        before = _stamp(self.records.root / name)
        if before is not None and before == self._known.get(name):
            self.skipped += 1
            self._whole[name] = before
            return []
        try:
            problems = self.records.verify(name)
        except RunError as error:
            return error
        if not problems and before is not None and before == _stamp(self.records.root / name):
            self._whole[name] = before  # nothing changed while it was read
        return problems

    def save(self) -> None:
        """Remember what was found whole; a folder that cannot be written is no reason to refuse."""
        runs = {**self._before, **self._whole}
        runs = {name: stamp for name, stamp in runs.items() if (self.records.root / name).is_dir()}
        if runs != self._before:
            with suppress(OSError):
                write_atomic(self.path, json.dumps({"version": VERSION, "runs": runs}))

    def _load(self) -> dict[str, Stamp]:
        try:
            document = parse_json(self.path.read_bytes())
            runs = document["runs"] if document["version"] == VERSION else {}
            return {str(name): stamp for name, stamp in runs.items() if isinstance(stamp, list)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _stamp(path: Path) -> Stamp | None:
    """Return name, size, times and place on disk of every file of a record; None where they cannot be had."""
    try:
        with os.scandir(path) as entries:
            found = sorted((entry.name, entry.stat()) for entry in entries)
    except (OSError, Unreadable):
        return None
    return [[name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in found]
