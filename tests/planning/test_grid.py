"""Planning and carrying out a table: every row gets its runs or its reason, and no run is lost or done twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_store import put

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, RunError, SpecError
from dmd_repro.execution import attempt, processes
from dmd_repro.execution.attempt import Event
from dmd_repro.execution.estimate import most_seconds, seconds_per_epoch
from dmd_repro.execution.queue import Queue
from dmd_repro.execution.workers import run_jobs
from dmd_repro.papers.tables import load_table
from dmd_repro.planning import grid
from dmd_repro.planning.grid import HIDDEN_FOR_BERT, PlannedTable, expand, refuse_empty, select_rows
from dmd_repro.planning.plans import save_plan
from dmd_repro.planning.stacks import group
from dmd_repro.records.folder import Records
from dmd_repro.training import execution as training_execution
from dmd_repro.training import fit as training
from dmd_repro.training.fit import Execution
from dmd_repro.training.loop import Loop

ALIGNED, STARRED, UNALIGNED = "mosi-aligned-glove-dmd", "mosi-aligned-bert-dmd", "mosi-unaligned-glove-dmd"
QUICK = {"max_epochs": 2, "d": 4, "heads": 2, "layers": 1}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Return an empty folder of records."""
    return Records(tmp_path / "runs")


def plan(records: Records, table: str = "table1", **options: object) -> PlannedTable:
    """Plan a table, on synthetic data and two seeds unless told otherwise."""
    options = {"data": ("synthetic",), "seeds": (1111, 1112), "store": Store(records.root.parent / "data"), **options}
    return expand(load_table(table), records=records, **options)  # type: ignore[arg-type]


def quick(records: Records, **options: object) -> PlannedTable:
    """Plan two short runs of the aligned row."""
    return plan(records, rows=(ALIGNED,), overrides=QUICK, **options)


def test_each_row_takes_its_own_synthetic_variant(records: Records) -> None:
    """`--data synthetic` runs every runnable row on features like those the row names, and says what differs."""
    planned = plan(records)
    rows = planned.plan.rows
    names = {key: row.features["name"] for key, row in rows.items() if row.features}
    runnable = [row for row in load_table("table1").rows if row.recipe]
    kind = {"glove": "glove", "bert": "hidden"}
    assert names == {row.key: f"synthetic-{row.setting}-{kind[row.text]}" for row in runnable}
    assert rows[STARRED].notes == (HIDDEN_FOR_BERT,)
    assert rows[ALIGNED].notes == ()
    assert all(list(rows[key].runs) == [1111, 1112] for key in names)
    assert len(planned.jobs) == len(planned.missing) == 2 * len(runnable)
    assert set(rows) == {row.key for row in load_table("table1").rows}
    assert all(row.reason for row in rows.values() if row.status == "skipped")


def test_without_data_a_row_says_what_to_import(records: Records) -> None:
    """Synthetic data is never chosen silently; the message holds the line to type."""
    planned = plan(records, data=())
    assert f"dmd data import FILE --name {ALIGNED[:18]} --dataset mosi" in (planned.plan.rows[ALIGNED].reason or "")
    with pytest.raises(SpecError, match="dmd reproduce table1 --data synthetic") as error:
        refuse_empty(planned)
    assert "has not been imported" in str(error.value)


def test_without_data_a_row_takes_the_set_it_names(records: Records) -> None:
    """An imported set of the recipe's name needs no option."""
    store = put(records.root.parent / "data", "mosi-aligned-glove")
    planned = plan(records, data=(), store=store, overrides={"accumulate": 1})
    assert planned.plan.rows[ALIGNED].status == "planned"
    assert planned.plan.rows[UNALIGNED].status == "skipped"


def test_a_feature_set_serves_only_the_rows_it_fits(records: Records) -> None:
    """Setting, text and data set decide; hidden states stand in for a starred row, never for GloVe."""
    store = put(records.root.parent / "data", "mine", texts=("hidden", "bert"))
    planned = plan(records, data=("mine",), store=store, overrides={"accumulate": 1})
    rows = planned.plan.rows
    assert rows[STARRED].status == "planned"
    assert HIDDEN_FOR_BERT in rows[STARRED].notes
    assert "'mine' holds hidden and bert text, the row needs glove" in (rows[ALIGNED].reason or "")
    assert "'mine' is aligned, the row is unaligned" in (rows[UNALIGNED].reason or "")
    other = plan(records, table="table2", data=("mine",), store=store, overrides={"accumulate": 1})
    assert not other.jobs
    assert "'mine' is MOSI, the row is MOSEI" in (other.plan.rows["mosei-aligned-bert-dmd"].reason or "")


def test_too_few_batches_is_the_rows_reason(records: Records) -> None:
    """Under the authors' accumulation no step would be taken: the row says so, with the override."""
    store = put(records.root.parent / "data", "mine")
    reason = plan(records, data=("mine",), store=store).plan.rows[ALIGNED].reason or ""
    assert "--set accumulate=1" in reason
    with pytest.raises(SpecError, match="--set accumulate=1"):  # the one reason the user can mend, not "not built yet"
        refuse_empty(plan(records, data=("mine",), store=store, rows=(ALIGNED,)))
    changed = plan(records, data=("mine",), store=store, overrides={"accumulate": 1}).plan.rows[ALIGNED]
    assert changed.overrides == {"accumulate": 1}
    assert changed.notes == ("settings changed: accumulate=1",)


