"""Carrying out planned runs, one after the other in this process or side by side in others, with equal results.

Each run has its own record and lock, so any process may die at any time: what it finished stays, the rest is taken up
by the next command.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dmd_repro.data.resolve import load_features
from dmd_repro.data.store import Store
from dmd_repro.errors import DataError, RunError
from dmd_repro.grid import Job
from dmd_repro.records import Records, RunBusy

if TYPE_CHECKING:
    from dmd_repro.training import EpochReport, Execution

POLL_SECONDS = 0.5  # how soon a worker notices that its parent is gone, and how often a busy run is looked at again


@dataclass(frozen=True, slots=True)
class Event:
    """Something a progress display is told."""

    kind: Literal["started", "waiting", "epoch", "finished", "failed"]
    job: Job
    report: EpochReport | None = None  # of an epoch
    message: str = ""  # of a failure: the last line of its traceback


def run_jobs(
    jobs: Sequence[Job],
    records: Records,
    store: Store,
    *,
    execution: Execution,
    workers: int = 1,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[str]:
    """Train the jobs and return the ids of those that FAILED (recorded with their traceback; the others go on).

    With several workers each is a process of its own; they end when this one does. Raises RunError where the disk
    refuses, which would stop every run alike; finished epochs are kept.
    """
    if min(workers, len(jobs)) > 1:
        return _in_processes(jobs, records, store, execution, workers, on_event)
    failed = []
    for job in jobs:
        on_event(Event("started", job))

        def said(report: EpochReport, job: Job = job) -> None:
            on_event(Event("epoch", job, report))

        def busy(job: Job = job) -> None:
            on_event(Event("waiting", job))

        text = attempt(job, records, store, execution, said, busy)
        if text is not None:
            failed.append(job.run_id)
        on_event(_ended(job, text))
    return failed


def _ended(job: Job, text: str | None) -> Event:
    return Event("finished", job) if text is None else Event("failed", job, message=text.strip().rpartition("\n")[2])


def attempt(
    job: Job,
    records: Records,
    store: Store,
    execution: Execution,
    on_epoch: Callable[[EpochReport], None],
    on_busy: Callable[[], None] = lambda: None,
) -> str | None:
    """Train one job; return None, or the traceback under which it was recorded as FAILED. RunError: the disk refuses.

    A run that another process is training is waited for and its result used.
    """
    from dmd_repro.training import fit

    while records.get(job.run_id) is None:
        try:
            features = load_features(job.data, store, text=job.text)
            if features.digest != job.stamp.digest:
                raise DataError.at(
                    f"feature set '{job.data}'", expected="the content it was planned on", got="another digest",
                    do="Plan the table again",
                )  # fmt: skip
            fit(job.spec, features, records, execution=execution, on_epoch=on_epoch)
            return None
        except RunBusy:
            on_busy()
            time.sleep(POLL_SECONDS)
        except RunError:
            raise
        except Exception:
            text = traceback.format_exc()
            if text.strip().rpartition("\n")[2] not in (
                records.failure(job.run_id) or ""
            ):  # it broke before its record
                with records.begin(job.spec, job.stamp, {}) as writer:
                    writer.fail(text)
            return text
    return None


def _worker(pipe: Connection, runs: Path, data: Path, execution: Execution) -> None:
    """Serve jobs from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops us
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)  # an orphan would hold its lock against the command that takes over

    threading.Thread(target=watch, daemon=True).start()
    records, store = Records(runs), Store(data)

    def tell(kind: str, payload: Any = None) -> None:
        try:
            pipe.send((kind, payload))
        except OSError:
            os._exit(1)  # the parent is gone; an exception here would be recorded as the run's own failure

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            text = attempt(job, records, store, execution, lambda r: tell("epoch", r), lambda: tell("waiting"))
            tell("ended", text)
        except RunError as error:
            tell("refused", str(error))


def _in_processes(
    jobs: Sequence[Job],
    records: Records,
    store: Store,
    execution: Execution,
    workers: int,
    on_event: Callable[[Event], None],
) -> list[str]:
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's thread pools in an unknown state
    waiting, failed = deque(jobs), []
    active: dict[Connection, tuple[multiprocessing.process.BaseProcess, Job]] = {}

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs, records.root, store.root, execution), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        give(ours, process)

    def give(pipe: Connection, process: multiprocessing.process.BaseProcess) -> None:
        if not waiting:
            pipe.close()
            process.join(timeout=10)
            return
        job = waiting.popleft()
        active[pipe] = process, job
        on_event(Event("started", job))
        with suppress(OSError):  # the process is dead already: its end of the pipe tells, below
            pipe.send(job)

    try:
        for _ in range(min(workers, len(jobs))):
            start()
        while active:
            for pipe in wait(list(active)):
                assert isinstance(pipe, Connection)
                process, job = active[pipe]
                try:
                    kind, payload = pipe.recv()
                except (EOFError, OSError):
                    del active[pipe]
                    process.join(timeout=10)
                    failed.append(job.run_id)
                    on_event(Event("failed", job, message=_death(process.exitcode)))
                    if waiting:
                        start()
                    continue
                if kind == "refused":
                    raise RunError(payload)
                if kind == "ended":
                    del active[pipe]
                    if payload is not None:
                        failed.append(job.run_id)
                    on_event(_ended(job, payload))
                    give(pipe, process)
                else:
                    on_event(Event(kind, job, payload))
    finally:
        for process, _ in active.values():
            process.terminate()
        for process, _ in active.values():
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
    return failed


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", often for want of memory: try fewer --jobs" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}; the next attempt goes on from its last epoch"
    return f"its process ended with code {code}; the next attempt goes on from its last epoch"
