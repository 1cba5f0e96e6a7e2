"""A file on its way: kept apart until it is whole, so that a kill, a full disk or a lost line costs seconds, not files.

<folder>/<name>.part       what has arrived
<folder>/<name>.part.json  how much of it is safely on the disk, and what tells whether the server still has the same
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from dmd_repro.data.store.disk import size_text
from dmd_repro.disk import fsync_folder, parse_json, write_atomic
from dmd_repro.errors import DataError

_SYNC_BYTES = 16 << 20
_SYNC_SECONDS = 2.0
RESERVE = 64 << 20  # bytes left free for everybody else


@dataclass(slots=True)
class State:
    """What is known of a part: bytes on the disk, and the identity of the whole on the server."""

    url: str = ""
    validator: str = ""  # a strong ETag, or a Last-Modified date
    total: int | None = None
    synced: int = 0


def sweep(folder: Path) -> None:
    """Remove notes of parts that are none any more: left where a kill came just after a file got its name."""
    for note in folder.rglob("*.part.json") if folder.is_dir() else ():
        if not note.with_suffix("").exists():
            note.unlink(missing_ok=True)


class Part:
    """One file on its way into a folder; a context manager. OSError is the caller's."""

    def __init__(self, final: Path, on_bytes: Callable[[int, int], None] = lambda done, total: None) -> None:
        self.final, self.path = final, final.with_name(f"{final.name}.part")
        self._side = final.with_name(f"{final.name}.part.json")
        self._hear, self.state, self.size = on_bytes, State(), 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Part:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        try:
            known = State(**parse_json(self._side.read_bytes()))
            whole = self.path.stat().st_size >= known.synced >= 0 and isinstance(known.url, str)
        except (OSError, ValueError, TypeError):
            whole = False
        self._file = self.path.open("r+b" if whole else "w+b")
        if whole:
            self.state, self.size = known, known.synced
            self._file.truncate(self.size)  # what came after may be holes, if the machine went down
            left = self.size
            while left and (piece := self._file.read(min(left, 1 << 20))):
                self._digest.update(piece)
                left -= len(piece)
        self._mark = self.size, time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            if not self.size:  # nothing to go on with
                self.path.unlink(missing_ok=True)
                self._side.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The hash of what is there."""
        return self._digest.hexdigest()

    @property
    def head(self) -> bytes:
        """The first bytes of what is there."""
        assert self._file is not None
        self._file.flush()
        with self.path.open("rb") as file:
            return file.read(512)

    def restart(self) -> None:
        """Forget what has arrived."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self.state, self.size, self._digest = State(), 0, hashlib.sha256()
        self._mark = 0, time.monotonic()
        self._side.unlink(missing_ok=True)

    def begin(self, url: str, validator: str, total: int | None) -> None:
        """Note what is being fetched, after making sure that it fits the disk."""
        self.state.url, self.state.validator, self.state.total = url, validator, total
        free = shutil.disk_usage(self.path.parent).free
        if total is not None and free < total - self.size + RESERVE:
            raise DataError.at(
                str(self.path.parent),
                expected=f"{size_text(total - self.size + RESERVE)} of free space for the download",
                got=f"{size_text(free)}",
                do="Free some, or choose another folder with --data-dir",
            )
        self.sync()

    def add(self, piece: bytes) -> None:
        """Append bytes; now and then they are made durable."""
        assert self._file is not None
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)
        self._hear(self.size, self.state.total or 0)
        done, since = self._mark
        if self.size - done >= _SYNC_BYTES or time.monotonic() - since >= _SYNC_SECONDS:
            self.sync()
            if shutil.disk_usage(self.path.parent).free < RESERVE:
                raise OSError(28, "No space left on device", str(self.path))

    def sync(self) -> None:
        """Make what has arrived durable, then say so."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self.state.synced = self.size
        write_atomic(self._side, json.dumps(asdict(self.state)))
        self._mark = self.size, time.monotonic()

    def finish(self) -> Path:
        """Give the file its name, in one step."""
        self.sync()
        assert self._file is not None
        self._file.close()
        self._file = None
        self.path.replace(self.final)
        fsync_folder(self.final.parent)
        self._side.unlink(missing_ok=True)
        return self.final

    def discard(self) -> None:
        """Remove what has arrived."""
        self.__exit__()
        self.path.unlink(missing_ok=True)
        self._side.unlink(missing_ok=True)
