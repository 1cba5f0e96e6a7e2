"""The one writer of a run: an OS lock, which dies with its process, and a note of who holds it.

Who only looks reads the note and never touches the lock: a writer that begins at that instant must not fail.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock

from dmd_repro.disk import parse_json

PATIENCE = 5.0  # seconds a writer waits for who holds the lock without writing: a repair, for the time of a rename
ELSEWHERE = 86_400.0  # seconds a note of another machine is believed: whether its process lives cannot be seen
_POLL = 0.02
_NONE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}  # what a mount without locks says


class NoLocks(OSError):
    """The file system cannot lock files, so nothing can keep a second writer out."""

    def __init__(self) -> None:
        super().__init__(errno.ENOLCK, "it cannot lock files (a network mount?)")


class RunLock:
    """The lock of one run. Raises NoLocks where the file system has none, OSError where the folder refuses."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name
        (folder := root / ".locks").mkdir(parents=True, exist_ok=True)
        # not of a thread: the epochs of a stack's seeds are saved side by side
        self._lock = filelock.FileLock(folder / f"{name}.lock", fallback_to_soft=False, thread_local=False)

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked

    def take(self, patience: float = 0.0) -> bool:
        """Take the lock; False where another holds it: at once where that one is writing, else after `patience`."""
        until = time.monotonic() + patience
        while True:
            try:
                self._lock.acquire(timeout=0)
                return True
            except filelock.Timeout:
                if writer_of(self._root, self._name) or time.monotonic() >= until:
                    return False
                time.sleep(_POLL)
            except (NotImplementedError, OSError) as error:
                if isinstance(error, NotImplementedError) or error.errno in _NONE:
                    raise NoLocks from None
                raise

    def sign(self) -> None:
        """Say that this process is writing the run; until then the lock is held, but nobody is at work."""
        note = {"host": platform.node(), "pid": os.getpid(), "born": _born(os.getpid())}
        with suppress(OSError):  # a note, no more: the lock is what keeps others out
            _note(self._root, self._name).write_text(json.dumps(note), encoding="utf-8")

    def free(self) -> None:
        """Give the lock back."""
        with suppress(OSError):
            _note(self._root, self._name).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held:
            self.free()


def writer_of(root: Path, name: str) -> str | None:
    """Return who writes a run now, as its note says, without touching the lock; None where nobody does."""
    try:
        note: Any = parse_json(_note(root, name).read_bytes())
        host, pid, born = str(note["host"]), int(note["pid"]), note["born"]
        age = time.time() - _note(root, name).stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    here = host == platform.node()
    if not (alive(pid) and born in (None, _born(pid))) if here else abs(age) > ELSEWHERE:
        return None
    return f"process {pid} on {host}"


def alive(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _note(root: Path, name: str) -> Path:
    return root / ".locks" / f"{name}.writer"


def _born(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did: a number that was given away again differs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
