"""What every command that trains several runs shares: how long they can take, and carrying them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from dmd_repro.data.store.folder import Store
    from dmd_repro.execution.slurm.client import Slurm
    from dmd_repro.planning.grid import Job
    from dmd_repro.planning.stacks import Stack
    from dmd_repro.records.folder import Records
    from dmd_repro.training.execution import Execution

LEFT_QUEUED = "the same command attaches to them; dmd runs list shows them, dmd runs cancel stops them"
UNKNOWN_TIME = "no finished run tells how long it takes"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What there is to train: in which order, by how many at a time, and how long it can take."""

    stacks: Sequence[Stack]
    cost: Mapping[str, float]  # the seconds an epoch of each run takes, by its id; 1 each where not all are known
    left: Mapping[str, int]  # the most epochs that each can take yet
    timed: bool  # whether they are known
    execution: Execution
    workers: int
    named: str  # the processes in words: "on 2 cards"; "" for one

    @property
    def seconds(self) -> float | None:
        """The most seconds until the last has ended; None where that is not known."""
        return max(map(sum, self._loads())) if self.timed else None

    @property
    def time(self) -> str:
        """The same in words."""
        from dmd_repro.render.duration import duration

        if self.seconds is None:
            return f"{self.named}; {UNKNOWN_TIME}" if self.named else UNKNOWN_TIME
        named = f" {self.named}" if self.named else ""
        return f"at most {duration(self.seconds)}{named}"

    @property
    def lines(self) -> list[str]:
        """How the seeds go together, the models that cannot, with the reason, and what each card gets."""
        from dmd_repro.systems.resolve import why_not_stacked

        stacks = [] if self.execution.stack == 1 else self.stacks
        sizes = [len(stack) for stack in stacks if len(stack) > 1]
        lines = [f"{sum(sizes)} runs go as models of up to {max(sizes)} seeds: {len(sizes)} in all"] if sizes else []
        reasons = {reason for stack in stacks if (reason := why_not_stacked(stack[0].spec))}
        return [*lines, *(f"one by one: {reason}" for reason in sorted(reasons)), *self._shares()]

    def _shares(self) -> list[str]:
        """Return what each of several cards gets, where that is known."""
        from dmd_repro.render.duration import duration
        from dmd_repro.training import cards

        if not self.timed or self.workers < 2 or self.named != f"on {self.workers} cards":
            return []
        names = cards.numbers(self.execution.device) or range(self.workers)
        each = [
            f"cuda:{name} {len(one)} model{'' if len(one) == 1 else 's'} (at most {duration(sum(one))})"
            for name, one in zip(names, self._loads(), strict=False)
        ]
        return [f"as estimated: {', '.join(each)}"]

    def _loads(self) -> list[tuple[float, ...]]:
        from dmd_repro.planning.division import loads

        return loads([sum(self.cost[j.run_id] * self.left[j.run_id] for j in s) for s in self.stacks], self.workers)


def look_ahead(
    missing: Sequence[Job],
    records: Records,
    store: Store,
    execution: Execution,
    *,
    jobs: int | None,
    slurm: Slurm | None,
    measured: bool = True,
    on_timing: Callable[[Job], None] = lambda job: None,
) -> Ahead:
    """Return what carrying out these runs takes.

    `measured`: where no finished run tells, time a few steps. With Slurm none are: a login node may have no card, and
    is no place to compute.
    """
    from dmd_repro.cli.progress import epochs_left
    from dmd_repro.execution.estimate import seconds_per_epoch
    from dmd_repro.execution.places import sides
    from dmd_repro.planning.division import divide, stack_seconds
    from dmd_repro.planning.stacks import group

    each = seconds_per_epoch(missing, records, store, execution, on_timing, timed=measured and slurm is None)
    timed = all(job.configuration_id in each for job in missing)
    cost = {job.run_id: each[job.configuration_id] if timed else 1.0 for job in missing}
    left = {job.run_id: epochs_left(job, records) for job in missing}
    most = {run: cost[run] * epochs for run, epochs in left.items()}
    stacks = group(missing, records, execution.stack)
    at_once = (slurm.options.at_once or len(stacks)) if slurm else jobs or sides(execution)

    def may_cut(stack: Stack) -> bool:
        """Seeds that began together end together, and `--stack K` is kept to."""
        return execution.stack == 0 and all(records.status(job.run_id) != "partial" for job in stack)

    divided = divide(stacks, most, at_once, may_cut=may_cut)
    for stack, seconds in divided:  # a seed costs more in the part of a stack than in the whole
        whole = stack_seconds(stack, most)
        cost |= {job.run_id: cost[job.run_id] * seconds / whole for job in stack if whole}
    stacks = [stack for stack, _ in divided]
    workers = min(at_once, max(1, len(stacks)))
    return Ahead(stacks, cost, left, timed, execution, workers, _named(execution, workers, slurm is not None))


def _named(execution: Execution, workers: int, queued: bool) -> str:
    from dmd_repro.training import cards

    if workers < 2:
        return ""
    if queued:
        return f"in {workers} jobs at a time"
    if cards.kind(execution.device) == "cuda" and (found := min(workers, cards.count(execution.device))) > 1:
        return f"on {found} cards" if found == workers else f"in {workers} processes on {found} cards"
    return f"on {workers} processes"


def carry_out(
    ahead: Ahead,
    records: Records,
    store: Store,
    *,
    console: Console,
    err: bool,
    slurm: Slurm | None,
    wait: bool,
) -> list[str] | None:
    """Train what is ahead; return the ids of runs that FAILED, None where Slurm has them and nobody is to wait.

    `err`: progress goes to stderr.
    """
    from dmd_repro.cli.progress import Work, say
    from dmd_repro.execution.workers import run_stacks

    if slurm and ahead.stacks and not wait:
        slurm.carry_out(ahead.stacks, lambda event: None, wait=False)
        say(console, LEFT_QUEUED)
        return None
    with Work(ahead, records, err) as work:
        if slurm:
            return slurm.carry_out(ahead.stacks, work.on_event)
        return run_stacks(
            ahead.stacks, records, store, execution=ahead.execution, workers=ahead.workers, on_event=work.on_event
        )
