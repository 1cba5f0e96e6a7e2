"""Carrying out planned runs, one after the other in this process or side by side in others, with equal results.

Seeds of one configuration can go as a stack (`planning/stacks.py`): one model, a record each. Each run has its own
record and lock, so any process may die at any time: what it finished stays, the rest is taken up by the next command;
and commands that share a folder of runs share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from dmd_repro.data.store.folder import Store
from dmd_repro.execution.attempt import POLL_SECONDS, Event, attempt_stack, member, say_waiting, settle
from dmd_repro.execution.places import places
from dmd_repro.execution.processes import in_processes
from dmd_repro.execution.queue import Queue
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records

if TYPE_CHECKING:
    from dmd_repro.training.execution import Execution
    from dmd_repro.training.report import EpochReport


def run_stacks(
    stacks: Sequence[Stack],
    records: Records,
    store: Store,
    *,
    execution: Execution,
    workers: int = 1,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[str]:
    """Train stacks, begun in this order; return the ids of runs that FAILED (recorded with their traceback).

    The others go on. With several workers each is a process of its own, and so it is on a GPU, where an error stays
    with its process; they end when this one does. Raises RunError where the disk refuses, which would stop every run
    alike; finished epochs are kept.
    """
    side = min(workers, len(stacks))
    if stacks and (side > 1 or execution.device != "cpu"):
        return in_processes(stacks, records, store, places(execution, max(1, side)), on_event)
    return in_this_process(stacks, records, store, execution, on_event)


def in_this_process(
    stacks: Sequence[Stack], records: Records, store: Store, execution: Execution, on_event: Callable[[Event], None]
) -> list[str]:
    """Train stacks one after the other; returns and raises as `run_stacks`."""
    queue = Queue(stacks, records, lambda job: on_event(Event("finished", job)))
    failed: list[str] = []
    while queue:
        if (stack := queue.take()) is None:
            say_waiting(queue, on_event)
            time.sleep(POLL_SECONDS)
            if (stack := queue.take() or queue.take_held()) is None:
                break
        else:
            for job in stack:
                on_event(Event("started", job))

        def tell(kind: Literal["epoch"], seed: int, report: EpochReport | None, s: Stack = stack) -> None:
            on_event(Event(kind, member(s, seed), report))

        texts = attempt_stack(stack, records, store, execution, tell)
        failed += settle(stack, texts, queue, on_event)
    return failed
