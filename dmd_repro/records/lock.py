"""The one writer of a run: an OS lock, which dies with its process, and a lease that says who holds it.

Who only looks reads the lease and never touches the lock: a writer that begins at that instant must not fail. Where
the file system has no locks, or has them for one machine alone, the lease keeps others out.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from dmd_repro.records.lease import Lease, holder_of

PATIENCE = 5.0  # seconds a writer waits for who holds the lock without writing: a repair, for the time of a rename
_POLL = 0.02
_NONE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}  # what a mount without locks says


class RunLock:
    """The lock of one run. Methods raise OSError where the folder refuses."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name
        (folder := root / ".locks").mkdir(parents=True, exist_ok=True)
        # not of a thread: the epochs of a stack's seeds are saved side by side
        self._lock = filelock.FileLock(folder / f"{name}.lock", fallback_to_soft=False, thread_local=False)
        self._lease = Lease(_lease(root, name))

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked or self._lease.held

    def still_ours(self) -> bool:
        """Whether no other writer took it: True while it is held, but on a machine that slept for minutes."""
        return self._lease.ours()

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
                    return self._lease.take()
                raise

    def sign(self) -> bool:
        """Say that this process is writing the run; False where one that this lock does not reach is writing it."""
        return self._lease.held or self._lease.take()

    def alone(self) -> bool:
        """Whether no writer is at work that this lock does not reach."""
        return self._lease.held or writer_of(self._root, self._name) is None

    def free(self) -> None:
        """Give the lock back."""
        if self._lease.held:
            self._lease.free()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held:
            self.free()


def writer_of(root: Path, name: str) -> str | None:
    """Return who writes a run now, as its lease says, without touching the lock; None where nobody does."""
    holder = holder_of(_lease(root, name))
    return holder.words if holder else None


def _lease(root: Path, name: str) -> Path:
    return root / ".locks" / f"{name}.writer"
