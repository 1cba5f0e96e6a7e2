"""Stacks of runs side by side in processes of their own, which end when this one does."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import RunError
from dmd_repro.execution.attempt import POLL_SECONDS, Event, attempt_stack, member, say_waiting, settle
from dmd_repro.execution.places import Place
from dmd_repro.execution.queue import Queue
from dmd_repro.papers.datasets import read_datasets
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records

log = logging.getLogger(__name__)
MOST_LOST = 2  # processes in a row that end without a stack, after which a place is left alone


def _worker(pipe: Connection, runs: Path, data: Path, place: Place) -> None:
    """Serve stacks from the pipe until it closes, or the device can compute no more."""
    os.environ.update(place.environment)  # before anything looks for a card
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops us
    read_datasets()  # what a further paper's folder brings: it decides the metrics
    from dmd_repro.training.execution import device_failure

    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)  # an orphan would hold its lock against the command that takes over

    threading.Thread(target=watch, daemon=True).start()
    records, store, execution = Records(runs), Store(data), place.execution

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


def in_processes(
    stacks: Sequence[Stack],
    records: Records,
    store: Store,
    places: Sequence[Place],
    on_event: Callable[[Event], None],
) -> list[str]:
    """Train stacks in processes, one a place at most; returns and raises as `run_stacks`."""
    queue = Queue(stacks, records, lambda job: on_event(Event("finished", job)))
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's thread pools in an unknown state
    failed: list[str] = []
    processes: dict[Connection, multiprocessing.process.BaseProcess] = {}
    numbers: dict[Connection, int] = {}  # of their places
    idle: deque[Connection] = deque()
    active: dict[Connection, Stack] = {}
    lost: Counter[int] = Counter()  # by place: processes in a row that have ended no stack

    def start(number: int) -> None:
        ours, theirs = context.Pipe()
        arguments = (theirs, records.root, store.root, places[number])
        process = context.Process(target=_worker, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        processes[ours], numbers[ours] = process, number
        idle.append(ours)

    def give(stack: Stack, *, say: bool = True) -> None:
        pipe = idle.popleft()
        active[pipe] = stack
        for job in stack if say else ():
            on_event(Event("started", job))
        with suppress(OSError):  # the process is dead already: its end of the pipe tells, below
            pipe.send(stack)

    def end(pipe: Connection) -> int:
        """End a worker and return its place's number; one that goes on is stopped with the others, below."""
        pipe.close()
        processes[pipe].join(timeout=10)
        if not processes[pipe].is_alive():
            del processes[pipe]
        return numbers.pop(pipe)

    def start_again(number: int) -> None:
        """Start another process for one that is lost: it may find the device well."""
        lost[number] += 1
        if lost[number] >= MOST_LOST and numbers:  # a card that is gone fails at once, and would take all that is left
            log.warning("%d processes in a row were lost in place %d: it is left alone", lost[number], number)
        elif queue:
            start(number)

    try:
        for number in range(min(len(places), len(queue))):
            start(number)
        while queue or active:
            while idle and (stack := queue.take()) is not None:
                give(stack)
            if not queue:  # a card is for whoever can use it
                while idle:
                    end(idle.popleft())
            if not active:
                if not queue:
                    break
                say_waiting(queue, on_event)
                time.sleep(POLL_SECONDS)
                if (stack := queue.take() or queue.take_held()) is not None:
                    give(stack, say=False)
                continue
            for pipe in wait(list(active), timeout=POLL_SECONDS if idle else None):
                assert isinstance(pipe, Connection)
                try:
                    kind, payload = pipe.recv()
                except (EOFError, OSError):
                    stack = active.pop(pipe)
                    processes[pipe].join(timeout=10)
                    died = _death(processes[pipe].exitcode)
                    for job in stack:  # of a stack, some seeds may have been finished before
                        if records.get(job.run_id) is not None:
                            on_event(Event("finished", job))
                            continue
                        failed.append(job.run_id)
                        on_event(Event("failed", job, message=died))
                    start_again(end(pipe))
                    continue
                if kind == "refused":
                    raise RunError(payload)
                if kind in ("ended", "device_failure"):
                    failed += settle(active.pop(pipe), payload, queue, on_event)
                    if kind == "ended":
                        idle.append(pipe)
                        del lost[numbers[pipe]]
                        continue
                    start_again(end(pipe))
                else:
                    seed, report = payload
                    on_event(Event(kind, member(active[pipe], seed), report))
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
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
