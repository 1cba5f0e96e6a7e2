"""Showing long work: a bar with rate and time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dmd_repro.cli.tell import tell
from dmd_repro.render.duration import duration
from dmd_repro.render.terminal import folded, width_of
from dmd_repro.visible import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from dmd_repro.cli.carry import Ahead
    from dmd_repro.execution.attempt import Event
    from dmd_repro.planning.grid import Job
    from dmd_repro.records.folder import Records, RunRecord
    from dmd_repro.training.report import EpochReport


def say(console: Console, line: str) -> None:
    """Print a line for people on a console, which may have a bar below; too long for the window it is cut, as `tell`'s.

    In a pipe the window has 80 columns.
    """
    console.print("\n".join(folded(one_line(line), width_of(console))), markup=False)


def scores(record: RunRecord, split: str, names: Sequence[str] | None = None) -> dict[str, float | None]:
    """Return metrics of a split (all, or those named) from the stored predictions; None where one does not exist."""
    from dmd_repro.metrics.registry import METRICS, metrics_of

    said = record.predictions(split)
    wanted = metrics_of(record.data["dataset"]) if names is None else names
    values = {name: METRICS[name].function(said.y_true, said.y_pred) for name in wanted}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def shown(name: str, value: float | None) -> str:
    """Return a metric as tables print it: percent with two decimals, others with three."""
    from dmd_repro.metrics.registry import METRICS

    if value is None:
        return "–"
    return f"{value * 100:.2f} %" if METRICS[name].unit == "%" else f"{value:.3f}"


def result_line(record: RunRecord, row: str) -> str:
    """Return one line about a finished run; whether it learned is said the moment it is there."""
    from dmd_repro.metrics.registry import shown_in
    from dmd_repro.results.learned import learned

    test, facts = scores(record, "test"), record.provenance
    numbers = "  ".join(f"{name} {shown(name, test[name])}" for name in shown_in("line", record.data["dataset"]))
    ran = facts.get("epochs")
    epochs = f"{ran} epoch{'' if ran == 1 else 's'} (best {facts.get('best_epoch')})"
    seconds, judged = duration(float(facts.get("seconds") or math.nan)), learned(record)
    lost = f"  NOT LEARNED: {judged.reason}" if judged.outcome == "not learned" else ""
    return f"{record.run_id}  seed {record.spec.seed}  {row}  {epochs}  test: {numbers}  {seconds}{lost}"


class Work:
    """Progress of several runs: how much of the most they can take is done, at what rate, how long it can take yet.

    The unit is the estimated second of one process; early stops finish a run's share at once, so the time left is an
    upper bound.
    """

    def __init__(self, ahead: Ahead, records: Records, err: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = Console(stderr=err, highlight=False, soft_wrap=True)
        self.records, self.ahead = records, ahead
        self.left = {run: ahead.cost[run] * epochs for run, epochs in ahead.left.items()}
        self.waiting: set[str] = set()
        self.begun: set[str] = set()
        self.all = sum(self.left.values())
        self.runs, self.ended, self.epochs, self.worked, self.taken = len(self.left), 0, 0, 0.0, 0.0
        self.started = time.perf_counter()
        self.bar: Progress | None = None
        if self.console.is_terminal:
            columns = (TextColumn("{task.fields[runs]}"), BarColumn(bar_width=30), TextColumn("{task.fields[rate]}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", total=self.all or 1.0, runs="", rate="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
            self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    @property
    def time_left(self) -> str:
        """How long it can take at the pace of the epochs so far; before the first, the estimate if there is one."""
        from dmd_repro.planning.division import most_seconds, stack_seconds

        if not (self.ahead.timed or self.worked):
            return "time left not known"
        pace = self.taken / self.worked if self.worked else 1.0
        training = [any(job.run_id in self.begun for job in stack) for stack in self.ahead.stacks]
        ordered = sorted(zip(training, self.ahead.stacks, strict=True), key=lambda one: not one[0])
        left = [stack_seconds(stack, self.left) for _, stack in ordered]
        return f"at most {duration(pace * most_seconds([one for one in left if one], self.ahead.workers))} left"

    def on_event(self, event: Event) -> None:
        """Take in what a worker says."""
        job = event.job
        if event.kind == "epoch" and event.report:
            cost = self.ahead.cost[job.run_id]
            self.epochs += 1
            self.worked += cost
            self.taken += event.report.seconds
            self.left[job.run_id] = cost * (job.max_epochs - event.report.epoch)
        elif event.kind == "waiting":
            self.waiting.add(job.run_id)
        elif event.kind == "started":
            self.waiting.discard(job.run_id)
            self.begun.add(job.run_id)
        elif event.kind in ("finished", "failed"):
            self.left[job.run_id] = 0.0
            self.waiting.discard(job.run_id)
            self.ended += 1
            self._say(event)
        self._show()

    def _say(self, event: Event) -> None:
        job, record = event.job, self.records.get(event.job.run_id)
        if event.kind == "failed" or record is None:
            line = f"{job.run_id}  seed {job.spec.seed}  {job.rows[0]}  FAILED: {event.message}"
        else:
            line = result_line(record, job.rows[0])
        left = f", {self.time_left}" if self.ended < self.runs else ""
        tail = "" if self.bar else f"  [{self.ended}/{self.runs}{left}]"
        say(self.console, line + tail)

    def _show(self) -> None:
        if self.bar:
            elapsed = time.perf_counter() - self.started
            rate = f"{self.epochs / elapsed:.2f} epochs/s, " if self.epochs else ""
            held = f"{len(self.waiting)} waiting, " if self.waiting else ""
            done = self.all - sum(self.left.values())
            self.bar.update(
                self.task, completed=done, runs=f"runs {self.ended}/{self.runs}", rate=f"{held}{rate}{self.time_left}"
            )


def epochs_left(job: Job, records: Records) -> int:
    """Return how many epochs a run can still take: those on disk are not made again."""
    return max(0, job.max_epochs - len(records.history(job.run_id)))


class Epochs:
    """Progress of one training, an epoch at a time, on stderr."""

    def __init__(self, max_epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.seconds: list[float] = []
        self.bar: Progress | None = None
        if self.console.is_terminal:
            width = 30 if self.console.width >= 100 else 20
            self.bar = Progress(BarColumn(bar_width=width), TextColumn("{task.description}"), console=self.console)
            self.task = self.bar.add_task("first epoch", total=max_epochs)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar:
            self.bar.stop()

    def on_epoch(self, report: EpochReport) -> None:
        """Show one finished epoch."""
        self.seconds.append(report.seconds)
        each = sum(self.seconds) / len(self.seconds)
        left = "stopped" if report.stopped else f"at most {duration(each * (report.max_epochs - report.epoch))} left"
        line = (
            f"epoch {report.epoch}/{report.max_epochs}  valid loss {report.valid_loss:.4f}  "
            f"best {report.best_valid_loss:.4f} (epoch {report.best_epoch})"
        )
        pace = f"{duration(each)} an epoch, {left}"
        if self.bar:
            total = report.epoch if report.stopped else report.max_epochs
            self.bar.update(self.task, completed=report.epoch, total=total, description=f"{line}\n{pace}")
        else:
            tell(f"{line}  {pace}", err=True)
