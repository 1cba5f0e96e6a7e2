"""What is damaged or left over in a folder of runs, and how to mend it: nothing is deleted that could still count.

A damaged record is moved aside (`<run_id>.damaged-1`), so that the next `dmd reproduce` or `dmd train` makes the run
again; leftovers of killed commands go. What cannot be read is named and stays where it is.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmd_repro.disk import free_name, sentences
from dmd_repro.errors import DmdError, RunError, Unreadable
from dmd_repro.planning.plans import list_plans, plans_dir
from dmd_repro.records.folder import Records
from dmd_repro.records.lease import alive
from dmd_repro.records.lock import RunLock, writer_of
from dmd_repro.records.writer import ASIDE, RESUME, read_resume

YOUNG = 600.0  # seconds in which a half-written file outside a run may be another machine's at work
_REMOVED = re.compile(r"\.[0-9a-f]{12}(\.tmp|\.failed)?\.removed")  # what `dmd runs rm` leaves when it is killed
_LEFT = re.compile(r"\..+\.(\d+)\.part")  # what `disk.write_atomic` leaves when it is killed, with its process
Kind = Literal["damaged", "unreadable", "unfinished", "plan", "leftover"]
Verify = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is not as it should be."""

    where: str  # run id, or the file
    kind: Kind
    problem: str
    remedy: str  # what --repair does
    path: Path
    run: str = ""  # whose lock keeps others away while it is mended


def troubles(records: Records, verify: Verify | None = None) -> list[Trouble]:
    """Look at every run, plan and stray file; RunError if the folder cannot be read. Runs at work are left alone.

    `verify` says what is wrong with a finished run (`records.verify`). No lock is touched.
    """
    check = verify or records.verify
    with sentences(records.root, "a folder that can be read", RunError, "--runs-dir"):
        found = [trouble for name in records.run_ids() for trouble in _of_run(records, name, check)]
        return found + list(_plans(records.root)) + list(_strays(records.root))


def _of_run(records: Records, name: str, verify: Verify, mine: bool = False) -> Iterator[Trouble]:
    """Yield what is wrong with one run; `mine`: the caller holds its lock, so nobody is at work."""
    home, partial, failed = (records.root / f"{name}{end}" for end in ("", ".tmp", ".failed"))
    at_work = not mine and writer_of(records.root, name) is not None
    try:
        problems = verify(name) if home.exists() else []
        if problems:
            yield Trouble(name, "damaged", " ".join(problems), "moved aside; the next plan trains it again", home, name)
        elif home.exists() and (home / RESUME).exists():
            said = "the state of an interrupted run in a finished record"
            yield Trouble(name, "leftover", said, "removed", home / RESUME, name)
        if home.exists() and not problems and not at_work:
            for other in (partial, failed):
                if other.exists():
                    said = f"{other.name} beside the finished record"
                    yield Trouble(name, "leftover", said, "removed", other, name)
        elif partial.exists() and not at_work:
            yield from _unfinished(name, partial)
        if not at_work:
            for folder in (home, partial, failed):
                for path in sorted(folder.glob(".*.part")) if folder.is_dir() else ():
                    if _LEFT.fullmatch(path.name):
                        said = f"a half-written file in {folder.name}"
                        yield Trouble(path.name, "leftover", said, "removed", path, name)
    except Unreadable as error:
        yield Trouble(name, "unreadable", str(error), "left where it is", home, name)
    except (DmdError, OSError) as error:
        yield Trouble(name, "unreadable", f"{home}: {error}", "left where it is", home, name)


def _unfinished(name: str, path: Path) -> Iterator[Trouble]:
    state = path / RESUME
    if not state.exists():
        return
    try:
        read_resume(state)
    except Unreadable:
        raise
    except RunError as error:
        yield Trouble(name, "unfinished", str(error), "its state is removed: it starts afresh", state, name)


def _plans(root: Path) -> Iterator[Trouble]:
    for path in sorted(plans_dir(root).glob("*--*.json")):
        yield from _plan(root, path)


def _plan(root: Path, path: Path) -> Iterator[Trouble]:
    try:
        list_plans(root, only=path)
    except Unreadable as error:
        yield Trouble(path.name, "unreadable", str(error), "left where it is", path)
    except RunError as error:
        yield Trouble(path.name, "plan", str(error), "moved aside; plan the table again", path)


def _strays(root: Path) -> Iterator[Trouble]:
    for path in sorted(root.glob(".*.removed")) if root.is_dir() else ():
        if _REMOVED.fullmatch(path.name):
            yield Trouble(path.name, "leftover", "a run whose removal was interrupted", "removed", path)
    for place in (root, plans_dir(root), root / ".locks"):
        for path in sorted(place.glob(".*.part")) if place.is_dir() else ():
            if _is_left(path):
                yield Trouble(path.name, "leftover", f"a half-written file in {place.name}", "removed", path)


def _is_left(path: Path) -> bool:
    """Whether nobody is still writing a file: its process is gone, and it has not changed for a while."""
    match = _LEFT.fullmatch(path.name)
    with suppress(OSError):
        return bool(match) and not alive(int(match[1])) and abs(time.time() - path.stat().st_mtime) > YOUNG  # type: ignore[index]
    return False


def repair(records: Records, found: list[Trouble]) -> list[str]:
    """Do what each trouble's remedy says and return the lines that tell it. RunError if the disk refuses.

    Under the run's lock, and only if the trouble is still there: another command may have mended it in the meantime.
    """
    done = []
    for trouble in found:
        if trouble.kind == "unreadable":
            done.append(f"{trouble.where}: left where it is, for it cannot be read")
            continue
        with sentences(trouble.path, "a folder that can be written", RunError, "--runs-dir"):
            if not trouble.run:
                done.append(_mend(records, trouble))
                continue
            with RunLock(records.root, trouble.run) as lock:
                taken = lock.take() and lock.alone()
                done.append(_mend(records, trouble) if taken else f"{trouble.where}: left alone, a process is at it")
    return done


def _mend(records: Records, trouble: Trouble) -> str:
    path = trouble.path
    if not any((now.kind, now.path) == (trouble.kind, path) for now in _again(records, trouble)):
        return f"{trouble.where}: in order by now, left alone"
    if trouble.kind in ("damaged", "plan"):
        target = free_name(path, ASIDE)
        path.rename(target)
        return f"{trouble.where}: moved to {target.name}"
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return f"{trouble.where}: removed {path.name}"


def _again(records: Records, trouble: Trouble) -> Iterator[Trouble]:
    if trouble.run:
        return _of_run(records, trouble.run, records.verify, mine=True)
    return _plan(records.root, trouble.path) if trouble.kind == "plan" else _strays(records.root)
