"""Submitting stacks to Slurm and watching them: what is queued already is attached to, never submitted twice.

Progress is read from the records, so any number of clients may watch, and none is needed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmd_repro.disk import write_atomic
from dmd_repro.errors import RunError
from dmd_repro.execution.attempt import Event
from dmd_repro.execution.slurm import commands
from dmd_repro.execution.slurm.commands import Away, Task
from dmd_repro.execution.slurm.script import Options, arguments, script
from dmd_repro.execution.slurm.submission import Submission, covered, new_folder, submissions
from dmd_repro.planning.grid import Job
from dmd_repro.planning.stacks import Stack
from dmd_repro.records.folder import Records
from dmd_repro.records.lock import RunLock
from dmd_repro.training.report import EpochReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmd_repro.training.execution import Execution

POLL = 2.0  # seconds between two looks at the queue and the records
GONE = 5  # looks in a row that must miss a task before it counts as ended: the queue may be late
_LOCK = "submit"


@dataclass
class Watched:
    """A run some task is to make."""

    job: Job
    submission: Submission
    index: int
    epochs: int = 0
    state: str = ""
    missed: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What its task is known by."""
        return self.submission.name, self.index


@dataclass
class Slurm:
    """Carries out stacks as tasks of arrays."""

    records: Records
    data: Path
    execution: Execution
    options: Options
    table: str
    command: str
    environment: Mapping[str, str]
    say: Callable[[str], None]  # what a user should read once
    submitted: list[Submission] = field(default_factory=list)

    def carry_out(self, stacks: Sequence[Stack], on_event: Callable[[Event], None], *, wait: bool = True) -> list[str]:
        """Submit what no live task makes, watch all of it, and return the ids of runs that FAILED.

        Raises SpecError or RunError where Slurm refuses; nothing is submitted then that was not before.
        """
        watched = self._submit(stacks)
        return self._watch(watched, on_event) if wait else []

    def _submit(self, stacks: Sequence[Stack]) -> dict[str, Watched]:
        with self._alone():
            known = list(submissions(self.records.root))
            live = {(task.name, task.index) for task in commands.queue(one.name for one in known)}
            found = covered(known, dict.fromkeys(live))
            fresh = [left for stack in stacks if (left := tuple(job for job in stack if job.run_id not in found))]
            attached = sum(job.run_id in found for stack in stacks for job in stack)
            if attached:
                self.say(f"{attached} runs are queued or training already: attached to them")
            most = commands.most_tasks() if fresh else 1
            new = [self._array(fresh[i : i + most]) for i in range(0, len(fresh), most)]
        found |= covered(new, {(one.name, i): None for one in new for i in range(len(one.stacks))})
        return {
            job.run_id: Watched(job, *found[job.run_id], epochs=len(self.records.history(job.run_id)))
            for stack in stacks
            for job in stack
        }

    def _array(self, stacks: Sequence[Stack]) -> Submission:
        folder = new_folder(self.records.root, self.table)
        one = Submission(
            folder=folder, stacks=tuple(stacks), execution=self.execution, data=self.data,
            environment=self.environment, command=self.command,
        )  # fmt: skip
        one.save()  # before Slurm has it: a task may start at once
        batch = folder / "batch.sh"
        write_atomic(batch, script(one, self.options))
        try:
            array = commands.submit(arguments(one, self.options, range(len(stacks))), str(batch))
        except RunError:
            (folder / "job.json").rename(folder / "refused.json")  # Slurm did not take it: no client looks for it
            raise
        one = replace(one, array=array)
        one.save()
        self.submitted.append(one)
        self.say(f"submitted: array {array}, {len(stacks)} tasks ({one.name}); logs in {folder}")
        return one

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other clients from submitting the same runs in this moment."""
        with RunLock(self.records.root, _LOCK) as lock:
            while not (lock.take() and lock.sign()):
                time.sleep(POLL / 10)
            yield

    def _watch(self, watched: dict[str, Watched], on_event: Callable[[Event], None]) -> list[str]:
        failed: list[str] = []
        names = {one.submission.name for one in watched.values()}
        away = False
        while watched:
            try:
                live: dict[tuple[str, int], Task] | None = {(t.name, t.index): t for t in commands.queue(names)}
                away = False
            except Away as error:
                if not away:
                    self.say(f"{error} Jobs go on without it; asking again.")
                live, away = None, True
            for run in list(watched):
                one = watched[run]
                self._tell_epochs(one, on_event)
                if self.records.get(run) is not None:
                    on_event(Event("finished", one.job))
                    del watched[run]
                elif live is not None and (reason := self._ended(one, live.get(one.key), on_event)):
                    on_event(Event("failed", one.job, message=reason))
                    failed.append(run)
                    del watched[run]
            if watched:
                time.sleep(POLL)
        return failed

    def _ended(self, one: Watched, task: Task | None, on_event: Callable[[Event], None]) -> str:
        """Return why a run that is not done will not be; "" while its task is queued or at work."""
        if task is not None:
            one.missed = 0
            state = "started" if task.runs else "waiting"
            if state != one.state:
                one.state = state
                on_event(Event("started" if task.runs else "waiting", one.job))
            return ""
        one.missed += 1
        if one.missed < GONE and not (one.missed > 1 and self.records.failure(one.job.run_id)):
            return ""
        return "" if self.records.get(one.job.run_id) else self._why(one)

    def _why(self, one: Watched) -> str:
        if text := self.records.failure(one.job.run_id):
            return text.strip().rpartition("\n")[2]
        array = one.submission.array
        state, reason = commands.ending(f"{array}_{one.index}") if array else ("", "")
        if words := commands.ENDINGS.get(state):
            return f"{words}; finished epochs are kept"
        log = one.submission.log(one.index)
        if not log.is_file():
            because = ", ".join(word for word in (state or "its state is not known any more", reason) if word)
            return (
                f"its task left no log ({because}): it was taken from the queue, or the node does not see "
                f"{one.submission.folder}. If so, choose a folder on a shared disk with --runs-dir"
            )
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"its task ended ({state or 'state unknown'}): {lines[-1] if lines else 'its log is empty'} ({log})"

    def _tell_epochs(self, one: Watched, on_event: Callable[[Event], None]) -> None:
        lines = self.records.history(one.job.run_id)
        for line in lines[one.epochs :]:
            try:
                on_event(Event("epoch", one.job, _report(one.job, json.loads(line))))
            except (ValueError, KeyError, TypeError):
                return  # half a line: it is whole at the next look
            one.epochs += 1


def _report(job: Job, line: Mapping[str, float | None]) -> EpochReport:
    loss = line["valid_loss"]
    return EpochReport(
        job.spec.seed, int(line["epoch"] or 0), job.max_epochs, float(line["seconds"] or 0.0),
        math.nan if loss is None else float(loss), 0, math.nan, False,
    )  # fmt: skip
