"""What one task of an array does: train its stack, and requeue itself before its time limit.

`python -m dmd_repro.execution.slurm.task FOLDER INDEX`, on a node.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from dmd_repro.data.store.folder import Store
from dmd_repro.disk import parse_json, write_atomic
from dmd_repro.errors import DmdError
from dmd_repro.execution.attempt import Event
from dmd_repro.execution.slurm.submission import Submission, epochs_of
from dmd_repro.execution.workers import in_this_process
from dmd_repro.papers.datasets import read_datasets
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records
from dmd_repro.records.provenance import COMMAND

MOST_IDLE = 2  # starts in a row without a new epoch after which a task is stopped


class TimeIsUp(BaseException):
    """The time limit is near. No Exception: what is being trained must not be recorded as FAILED."""


def main(arguments: list[str]) -> int:
    """Carry out one stack; return the exit code: 0 done, 1 FAILED or stopped, 2 refused in a sentence."""
    folder, index = Path(arguments[0]), int(arguments[1])
    try:
        one = Submission.load(folder)
        os.environ.update(one.environment, **{COMMAND: one.command})
        read_datasets()
        one.execution.prepare()
        return carry_out(one, index)
    except DmdError as error:
        print(f"dmd: {error}", flush=True)  # noqa: T201
        return 2


def carry_out(one: Submission, index: int) -> int:
    """Train a stack of a submission until it is done or the time is up."""
    records, store, stack = Records(one.folder.parent.parent), Store(one.data), one.stacks[index]
    before = epochs_of(records, stack)
    idle = _idle_starts(one.folder / f"{index}.starts.json", before)
    signal.signal(signal.SIGUSR1, _stop)
    try:
        failed = in_this_process([stack], records, store, one.execution, _say)
        return 1 if failed else 0
    except TimeIsUp:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if epochs_of(records, stack) == before and idle >= MOST_IDLE:
        _give_up(records, stack)
        return 1
    return _requeue()


def _stop(number: int, frame: FrameType | None) -> None:
    raise TimeIsUp


def _idle_starts(path: Path, epochs: int) -> int:
    """Note a start at so many finished epochs; return how many starts in a row, this one too, began with as many."""
    try:
        starts = [int(n) for n in parse_json(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        starts = []
    starts.append(epochs)
    write_atomic(path, str(starts))
    return next((n for n, then in enumerate(reversed(starts)) if then != epochs), len(starts))


def _give_up(records: Records, stack: Stack) -> None:
    """Record the runs that are not done as FAILED: a task that never ends an epoch would be requeued for ever."""
    why = f"TimeoutError: {MOST_IDLE} starts in a row ended no epoch within the time limit: ask for more with --time"
    print(why, flush=True)  # noqa: T201
    for job in stack:
        if records.get(job.run_id) is None:
            with records.begin(job.spec, job.stamp, {}) as writer:
                writer.fail(f"{why}\n")


def _requeue() -> int:
    """Ask Slurm to start this task again, and wait for the end it then makes."""
    # SLURM_JOB_ID is the whole array's id in one of its tasks: that would requeue all of them
    me = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    print("time is up: requeued, finished epochs are kept", flush=True)  # noqa: T201
    done = subprocess.run(["scontrol", "requeue", me], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"dmd: Slurm did not requeue this task: {done.stderr.strip()}", flush=True)  # noqa: T201
        return 1
    time.sleep(600.0)
    return 1


def _say(event: Event) -> None:
    """Write what happens into the task's log."""
    at = f"{time.strftime('%H:%M:%S')} {event.job.run_id} seed {event.job.spec.seed} {event.kind}"
    if event.report is not None:
        at += f" {event.report.epoch}: valid loss {event.report.valid_loss:.4f}, {event.report.seconds:.1f} s"
    print(f"{at} {event.message}".rstrip(), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
