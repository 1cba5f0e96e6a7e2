"""What is damaged or left over in a folder of runs, and how to mend it: nothing is deleted that could still count.

A damaged record is moved aside (`<run_id>.damaged-1`), so that the next `dmd reproduce` or `dmd train` makes the run
again; leftovers of killed commands go.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from dmd_repro.disk import sentences
from dmd_repro.errors import RunError
from dmd_repro.planning.plans import list_plans, plans_dir
from dmd_repro.records.folder import Records
from dmd_repro.records.writer import RESUME, read_resume

_ASIDE = ".damaged-"
_LEFT = re.compile(r"\..+\.part")  # what `disk.write_atomic` leaves when it is killed


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not as it should be."""

    where: str  # run id, or the file
    kind: str  # damaged | unfinished | plan | leftover
    problem: str
    remedy: str  # what --repair does
    path: Path


def troubles(records: Records) -> list[Trouble]:
    """Look at every run, plan and stray file; RunError if the folder cannot be read. Runs at work are left alone."""
    with sentences(records.root, "a folder that can be read", RunError, "--runs-dir"):
        return list(_runs(records)) + list(_plans(records.root)) + list(_leftovers(records))


def _runs(records: Records) -> Iterator[Trouble]:
    for name in records.run_ids():
        home, partial, failed = (records.root / f"{name}{end}" for end in ("", ".tmp", ".failed"))
        if home.exists():
            problems = records.verify(name)
            if problems:
                remedy = "moved aside; the next plan trains it again"
                yield Trouble(name, "damaged", " ".join(problems), remedy, home)
            elif (home / RESUME).exists():
                yield Trouble(
                    name, "leftover", "the state of an interrupted run in a finished record", "removed", home / RESUME
                )
            for other in (partial, failed):
                if other.exists() and not problems and not _busy(records, name):
                    yield Trouble(name, "leftover", f"{other.name} beside the finished record", "removed", other)
        elif partial.exists() and not _busy(records, name):
            yield from _unfinished(name, partial)


def _unfinished(name: str, path: Path) -> Iterator[Trouble]:
    state = path / RESUME
    if not state.exists():
        return
    try:
        read_resume(state)
    except RunError as error:
        yield Trouble(name, "unfinished", str(error), "its state is removed: it starts afresh", state)


def _plans(root: Path) -> Iterator[Trouble]:
    for path in sorted(plans_dir(root).glob("*--*.json")):
        try:
            list_plans(root, only=path)
        except RunError as error:
            yield Trouble(path.name, "plan", str(error), "moved aside; plan the table again", path)


def _leftovers(records: Records) -> Iterator[Trouble]:
    if not records.root.is_dir():
        return
    places = [
        records.root,
        plans_dir(records.root),
        *(p for p in records.root.iterdir() if p.is_dir() and _ASIDE not in p.name),
    ]
    for place in places:
        name = place.name.split(".")[0]
        for path in sorted(place.glob(".*.part")) if place.is_dir() else ():
            if _LEFT.fullmatch(path.name) and not _busy(records, name):
                yield Trouble(path.name, "leftover", f"a half-written file in {place.name}", "removed", path)


def repair(records: Records, found: list[Trouble]) -> list[str]:
    """Do what each trouble's remedy says and return the lines that tell it. RunError if the disk refuses."""
    done = []
    for trouble in found:
        with sentences(trouble.path, "a folder that can be written", RunError, "--runs-dir"):
            if trouble.kind in ("damaged", "plan"):
                target = _aside(trouble.path)
                trouble.path.rename(target)
                done.append(f"{trouble.where}: moved to {target.name}")
            elif trouble.path.is_dir():
                shutil.rmtree(trouble.path)
                done.append(f"{trouble.where}: removed {trouble.path.name}")
            else:
                trouble.path.unlink(missing_ok=True)
                done.append(f"{trouble.where}: removed {trouble.path.name}")
    return done


def _aside(path: Path) -> Path:
    n = 1
    while (target := path.with_name(f"{path.name}{_ASIDE}{n}")).exists():
        n += 1
    return target


def _busy(records: Records, name: str) -> bool:
    """Whether a process is writing this run."""
    path = records.root / ".locks" / f"{name}.lock"
    if not path.exists():
        return False
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False
