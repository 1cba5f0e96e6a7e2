"""Carrying out a plan: equal results however it is divided, what fails costs itself alone, and commands share work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_plans import ALIGNED, QUICK, plan, quick, run_jobs

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import RunError
from dmd_repro.execution import attempt, processes
from dmd_repro.execution.attempt import Event
from dmd_repro.execution.estimate import job_costs
from dmd_repro.execution.places import Place
from dmd_repro.execution.queue import Queue
from dmd_repro.planning.division import most_seconds
from dmd_repro.planning.hours import OWN
from dmd_repro.planning.stacks import group
from dmd_repro.records.folder import Records
from dmd_repro.training import execution as training_execution
from dmd_repro.training import fit as training
from dmd_repro.training.fit import Execution
from dmd_repro.training.loop import Loop


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Return an empty folder of records."""
    return Records(tmp_path / "runs")


def test_the_estimate_uses_runs_there_are(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are timed only for a configuration that was never run; the bound is every run to its last epoch."""
    planned, store, timed = quick(records), Store(records.root.parent / "data"), []
    costs = job_costs(planned.jobs, records, store, Execution(), timed.append)
    each = {key: one.seconds_per_epoch or 0.0 for key, one in costs.items()}
    assert len(timed) == len(each) == 1
    assert most_seconds([job.max_epochs * each[job.configuration_id] for job in planned.jobs]) == pytest.approx(
        2 * 2 * next(iter(each.values()))
    )
    assert most_seconds([1.0, 1.0, 4.0], 2) == 5.0  # the long one may start last: 1 and then 4 alone
    assert most_seconds([], 2) == 0.0
    run_jobs(planned.jobs[:1], records, store, execution=Execution())
    monkeypatch.setattr(training, "seconds_per_epoch", None)
    (own,) = job_costs(planned.jobs, records, store, Execution()).values()
    assert (own.source, own.grade) == (OWN, "counted")


def test_processes_and_one_process_give_the_same_bits(records: Records, tmp_path: Path) -> None:
    """`--jobs` is a matter of time only."""
    planned, store, side = quick(records), Store(tmp_path / "data"), Records(tmp_path / "side")
    kinds = []
    assert run_jobs(planned.jobs, records, store, execution=Execution(), on_event=lambda e: kinds.append(e.kind)) == []
    assert kinds == ["started", "epoch", "epoch", "finished"] * 2
    assert run_jobs(planned.jobs, side, store, execution=Execution(), workers=2) == []
    for job in planned.jobs:
        for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
            assert (records.root / job.run_id / name).read_bytes() == (side.root / job.run_id / name).read_bytes()
    assert quick(records).missing == ()


def test_a_run_that_raises_is_recorded_and_the_others_go_on(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad seed costs one seed; its traceback is kept, and the next attempt can succeed."""
    planned, store, real, events = quick(records), Store(records.root.parent / "data"), training.fit, []

    def broken(spec, *arguments, **options):
        if spec.seed == 1111:
            raise ZeroDivisionError("seed 1111")
        return real(spec, *arguments, **options)

    monkeypatch.setattr(training, "fit", broken)
    bad, good = planned.jobs
    assert run_jobs(planned.jobs, records, store, execution=Execution(), on_event=events.append) == [bad.run_id]
    assert records.status(bad.run_id) == "failed"
    assert records.status(good.run_id) == "done"
    assert "seed 1111" in (records.failure(bad.run_id) or "")
    assert [e.message for e in events if e.kind == "failed"] == ["ZeroDivisionError: seed 1111"]
    monkeypatch.setattr(training, "fit", real)
    assert run_jobs(quick(records).missing, records, store, execution=Execution()) == []


def test_a_disk_that_refuses_stops_everything(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is one sentence, not a FAILED record per run."""

    def full(*_, **__):
        raise RunError("disk: full.")

    monkeypatch.setattr(training, "fit", full)
    with pytest.raises(RunError, match="disk"):
        run_jobs(quick(records).jobs, records, Store(records.root.parent / "data"), execution=Execution())
    assert records.run_ids() == []


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_someone_else_trains_comes_last(records: Records, workers: int) -> None:
    """Two commands on one folder share the work: none sleeps while there is another run to train, and none fails."""
    planned, store, events = quick(records, seeds=(1, 2, 3)), Store(records.root.parent / "data"), []
    first, *others = planned.jobs
    writer = records.begin(first.spec, first.stamp, {})
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with writer:
            held.set()
            done.wait(60)

    def on_event(event: Event) -> None:
        events.append((event.kind, event.job.run_id))
        if event.kind == "waiting":  # nothing else is left to train
            assert {run for kind, run in events if kind == "finished"} == {job.run_id for job in others}
            done.set()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert run_jobs(planned.jobs, records, store, execution=Execution(), workers=workers, on_event=on_event) == []
    other.join()
    assert ("waiting", first.run_id) in events
    assert events[-1] == ("finished", first.run_id)


def test_a_stack_leaves_out_what_another_trains(records: Records) -> None:
    """Of five seeds of one model one is held elsewhere: the others train at once, and it is neither failed nor lost."""
    planned, store = quick(records, seeds=(1, 2, 3)), Store(records.root.parent / "data")
    held = planned.jobs[1]
    with records.begin(held.spec, held.stamp, {}):
        texts = attempt.attempt_stack(planned.jobs, records, store, Execution(stack=3), lambda *_: None)
    assert texts == {job.run_id: None for job in planned.jobs if job is not held}
    assert [records.status(job.run_id) for job in planned.jobs] == ["done", "partial", "done"]


def test_what_another_finished_is_taken_from_the_queue(records: Records) -> None:
    """A result that is there is used, whoever made it."""
    planned, store, done = quick(records, seeds=(1, 2)), Store(records.root.parent / "data"), []
    queue = Queue([planned.jobs], records, done.append)
    assert run_jobs(planned.jobs[:1], records, store, execution=Execution()) == []
    assert queue.take() == planned.jobs[1:]
    assert done == [planned.jobs[0]]
    assert queue.take() is None
    assert not queue


@pytest.mark.usefixtures("warm_workers")
def test_a_killed_worker_costs_its_run_only(records: Records, tmp_path: Path) -> None:
    """A process killed for its memory is reported, the others go on, and its run is resumed later."""
    planned, store = quick(records, seeds=(1, 2, 3)), Store(tmp_path / "data")
    killed, messages = [], []

    def on_event(event: Event) -> None:
        if event.kind == "epoch" and not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid or 0, signal.SIGKILL)
        if event.kind == "failed":
            messages.append(event.message)

    failed = run_jobs(planned.jobs, records, store, execution=Execution(), workers=2, on_event=on_event)
    assert len(failed) == 1
    assert "SIGKILL" in messages[0]
    assert sum(records.status(job.run_id) == "done" for job in planned.jobs) == 2
    again = quick(records, seeds=(1, 2, 3)).missing
    assert [job.run_id for job in again] == failed
    assert run_jobs(again, records, store, execution=Execution()) == []


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are as patched as this process."""
    fork = multiprocessing.get_context("fork")  # so that the workers are as patched

    class Worker(fork.Process):  # type: ignore[name-defined,misc]
        def join(self, timeout: float | None = None) -> None:
            super().join(0.5)  # forked, it holds the other end of its own pipe, and would wait for that to close
            self.kill()

    context = SimpleNamespace(Pipe=fork.Pipe, Process=Worker)
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda kind: context)


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("stack", [1, 2])
def test_a_device_that_is_lost_costs_its_runs_only(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: int
) -> None:
    """A GPU's error stays with its process: its runs are FAILED with the reason, the next ones get a new process."""
    first, second = (
        plan(records, rows=(ALIGNED,), seeds=seeds, overrides={**QUICK, "d": d})
        for seeds, d in (((1, 2), 4), ((3,), 8))
    )
    broken = {job.spec.config["d"] for job in first.jobs}
    real, gone = Loop.epoch, []

    def epoch(self: Loop) -> list:
        if self.config.d in broken:  # type: ignore[attr-defined]
            gone.append("CUDA error: unspecified launch failure")
            raise RuntimeError(gone[-1])
        return real(self)

    monkeypatch.setattr(Loop, "epoch", epoch)
    monkeypatch.setattr(training_execution, "device_failure", lambda execution: gone[-1] if gone else "")
    jobs, messages = [*first.jobs, *second.jobs], []

    def on_event(event: Event) -> None:
        if event.kind == "failed":
            messages.append(event.message)

    stacks = group(jobs, records, stack)
    failed = processes.in_processes(
        stacks, records, Store(tmp_path / "data"), [Place(Execution(stack=stack))], on_event
    )
    assert sorted(failed) == sorted(job.run_id for job in first.jobs)
    assert messages == ["RuntimeError: CUDA error: unspecified launch failure"] * 2
    assert records.status(second.jobs[0].run_id) == "done"
    assert len(gone) == 0, "the processes that met the error took it with them"
    assert all("launch failure" in (records.failure(run) or "") for run in failed)


@pytest.mark.usefixtures("forked")
def test_a_card_that_is_gone_does_not_take_all_that_is_left(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two cards one fails at once, each time: it costs two runs, and the other card trains the rest of the table."""
    real = Loop.epoch

    def epoch(self: Loop) -> list:
        if os.environ.get("GONE"):
            raise RuntimeError("CUDA error: device is gone")
        time.sleep(1.0)
        return real(self)

    monkeypatch.setattr(Loop, "epoch", epoch)
    monkeypatch.setattr(training_execution, "device_failure", lambda execution: os.environ.get("GONE", ""))
    jobs = plan(records, rows=(ALIGNED,), seeds=(1, 2, 3, 4, 5, 6), overrides={**QUICK, "max_epochs": 1}).jobs
    places = [Place(Execution(), {"GONE": "yes"}), Place(Execution())]
    stacks = group(jobs, records, 1)
    failed = processes.in_processes(stacks, records, Store(tmp_path / "data"), places, lambda event: None)
    assert len(failed) == 2
    assert sum(records.status(job.run_id) == "done" for job in jobs) == 4


def test_a_device_lost_before_anything_is_recorded_is_a_failure(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is gone when a stack begins FAILS its runs with the reason; it never looks finished."""

    def gone(*arguments: object, **options: object) -> None:
        raise RuntimeError("CUDA error: device is gone")

    monkeypatch.setattr(training, "fit_stack", gone)
    monkeypatch.setattr(training_execution, "device_failure", lambda execution: "device is gone")
    jobs, store = quick(records).jobs, Store(tmp_path / "data")
    texts = attempt.attempt_stack(jobs, records, store, Execution(stack=2), lambda kind, seed, report: None)
    assert all("device is gone" in (texts[job.run_id] or "") for job in jobs)
    assert [records.status(job.run_id) for job in jobs] == ["failed", "failed"]


def test_seeds_after_one_that_lost_the_device_keep_their_epochs(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried alone, a seed that loses the GPU is the only one FAILED: the others are not begun on a dead device."""

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("not the device")

    def fails(*arguments: object, **options: object) -> None:
        dead.append(True)
        raise RuntimeError("CUDA error: unspecified launch failure")

    dead: list[bool] = []
    monkeypatch.setattr(training, "fit_stack", broken)
    monkeypatch.setattr(training, "fit", fails)
    monkeypatch.setattr(training_execution, "device_failure", lambda execution: "gone" if dead else "")
    jobs, store = quick(records).jobs, Store(tmp_path / "data")
    texts = attempt.attempt_stack(jobs, records, store, Execution(stack=2), lambda kind, seed, report: None)
    assert all(texts[job.run_id] for job in jobs)
    assert len(dead) == 1
    assert [records.status(job.run_id) for job in jobs] == ["failed", "missing"]


def test_an_estimate_is_halved_as_the_training_will_be(monkeypatch: pytest.MonkeyPatch, records: Records) -> None:
    """A stack that does not fit is timed as what will be trained of it; planning ends in no traceback."""
    asked: list[int] = []

    def timed(spec: object, features: object, execution: object, device: object, stack: int) -> float:
        asked.append(stack)
        if stack > 2:
            raise RuntimeError("CUDA error: out of memory")
        return 1.5

    monkeypatch.setattr(training, "_seconds_per_epoch", timed)
    job = quick(records).jobs[0]
    assert training.seconds_per_epoch(job.spec, None, Execution(stack=5)) == 1.5  # type: ignore[arg-type]
    assert asked == [5, 2]
    monkeypatch.setattr(training, "_seconds_per_epoch", lambda *a: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        training.seconds_per_epoch(job.spec, None, Execution())  # type: ignore[arg-type]
