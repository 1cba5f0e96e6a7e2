"""Writing to disk so that a crash or a full disk leaves the old file or the new one, never half of one.

Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dmd_repro.errors import DmdError, RunError

_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk and run the same command again: finished work is kept",
    errno.EDQUOT: "Make room in your quota and run the same command again: finished work is kept",
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f) and run the same command again: finished work is kept",
    errno.EACCES: "Choose a folder you may write to",
    errno.EPERM: "Choose a folder you may write to",
    errno.EROFS: "Choose a folder on a disk that is not read-only",
    errno.ENOTDIR: "Choose a path no part of which is a file",
    errno.EEXIST: "Choose a path no part of which is a file",
    errno.EISDIR: "Choose the name of a file",
    errno.ENOENT: "Choose a path whose folder is there",
    errno.ELOOP: "Choose a path whose links end somewhere",
    errno.ENXIO: "Choose a file, or start what reads it first",
    errno.ENAMETOOLONG: "Choose a shorter name",
}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|\d+))/fd/(\d+)")


@contextmanager
def sentences(path: Path, what: str, kind: type[DmdError] = RunError, option: str = "") -> Iterator[None]:
    """Turn an OSError inside the block into one sentence of `kind` naming `path`, what was expected and the remedy.

    `option` is the command-line option that moves the folder elsewhere, named where the remedy is another folder.
    """
    try:
        yield
    except OSError as error:
        do = _REMEDIES.get(error.errno or 0, "Look at that path, then run the same command again")
        if option and do.startswith("Choose"):
            do += f" with {option}"
        got = error.strerror or type(error).__name__
        raise kind.at(str(path), expected=what, got=f"'{got}'", do=do) from error


def parse_json(text: str | bytes | bytearray) -> Any:
    """Read JSON of any origin; ValueError for all that is none, a nest too deep for Python's reader among it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists nested too deeply") from None


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename is only on disk once its folder is)."""
    if os.name == "nt":
        return  # a folder cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_name(path: Path, ending: str) -> Path:
    """Return the path with an ending and the first number that gives a name nothing has, a broken link included."""
    n = 1
    while os.path.lexists(target := path.with_name(f"{path.name}{ending}{n}")):
        n += 1
    return target


def write_output(path: Path, content: bytes | str) -> None:
    """Write what a user asked for to the place they named: in one step, unless that place is more than a plain file.

    Links are followed; a file keeps its mode and owner; a pipe or a terminal is written into, a disk is not. A file
    with several names, or whose owner cannot be kept, is written in place, since a new one would part it from them.
    Raises OSError, as `write_atomic` does.
    """
    content = _bytes(content)
    if not path.name:  # "", "." and "/"
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if (descriptor := _descriptor(path)) is not None:
        with os.fdopen(os.dup(descriptor), "wb") as stream:  # /dev/stdout: at its place, in its mode
            stream.write(content)
        return
    path = Path(os.path.realpath(path))
    try:
        found = path.stat()
    except FileNotFoundError:
        write_atomic(path, content)
        return
    if stat.S_ISDIR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        raise OSError(errno.EISDIR, "a folder is there" if stat.S_ISDIR(found.st_mode) else "a disk is there")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and _may_give(path.parent, found):
        write_atomic(path, content, like=found)
        return
    with path.open("wb") as stream:
        stream.write(content)


def _descriptor(path: Path) -> int | None:
    """Return the open file of this process that a path like /dev/stdout names."""
    name, seen = os.path.abspath(path), 0  # noqa: PTH100 (resolve would look through the descriptor)
    while seen < 40:
        if match := _DESCRIPTOR.fullmatch(name):
            mine = match.group(0).startswith(("/dev/", "/proc/self/", f"/proc/{os.getpid()}/"))
            return int(match.group(1)) if mine else None
        if not os.path.islink(name):  # noqa: PTH114
            return None
        name, seen = os.path.normpath(Path(name).parent / Path(name).readlink()), seen + 1
    return None


def _may_give(folder: Path, found: os.stat_result) -> bool:
    """Whether a new file in a folder can be given to the owner of the one it replaces."""
    if not hasattr(os, "geteuid"):
        return True
    own = found.st_uid == os.geteuid() and found.st_gid in {os.getegid(), *os.getgroups()}
    return (own or os.geteuid() == 0) and os.access(folder, os.W_OK)


def _bytes(content: bytes | str) -> bytes:
    """A traceback or a name may hold half a character, which UTF-8 cannot."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def write_atomic(path: Path, content: bytes | str, like: os.stat_result | None = None) -> None:
    """Replace `path` by `content` in one step. Raises OSError, with the old file untouched and no leftover.

    `like`: the file whose mode and owner the new one takes.
    """
    content = _bytes(content)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            if like is not None and hasattr(os, "fchown"):
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), like.st_uid, like.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(like.st_mode))
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)
