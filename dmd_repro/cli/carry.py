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
    from dmd_repro.planning.hours import Cost
    from dmd_repro.planning.stacks import Stack
    from dmd_repro.records.folder import Records
    from dmd_repro.training.execution import Execution

LEFT_QUEUED = "the same command attaches to them; dmd runs list shows them, dmd runs cancel stops them"
NOT_MEASURED = "time not measured"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What there is to train: in which order, by how many at a time, and how long it can take."""

    stacks: Sequence[Stack]
    cost: Mapping[str, float]  # the seconds an epoch of each run takes, by its id; 1 each where not all are known
    left: Mapping[str, int]  # the most epochs that each can take yet
    costs: Mapping[str, Cost]  # what each configuration takes, by its id
    execution: Execution
    workers: int
    named: str  # the processes in words: "on 2 cards"; "" for one

    @property
    def not_measured(self) -> int:
        """How many configurations nothing tells the time of."""
        return sum(one.seconds_per_epoch is None for one in self.costs.values())

    @property
    def timed(self) -> bool:
        """Whether the time of every run is known."""
        return not self.not_measured

    @property
    def seconds(self) -> float | None:
        """The most seconds until the last has ended; None where that is not known."""
        return self._end(self.left) if self.timed else None

    @property
    def typical_seconds(self) -> float | None:
        """The same where each run takes the epochs that one typically does."""
        return self._end(self._typical) if self.timed else None

    @property
    def time(self) -> str:
        """Both in words, of what is measured."""
        from dmd_repro.render.duration import duration

        named, known = f" {self.named}" if self.named else "", len(self.costs) - self.not_measured
        if not known:
            return f"{NOT_MEASURED}{named and ','}{named}"
        typical, most = duration(self._end(self._typical)), duration(self._end(self.left))
        words = f"at most {most}{named}" if typical == most else f"typically {typical}, at most {most}{named}"
        left_out = f", for {known} of {len(self.costs)} configurations: the others are not measured"
        return words + (left_out if self.not_measured else "")

    @property
    def told(self) -> list[str]:
        """How that is known: where it was measured, if not by a few steps just now, and which epochs were taken."""
        from dmd_repro.execution.estimate import TIMED
        from dmd_repro.render.hours import epochs_words, source_words

        costs = [one for one in self.costs.values() if one.seconds_per_epoch is not None]
        if not costs:
            return []
        source = [] if all(one.source == TIMED for one in costs) else [f"from {source_words(costs)}"]
        epochs = [epochs_words(costs)] if self._end(self._typical) < self._end(self.left) else []
        return [*source, *epochs]

    @property
    def _typical(self) -> Mapping[str, float]:
        """The epochs that each run typically takes yet, by its id."""
        found = {}
        for stack in self.stacks:
            for job in stack:
                done = job.max_epochs - self.left[job.run_id]
                epochs = self.costs[job.configuration_id].epochs
                found[job.run_id] = min(self.left[job.run_id], max(0.0, epochs - done))
        return found

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

        if self.not_measured or self.workers < 2 or self.named != f"on {self.workers} cards":
            return []
        names = cards.numbers(self.execution.device) or range(self.workers)
        each = [
            f"cuda:{name} {len(one)} model{'' if len(one) == 1 else 's'} (at most {duration(sum(one))})"
            for name, one in zip(names, self._loads(self.left), strict=False)
        ]
        return [f"as estimated: {', '.join(each)}"]

    def _end(self, epochs: Mapping[str, float]) -> float:
        return max(map(sum, self._loads(epochs)))

    def _loads(self, epochs: Mapping[str, float]) -> list[tuple[float, ...]]:
        """Return the seconds of each model that is measured, by the process that gets it."""
        from dmd_repro.planning.division import loads

        seconds = []
        for stack in self.stacks:
            each = self.costs[stack[0].configuration_id].seconds_per_epoch
            if each is not None:  # where all are known, `cost` has what a cut of a stack adds
                seconds.append(sum((self.cost[j.run_id] if self.timed else each) * epochs[j.run_id] for j in stack))
        return loads(seconds, self.workers)


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

    `measured`: where no finished run tells, time a few steps. With Slurm none are (a login node may have no card, and
    is no place to compute): the figures that ship tell, as they do not `measured`.
    """
    from dmd_repro.cli.progress import epochs_left
    from dmd_repro.execution.estimate import job_costs
    from dmd_repro.execution.places import sides
    from dmd_repro.planning.division import divide, stack_seconds
    from dmd_repro.planning.stacks import group

    costs = job_costs(missing, records, store, execution, on_timing, timed=measured and slurm is None)
    each = {key: one.seconds_per_epoch for key, one in costs.items() if one.seconds_per_epoch is not None}
    cost = {job.run_id: each[job.configuration_id] if len(each) == len(costs) else 1.0 for job in missing}
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
    return Ahead(stacks, cost, left, costs, execution, workers, _named(execution, workers, slurm is not None))


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