def test_a_setting_of_one_model_skips_the_rows_of_the_others(records: Records) -> None:
    """A row whose model lacks a setting is not run without it in silence; a misspelt one still ends the command."""
    rows = plan(records, overrides={"lambda_dec": 0.2}).plan.rows
    assert rows[ALIGNED].overrides == {"lambda_dec": 0.2}
    assert "--set lambda_dec" in (rows["mosi-aligned-glove-mult"].reason or "")
    with pytest.raises(SpecError, match="Did you mean 'lambda_d"):
        plan(records, overrides={"lamda_dec": 0.2})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((ALIGNED,), {ALIGNED}),
        (("dmd",), {ALIGNED, STARRED, UNALIGNED}),
        (("DMD*",), {STARRED}),
        (("aligned-glove-dmd",), {ALIGNED}),
        ((f"{ALIGNED},{STARRED}",), {ALIGNED, STARRED}),
    ],
)
def test_rows_can_be_named_as_a_user_would(asked: tuple[str, ...], expected: set[str]) -> None:
    """A key, a method as printed, or words of a key; `aligned` does not mean `unaligned`."""
    table = load_table("table1")
    assert {row.key for row in select_rows(table, asked) if row.method == "DMD"} == expected


def test_misspelt_names_are_the_users_to_mend(records: Records) -> None:
    """A typing error is one message, not a reason under every row."""
    with pytest.raises(SpecError, match="Did you mean"):
        plan(records, rows=("mosi-aligned-glove-dmdd",))
    with pytest.raises(SpecError, match="Did you mean 'max_epochs'"):
        plan(records, overrides={"max_epoch": "3"})
    with pytest.raises(DataError, match="synthetic"):
        plan(records, data=("sinthetic",))


def test_equal_specs_are_one_run(records: Records) -> None:
    """Rows of two data sets on the same stand-in, and rows of two tables, share their runs."""
    first = plan(records, table="table3")
    uses = sum(len(row.runs) for row in first.plan.rows.values())
    assert len(first.jobs) == uses / 2  # the MOSI and the MOSEI half
    assert all(len(job.rows) == 2 for job in first.jobs)
    assert set(plan(records).plan.rows[UNALIGNED].runs.values()) < {job.run_id for job in first.jobs}


def test_rows_outside_the_filter_keep_their_plan(records: Records) -> None:
    """`--rows` narrows the work, not the table."""
    before = quick(records)
    save_plan(records.root, before.plan)
    after = plan(records, rows=(STARRED,), overrides=QUICK)
    assert after.plan.rows[ALIGNED] == before.plan.rows[ALIGNED]
    assert after.plan.rows[UNALIGNED].reason == grid.NOT_ASKED
    assert {key for job in after.jobs for key in job.rows} == {STARRED}


def test_the_estimate_uses_runs_there_are(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are timed only for a configuration that was never run; the bound is every run to its last epoch."""
    planned, store, timed = quick(records), Store(records.root.parent / "data"), []
    each = seconds_per_epoch(planned.jobs, records, store, Execution(), timed.append)
    assert len(timed) == len(each) == 1
    assert most_seconds([job.max_epochs * each[job.configuration_id] for job in planned.jobs]) == pytest.approx(
        2 * 2 * next(iter(each.values()))
    )
    assert most_seconds([1.0, 1.0, 4.0], workers=2) == 5.0  # the long one may start last: 1 and then 4 alone
    assert most_seconds([], workers=2) == 0.0
    run_jobs(planned.jobs[:1], records, store, execution=Execution())
    monkeypatch.setattr(training, "seconds_per_epoch", None)
    assert len(seconds_per_epoch(planned.jobs, records, store, Execution())) == 1


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
    fork = multiprocessing.get_context("fork")  # so that the workers are as patched

    class Worker(fork.Process):  # type: ignore[name-defined,misc]
        def join(self, timeout: float | None = None) -> None:
            super().join(0.5)  # forked, it holds the other end of its own pipe, and would wait for that to close
            self.kill()

    context = SimpleNamespace(Pipe=fork.Pipe, Process=Worker)
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda kind: context)
    jobs, messages = [*first.jobs, *second.jobs], []

    def on_event(event: Event) -> None:
        if event.kind == "failed":
            messages.append(event.message)

    stacks = group(jobs, records, stack)
    queue = Queue(stacks, records, lambda job: None)
    failed = processes.in_processes(queue, records, Store(tmp_path / "data"), Execution(stack=stack), 1, on_event)
    assert sorted(failed) == sorted(job.run_id for job in first.jobs)
    assert messages == ["RuntimeError: CUDA error: unspecified launch failure"] * 2
    assert records.status(second.jobs[0].run_id) == "done"
    assert len(gone) == 0, "the processes that met the error took it with them"
    assert all("launch failure" in (records.failure(run) or "") for run in failed)


def test_workers_share_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device cuda` is every card of the machine, one worker after the other; a named card is one."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert (training_execution.cards("cuda"), training_execution.cards("cuda:1"), training_execution.cards("cpu")) == (
        2, 1, 1,
    )  # fmt: skip
    for number in range(3):
        training_execution.take_card(number)
    assert taken == [0, 1, 0]


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
