"""Files of a public Google Drive folder, by way of gdown: it knows Drive's folder pages and its confirmation page."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dmd_repro.data.download.http import Policy, web_page
from dmd_repro.data.download.sources import plain_name
from dmd_repro.errors import DataError


@dataclass(frozen=True, slots=True)
class DriveFile:
    """One file in a folder."""

    id: str
    path: str  # in the folder, with /


def listing(folder: str, policy: Policy) -> list[DriveFile]:
    """List the files of a public folder; DataError if it cannot be seen."""
    gdown = _gdown()
    try:
        found = gdown.download_folder(
            id=folder, skip_download=True, quiet=True, use_cookies=False, timeout=policy.timeout
        )
    except Exception as error:  # gdown raises what its parser and requests raise
        raise _unreachable(folder, error) from error
    files = [DriveFile(str(file.id), str(file.path).replace("\\", "/")) for file in found or ()]
    if not files:
        raise _unreachable(folder, None)
    return files


def choose(files: Sequence[DriveFile], file: str, within: str | None, folder: str) -> DriveFile:
    """Return the file of that name, `within` being a part of its path where one name stands in several folders.

    DataError naming what is there if it is not exactly one.
    """
    named = [f for f in files if PurePosixPath(f.path).name == file]
    fitting = [f for f in named if within is None or _parts_hold(f.path, within)]
    fitting = fitting or (named if len(named) == 1 else [])
    if len(fitting) == 1:
        return fitting[0]
    seen = [f.path for f in fitting or named or files]
    raise DataError.at(
        f"Drive folder {folder}",
        expected=f"one file {file}" + (f" of {within}" if within else ""),
        got=f"{len(fitting)}; it holds {', '.join(seen[:8])}"[:300],
        do="Download it in a browser and import it",
    )


def _parts_hold(path: str, word: str) -> bool:
    """Whether a folder on the path is called by a word: `mosi` is not found in `MOSEI` or `CMU-MOSEI`."""
    for part in PurePosixPath(path.lower()).parts[:-1]:
        if word in "".join(c if c.isalnum() else " " for c in part).split():
            return True
    return False


def safe_path(path: str) -> Path:
    """Return a path of the listing as one below a folder; DataError if it would climb out."""
    return Path(*(plain_name(part) for part in path.split("/") if part))


def fetch(
    file: DriveFile, final: Path, policy: Policy, on_bytes: Callable[[int, int], None] = lambda done, total: None
) -> str:
    """Download a file to a path, going on with what an earlier attempt left beside it; return its sha256.

    Raises DataError if Drive does not give it. OSError of the disk is the caller's.
    """
    gdown, digest = _gdown(), hashlib.sha256()
    final.parent.mkdir(parents=True, exist_ok=True)
    arriving = final.with_name(f"{final.name}.drive")  # gdown keeps its own partial file beside this name
    try:
        gdown.download(
            id=file.id,
            output=str(arriving),
            quiet=True,
            use_cookies=False,
            resume=True,
            timeout=policy.timeout,
            retries=policy.attempts,
            hasher=digest,
            progress=lambda done, total: on_bytes(done, total or 0),
        )
    except OSError as error:
        if error.errno is None:  # of requests, not of the disk
            raise _unreachable(file.path, error) from error
        raise
    except Exception as error:
        raise _unreachable(file.path, error) from error
    with arriving.open("rb") as stream:
        head = stream.read(100).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html")):
        arriving.unlink()
        raise web_page(f"Drive file {file.path}")
    with arriving.open("rb") as stream:  # also right where gdown found the whole file there and read nothing
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    arriving.replace(final)
    return sha256


def _unreachable(what: str, error: BaseException | None) -> DataError:
    said = " ".join(str(error).split())[:160] if error else "no file in it"
    return DataError.at(
        f"Drive: {what}",
        expected="a public folder or file",
        got=f"'{said}'",
        do="It may be over its quota for today, or have moved: open its page in a browser",
    )


def _gdown() -> Any:
    try:
        return importlib.import_module("gdown")
    except ImportError:
        raise DataError.at(
            "a Google Drive folder",
            expected="the package gdown, which reads them",
            got="none installed",
            do="Type: pip install gdown (or download the file in a browser and import it)",
        ) from None
