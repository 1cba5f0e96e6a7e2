"""Carrying out planned runs, one after the other in this process or side by side in others, with equal results.

Seeds of one configuration can go as a stack (`planning/stacks.py`): one model, a record each. Each run has its own
record and lock, so any process may die at any time: what it finished stays, the rest is taken up by the next command.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dmd_repro.data.features import Features
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, RunError
from dmd_repro.papers.datasets import read_datasets
from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import Stack, group
from dmd_repro.records.folder import Records, RunBusy

if TYPE_CHECKING:
    from dmd_repro.training.fit import EpochReport, Execution

log = logging.getLogger(__name__)
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

    With several workers each is a process of its own, and so it is on a GPU, where an error stays with its process;
    they end when this one does. Raises RunError where the disk refuses, which would stop every run alike; finished
    epochs are kept.
    """
    stacks = group(jobs, records, execution.stack)
    if stacks and (min(workers, len(stacks)) > 1 or execution.device != "cpu"):
        return _in_processes(stacks, records, store, execution, workers, on_event)
    failed = []
    for stack in stacks:
        for job in stack:
            on_event(Event("started", job))

        def tell(kind: Literal["epoch", "waiting"], seed: int, report: EpochReport | None, s: Stack = stack) -> None:
            on_event(Event(kind, _member(s, seed), report))

        texts = attempt_stack(stack, records, store, execution, tell)
        failed += [job.run_id for job in stack if texts[job.run_id] is not None]
        for job in stack:
            on_event(_ended(job, texts[job.run_id]))
    return failed


def _member(stack: Stack, seed: int) -> Job:
    return next(job for job in stack if job.spec.seed == seed)


def attempt_stack(
    stack: Stack,
    records: Records,
    store: Store,
    execution: Execution,
    tell: Callable[[Literal["epoch", "waiting"], int, EpochReport | None], None],
) -> dict[str, str | None]:
    """Train the seeds of a stack; return, by run id, None or the traceback under which it was recorded as FAILED.

    What breaks a stack may be one seed's fault, or another process may be at one of them: then each is tried alone,
    unless the device is gone.
    """
    from dmd_repro.training.execution import device_failure
    from dmd_repro.training.fit import fit_stack

    missing = [job for job in stack if records.get(job.run_id) is None]
    if len(missing) > 1:
        try:
            fit_stack(
                [job.spec for job in missing], _features(missing[0], store), records, execution=execution,
                on_epoch=lambda report: tell("epoch", report.seed, report),
            )  # fmt: skip
            return dict.fromkeys((job.run_id for job in stack), None)
        except RunBusy:
            pass
        except RunError:
            raise
        except Exception as error:
            if device_failure(execution):
                text = traceback.format_exc()
                return {job.run_id: _failed(job, records, text) for job in stack}
            log.warning("a stack of %d seeds failed (%s): each is trained alone", len(missing), error)
    texts: dict[str, str | None] = {}
    for job in stack:
        if any(texts.values()) and (reason := device_failure(execution)):  # what the others have finished is kept
            texts[job.run_id] = None if records.get(job.run_id) else f"the device failed: {reason}"
            continue
        texts[job.run_id] = attempt(
            job, records, store, execution,
            lambda report, seed=job.spec.seed: tell("epoch", seed, report),  # type: ignore[misc]
            lambda seed=job.spec.seed: tell("waiting", seed, None),  # type: ignore[misc]
        )  # fmt: skip
    return texts


def _failed(job: Job, records: Records, text: str) -> str | None:
    """Return the traceback a job FAILED with, None if it is done; recorded here if it broke before its record."""
    if records.get(job.run_id) is not None:
        return None
    if text.strip().rpartition("\n")[2] not in (records.failure(job.run_id) or ""):
        with records.begin(job.spec, job.stamp, {}) as writer:
            writer.fail(text)
    return text


