"""Which stack comes next where several commands share a folder of runs: none waits while there is work for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records
from dmd_repro.records.lock import writer_of

BELIEVED = 30.0  # seconds for which a lock that was refused counts as held


class Queue:
    """Stacks still to be trained. What another process trains goes to the end; what is done in the meantime leaves."""

    def __init__(self, stacks: Iterable[Stack], records: Records, on_done: Callable[[Job], None]) -> None:
        """`on_done` is told each job that another process has finished."""
        self._stacks, self._records, self._on_done = deque(stacks), records, on_done
        self._refused: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._stacks)

    @property
    def jobs(self) -> list[Job]:
        """All that is left."""
        return [job for stack in self._stacks for job in stack]

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Put the seeds of a stack at the end whose lock another process was found to hold.

        Where its machine's clock differs from ours, looking would take them for free again and again.
        """
        stack = tuple(jobs)
        self._refused |= dict.fromkeys((job.run_id for job in stack), time.monotonic())
        self._append(stack)

    def take(self) -> Stack | None:
        """Return what nobody else is training, as far as looking tells; None where others hold all that is left."""
        for _ in range(len(self._stacks)):
            left = self._left(self._stacks.popleft())
            held = [job for job in left if self._held(job)]
            self._append(tuple(held))
            if free := tuple(job for job in left if job not in held):
                return free
        return None

    def take_held(self) -> Stack | None:
        """Return what another process is said to hold: whether it does, its lock tells who tries."""
        while self._stacks:
            if left := self._left(self._stacks.popleft()):
                return left
        return None

    def _append(self, stack: Stack) -> None:
        if stack:
            self._stacks.append(stack)

    def _held(self, job: Job) -> bool:
        refused = self._refused.get(job.run_id)
        return bool(writer_of(self._records.root, job.run_id)) or (
            refused is not None and time.monotonic() - refused < BELIEVED
        )

    def _left(self, stack: Stack) -> Stack:
        left = []
        for job in stack:
            if self._records.get(job.run_id) is None:
                left.append(job)
            else:
                self._on_done(job)
        return tuple(left)
