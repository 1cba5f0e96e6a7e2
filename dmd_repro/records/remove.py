"""Removing a run for good: under its lock, gone at once by a new name, so that a kill leaves the whole run or none.

The table a run belongs to keeps it in its plan: a report shows it as missing, and the next `dmd reproduce` trains it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dmd_repro.disk import fsync_folder, sentences
from dmd_repro.errors import RunError
from dmd_repro.planning.plans import list_plans
from dmd_repro.records.folder import Records, RunBusy
from dmd_repro.records.lock import RunLock, writer_of

REMOVED = ".removed"  # the ending of what is on its way out
_FOLDERS = (".tmp", ".failed", "")  # the finished record last: without it the others would be the run


def refuse_busy(records: Records, run_id: str) -> None:
    """Raise RunBusy if a process is writing a run."""
    if writer := writer_of(records.root, run_id):
        raise RunBusy.at(
            f"run {run_id}", expected="one that nobody is at", got=f"{writer} at work on it",
            do="Wait until it has finished, or end it",
        )  # fmt: skip


def counted_by(records: Records, run_id: str) -> list[str]:
    """Return which tables count a run: `table1 (mosi-aligned-bert-dmd)`, one for each plan that names it."""
    found = []
    for plan in list_plans(records.root):
        if rows := [key for key, row in plan.rows.items() if run_id in row.runs.values()]:
            found.append(f"{plan.table} ({', '.join(rows[:3])}{', ...' if len(rows) > 3 else ''})")
    return list(dict.fromkeys(found))


def remove(records: Records, run_id: str) -> None:
    """Remove a run of any status. Raises RunBusy if a process is at it, RunError if the disk refuses."""
    with (
        sentences(records.root, "a folder that can be written", RunError, "--runs-dir"),
        RunLock(records.root, run_id) as lock,
    ):
        if not (lock.take() and lock.sign()):
            refuse_busy(records, run_id)
            raise RunBusy.at(f"run {run_id}", expected="one that nobody is at", got="its lock taken", do="Try again")
        folders = [records.root / f"{run_id}{ending}" for ending in _FOLDERS]
        for folder in folders:
            _delete(_aside(folder))  # left by a kill
            if folder.exists() or folder.is_symlink():
                folder.rename(_aside(folder))
        fsync_folder(records.root)
        for folder in folders:
            _delete(_aside(folder))


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{REMOVED}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
