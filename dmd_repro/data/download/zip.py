"""Take the wanted files out of an archive, by their plain names, never by a path the archive names."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from dmd_repro.data.download.part import RESERVE
from dmd_repro.data.store.disk import size_text
from dmd_repro.errors import DataError

_PIECE = 1 << 20
_RATIO = 200  # unpacked over packed bytes beyond which it is no archive of features


def take(
    archive: Path, names: Iterable[str], folder: Path, on_bytes: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, tuple[Path, str]]:
    """Unpack the members called by one of the names into a folder: {name: (path, sha256)} of those there were.

    Each is written apart and named when whole. Raises DataError if the archive is damaged, encrypted, or unfolds to
    more than its claims or the disk hold; OSError is the caller's.
    """
    wanted, found = set(names), {}
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [info for info in opened.infolist() if not info.is_dir()]
            members = [(PurePosixPath(info.filename.replace("\\", "/")).name, info) for info in files]
            members = [(name, info) for name, info in members if name in wanted]
            for name, count in Counter(name for name, _ in members).items():
                if count > 1:
                    raise _bad(archive, f"one {name}", f"{count} of them")
            for name, info in members:
                found[name] = _unpack(opened, info, folder / name, archive, on_bytes)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _bad(archive, "a whole zip archive", f"a damaged one ({str(error)[:80]})") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "_lzma", "lzma"):  # their error of damaged data
            raise _bad(archive, "a whole zip archive", f"a damaged one ({str(error)[:80]})") from error
        raise
    return found


def _unpack(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, final: Path, archive: Path, on_bytes: Callable[[int, int], None]
) -> tuple[Path, str]:
    if info.flag_bits & 1:
        raise _bad(archive, "files that can be read", "an encrypted one")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _bad(archive, "plain files", f"a link called {final.name}")
    if info.file_size > max(_RATIO * info.compress_size, 1 << 20):
        raise _bad(archive, "features, which hardly shrink", f"{final.name}, which unfolds {_RATIO}-fold")
    if shutil.disk_usage(final.parent).free < info.file_size + RESERVE:
        raise DataError.at(
            str(final.parent),
            expected=f"{size_text(info.file_size + RESERVE)} of free space to unpack {final.name}",
            got=f"{size_text(shutil.disk_usage(final.parent).free)}",
            do="Free some, or choose another folder with --data-dir",
        )
    apart, digest, done = final.with_name(f"{final.name}.unpacking"), hashlib.sha256(), 0
    try:
        with opened.open(info) as source, apart.open("wb") as target:
            while piece := source.read(_PIECE):  # zipfile itself stops at the stated size and checks the CRC
                done += len(piece)
                digest.update(piece)
                target.write(piece)
                on_bytes(done, info.file_size)
            target.flush()
            os.fsync(target.fileno())
        apart.replace(final)
    except BaseException:
        apart.unlink(missing_ok=True)
        raise
    return final, digest.hexdigest()


def _bad(archive: Path, expected: str, got: str) -> DataError:
    return DataError.at(str(archive), expected=expected, got=got, do="Download it again")
