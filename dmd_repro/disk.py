"""Writing to disk so that a crash or a full disk leaves the old file or the new one, never half of one.

Standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dmd_repro.errors import DmdError, RunError

_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk and type the same command again: finished work is kept",
    errno.EDQUOT: "Make room in your quota and type the same command again: finished work is kept",
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f) and type the same command again: finished work is kept",
    errno.EACCES: "Choose a folder you may write to",
    errno.EPERM: "Choose a folder you may write to",
    errno.ENOLCK: "Choose a folder on a local disk",
    errno.EROFS: "Choose a folder on a disk that is not read-only",
    errno.ENOTDIR: "Choose a path no part of which is a file",
    errno.EEXIST: "Choose a path no part of which is a file",
}


@contextmanager
def sentences(path: Path, what: str, kind: type[DmdError] = RunError, option: str = "") -> Iterator[None]:
    """Turn an OSError inside the block into one sentence of `kind` naming `path`, what was expected and the remedy.

    `option` is the command-line option that moves the folder elsewhere, named where the remedy is another folder.
    """
    try:
        yield
    except OSError as error:
        do = _REMEDIES.get(error.errno or 0, "Look at that path, then type the same command again")
        if option and do.startswith("Choose"):
            do += f" with {option}"
        got = error.strerror or type(error).__name__
        raise kind.at(str(path), expected=what, got=f"'{got}'", do=do) from error


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename is only on disk once its folder is)."""
    if os.name == "nt":
        return  # a folder cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` in one step. Raises OSError, with the old file untouched and no leftover."""
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)