def _features(job: Job, store: Store) -> Features:
    features = load_features(job.data, store, text=job.text)
    if features.digest != job.stamp.digest:
        raise DataError.at(
            f"feature set '{job.data}'", expected="the content it was planned on", got="another digest",
            do="Plan the table again",
        )  # fmt: skip
    return features


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
    from dmd_repro.training.fit import fit

    while records.get(job.run_id) is None:
        try:
            features = _features(job, store)
            fit(job.spec, features, records, execution=execution, on_epoch=on_epoch)
            return None
        except RunBusy:
            on_busy()
            time.sleep(POLL_SECONDS)
        except RunError:
            raise
        except Exception:
            return _failed(job, records, traceback.format_exc())
    return None


def _worker(pipe: Connection, runs: Path, data: Path, execution: Execution, number: int) -> None:
    """Serve stacks from the pipe until it closes, or the device can compute no more; on the card of this number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops us
    read_datasets()  # what a further paper's folder brings: it decides the metrics
    from dmd_repro.training.execution import device_failure, take_card

    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)  # an orphan would hold its lock against the command that takes over

    threading.Thread(target=watch, daemon=True).start()
    records, store = Records(runs), Store(data)
    if execution.device == "cuda":
        take_card(number)

    def tell(kind: str, payload: Any = None) -> None:
        try:
            pipe.send((kind, payload))
        except OSError:
            os._exit(1)  # the parent is gone; an exception here would be recorded as the run's own failure

    while True:
        try:
            stack = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            texts = attempt_stack(stack, records, store, execution, lambda kind, seed, r: tell(kind, (seed, r)))
            if any(texts.values()) and device_failure(execution):
                tell("device_failure", texts)
                return
            tell("ended", texts)
        except RunError as error:
            tell("refused", str(error))


def _in_processes(
    stacks: Sequence[Stack],
    records: Records,
    store: Store,
    execution: Execution,
    workers: int,
    on_event: Callable[[Event], None],
) -> list[str]:
    from dmd_repro.training.execution import cards

    context = multiprocessing.get_context("spawn")  # a fork would copy torch's thread pools in an unknown state
    waiting, failed = deque(stacks), []
    active: dict[Connection, tuple[multiprocessing.process.BaseProcess, Stack]] = {}
    numbers: dict[Connection, int] = {}  # of the workers: which card each takes
    side = min(workers, len(stacks))
    execution = replace(execution, sharers=-(-side // cards(execution.device)))

    def start(number: int) -> None:
        ours, theirs = context.Pipe()
        arguments = (theirs, records.root, store.root, execution, number)
        process = context.Process(target=_worker, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        numbers[ours] = number
        give(ours, process)

    def give(pipe: Connection, process: multiprocessing.process.BaseProcess) -> None:
        if not waiting:
            pipe.close()
            process.join(timeout=10)
            return
        stack = waiting.popleft()
        active[pipe] = process, stack
        for job in stack:
            on_event(Event("started", job))
        with suppress(OSError):  # the process is dead already: its end of the pipe tells, below
            pipe.send(stack)

    try:
        for number in range(side):
            start(number)
        while active:
            for pipe in wait(list(active)):
                assert isinstance(pipe, Connection)
                process, stack = active[pipe]
                try:
                    kind, payload = pipe.recv()
                except (EOFError, OSError):
                    del active[pipe]
                    process.join(timeout=10)
                    for job in stack:  # of a stack, some seeds may have been finished before
                        if records.get(job.run_id) is not None:
                            on_event(Event("finished", job))
                            continue
                        failed.append(job.run_id)
                        on_event(Event("failed", job, message=_death(process.exitcode)))
                    if waiting:
                        start(numbers[pipe])
                    continue
                if kind == "refused":
                    raise RunError(payload)
                if kind in ("ended", "device_failure"):
                    del active[pipe]
                    failed += [job.run_id for job in stack if payload[job.run_id] is not None]
                    for job in stack:
                        on_event(_ended(job, payload[job.run_id]))
                    if kind == "ended":
                        give(pipe, process)
                        continue
                    pipe.close()
                    process.join(timeout=10)
                    if waiting:  # a new process may find the device well
                        start(numbers[pipe])
                else:
                    seed, report = payload
                    on_event(Event(kind, _member(stack, seed), report))
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
        hint = ", often because memory ran out: try fewer --jobs" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}; the next attempt resumes from its last epoch"
    return f"its process ended with code {code}; the next attempt resumes from its last epoch"
