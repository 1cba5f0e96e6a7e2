"""Which runs of a folder are queued or training on Slurm now, and how to stop them."""

from __future__ import annotations

import shutil

from dmd_repro.errors import DmdError
from dmd_repro.execution.slurm import commands
from dmd_repro.execution.slurm.commands import Task
from dmd_repro.execution.slurm.submission import Submission, submissions
from dmd_repro.records.folder import Records


def live_runs(records: Records) -> dict[str, tuple[Task, Submission]]:
    """Return, by run id, the task that is to make it; {} where nothing was submitted or no Slurm answers."""
    known = {one.name: one for one in submissions(records.root)}
    if not known or shutil.which("squeue") is None:
        return {}
    try:
        tasks = commands.queue(known)
    except DmdError:
        return {}
    return {
        job.run_id: (task, known[task.name])
        for task in tasks
        if task.index < len(known[task.name].stacks)
        for job in known[task.name].stacks[task.index]
        if records.get(job.run_id) is None
    }


def states(records: Records) -> dict[str, str]:
    """Return `training` or `queued` for each run of a live task."""
    return {run: "training" if task.runs else "queued" for run, (task, _) in live_runs(records).items()}


def cancel(records: Records, runs: list[str]) -> list[str]:
    """Cancel the tasks of these runs (all where none is named) and return their ids.

    Raises SpecError where there is no Slurm, RunError with Slurm's own sentence.
    """
    known = {one.name: one for one in submissions(records.root)}
    tasks = [
        task.id
        for task in commands.queue(known)
        if not runs or any(job.run_id in runs for job in known[task.name].stacks[task.index])
    ]
    commands.cancel(tasks)
    return tasks
