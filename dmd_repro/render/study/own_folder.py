"""A folder that this program made and may renew: known by its list of files, put in place as a whole.

A folder with anything else in it is refused and left as it is. What is removed is what the list names, unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from dmd_repro.disk import fsync_folder, parse_json, sentences
from dmd_repro.errors import SpecError

LIST = "study.json"  # in the folder: its files with their hashes
KIND, VERSION = "dmd study", 1


def check_folder(folder: Path) -> None:
    """Raise SpecError where a folder is there that is not empty and not one of ours alone, or cannot be one."""
    if not folder.name:
        raise SpecError.at(f"-o {folder}", expected="a folder of its own", got="this one", do="Name it: -o study")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise SpecError.at(str(folder), expected="a folder", got="a file", do="Name another folder with -o")
    with sentences(folder, "a folder that can be read", SpecError, "--output"):
        found = sorted(path.name for path in folder.iterdir())
    if found:
        _check_ours(folder)


def _check_ours(folder: Path) -> None:
    listed = listed_files(folder)
    if listed is None:
        raise SpecError.at(
            str(folder), expected="a new folder, an empty one or a study of before",
            got="a folder with other things in it", do="Name another with -o: nothing in it was touched",
        )  # fmt: skip
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if other := sorted(there - {*listed, LIST}):
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise SpecError.at(
            str(folder), expected="the files of a study alone", got=f"'{other[0]}'{more} among them",
            do="Move that out, or name another folder with -o: nothing was touched",
        )  # fmt: skip
    with sentences(folder, "a study that can be read", SpecError, "--output"):
        changed = sorted(name for name in there & set(listed) if digest((folder / name).read_bytes()) != listed[name])
    if changed:
        raise SpecError.at(
            str(folder), expected="a study as it was written", got=f"'{changed[0]}', which was changed since",
            do="Move the folder away, or name another with -o: nothing was touched",
        )  # fmt: skip


def listed_files(folder: Path) -> dict[str, str] | None:
    """Return the files that a study's list names, with their hashes; None where there is no such list."""
    try:
        document = parse_json((folder / LIST).read_bytes())
        files = document["files"]
        ours = document["kind"] == KIND and document["version"] == VERSION and isinstance(files, dict)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if ours and all(_inside(name) and isinstance(digest, str) for name, digest in files.items()) else None


def _inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts and name != LIST


def digest(content: bytes) -> str:
    """Return the sha256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def put_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a study's files in place as one: a new folder beside, then two renames; the old one's listed files go last.

    `files`: by path in the folder. Raises SpecError as `check_folder` does, or where it cannot be written: the old
    folder is then as it was.
    """
    folder = Path(os.path.realpath(folder))
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    content = {**files, LIST: _list(files)}
    with sentences(folder, "a folder that can be written", SpecError, "--output"):
        _take_up(folder)
        check_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            for name, data in content.items():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            if folder.is_dir() and any(folder.iterdir()):
                check_folder(folder)  # who put something in it meanwhile keeps it
                folder.rename(old)
                try:
                    new.rename(folder)
                except BaseException:
                    old.rename(folder)
                    raise
            else:
                new.rename(folder)  # over nothing, or over an empty folder
        finally:
            shutil.rmtree(new, ignore_errors=True)  # of our own making, under a name of our own
        fsync_folder(folder.parent)
        _clear(old)


def _take_up(folder: Path) -> None:
    """Finish what a process that was killed between the two renames, or before the last step, has left beside."""
    if not folder.parent.is_dir():
        return
    for path in sorted(folder.parent.iterdir()):
        if path.name.startswith(f".{folder.name}.") and path.name.endswith(".old") and listed_files(path) is not None:
            if folder.exists():
                _clear(path)
            else:
                path.rename(folder)


def _list(files: Mapping[str, bytes]) -> bytes:
    document = {"kind": KIND, "version": VERSION, "files": {name: digest(data) for name, data in sorted(files.items())}}
    return (json.dumps(document, indent=1) + "\n").encode()


def _clear(old: Path) -> None:
    """Remove what an old study's list names, and the folders that are empty then; all else stays."""
    if not old.is_dir():
        return
    for name in [*(listed_files(old) or {}), LIST]:
        with suppress(OSError):
            (old / name).unlink()
    for path in sorted((p for p in old.rglob("*") if p.is_dir()), reverse=True):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        old.rmdir()
