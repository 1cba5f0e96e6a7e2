"""What is said of a name that no stored feature set has: it may be a file, a published set, a data set, or misspelt."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from dmd_repro.errors import DataError

_ENDINGS = {".pkl", ".pickle", ".p", ".pt", ".pth", ".npz", ".npy", ".h5", ".hdf5", ".csd", ".mat", ".zip"}
GET_ONE = "Get one: dmd data download NAME (dmd data matrix lists them), or dmd data import FILE"


def unknown_set(name: str, root: Path, held: Sequence[str]) -> DataError:
    """Return the error on a name, with what to type for what it most likely means."""
    got, do = _judged(name, held)
    expected = f"one of those imported in {root}, or 'synthetic'"
    return DataError.at(f"feature set '{name}'"[:300], expected=expected, got=got, do=do)


def _judged(name: str, held: Sequence[str]) -> tuple[str, str]:
    """Return what a name is, and what to do."""
    if os.sep in name or Path(name).suffix.lower() in _ENDINGS or _is_file(name):
        return _file(name, held)
    if name.partition("-")[0] == "synthetic":
        return "generated data, which are never stored", "Name one of dmd data list"
    low = name.lower().replace("_", "-").removeprefix("cmu-")
    published = _published()
    as_listed = low.removesuffix("-hidden") + "-bert" if low.endswith("-hidden") else low
    if as_listed in published:
        return "one that is not there yet", f"Get it: dmd data download {as_listed}"
    if family := [n for n in (*held, *published) if n.startswith(f"{low}-")]:
        return "the name of a data set", f"Name one of its feature sets: {', '.join(dict.fromkeys(family))}"
    if close := difflib.get_close_matches(name, [*held, "synthetic"], n=1, cutoff=0.5):
        return "an unknown name", f"Did you mean '{close[0]}'?"
    if close := difflib.get_close_matches(low, published, n=1, cutoff=0.7):
        return "an unknown name", f"Did you mean '{close[0]}'? It is not there yet: dmd data download {close[0]}"
    if not held:
        return "an unknown name, and nothing is there yet", f"{GET_ONE}; or try the program with 'synthetic'"
    return "an unknown name", f"Known names: {', '.join([*held, 'synthetic'])}. {GET_ONE}"


def _file(name: str, held: Sequence[str]) -> tuple[str, str]:
    path = Path(name)
    if path.stem in held:
        return "a file", f"Did you mean '{path.stem}'?"
    if os.path.isdir(name):  # noqa: PTH112 (pathlib raises for an endless name)
        return "a folder", "Import a file of it first: dmd data import FILE --name NAME, and name that"
    if not _is_file(name):
        return "a file that is not there", "Check the path; import it first: dmd data import FILE --name NAME"
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.stem).lstrip("-_.") or "NAME"
    return "a file", f"Import it first, and name what was imported: dmd data import {name} --name {stem}"


def _is_file(name: str) -> bool:
    return os.path.isfile(name)  # noqa: PTH113 (pathlib raises for an endless name)


@cache
def _published() -> list[str]:
    from dmd_repro.data.download.sources import load_sources  # the list is read for a message alone

    return [name for name, source in load_sources().items() if source.kind == "features"]
