"""What the store asks of the disk: one writer at a time, no links, refusals as sentences, and what was verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dmd_repro.errors import DataError


@contextmanager
def disk(path: Path, do: str) -> Iterator[None]:
    """Turn an OSError inside the block into a DataError that ends with `do`."""
    try:
        yield
    except OSError as error:
        raise DataError.at(
            str(error.filename or path),
            expected="a folder that can be read and written",
            got=error.strerror or str(error),
            do=do,
        ) from error


@contextmanager
def alone(path: Path, what: str = "other import under this name") -> Iterator[None]:
    """Hold the lock file `path`, which dies with the process; DataError if another has it, or if locks do not work."""
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError.at(
            str(path), expected=f"no {what}", got="one at work", do="Wait until it has finished"
        ) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise DataError.at(
            str(path.parent),
            expected="a disk that can lock files",
            got="one that cannot (a network mount?)",
            do="Choose a folder on a local disk with --data-dir",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _numbers(*names: str) -> frozenset[int]:
    import errno

    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


_NO_LOCKS = _numbers("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")


def no_link(*paths: Path) -> None:
    """Raise DataError if one of the paths is a symbolic link: what is behind it is not the store's to change."""
    for path in paths:
        if path.is_symlink():
            raise DataError.at(
                str(path),
                expected="a file or folder of the store itself",
                got="a symbolic link",
                do="Remove the link and import the file here, or name the other folder with --data-dir",
            )


def size_text(n: int) -> str:
    """Return a number of bytes in the unit that fits: 1.2 GB, 35.0 MB, 0.4 KB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n / 1e3:.1f} KB"


def write_text(path: Path, text: str) -> None:
    """Write a new file and flush it to the disk."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class KnownDigests:
    """Which arrays this process has found to have their digest, as long as their files stay as they were."""

    def __init__(self) -> None:
        self._known: set[tuple[object, ...]] = set()

    def holds(self, path: Path, array: str, digest: str) -> bool:
        return self._key(path, array, digest) in self._known

    def add(self, path: Path, array: str, digest: str) -> None:
        self._known.add(self._key(path, array, digest))

    @staticmethod
    def _key(path: Path, array: str, digest: str) -> tuple[object, ...]:
        facts = path.stat()
        return str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, array, digest


verified = KnownDigests()
