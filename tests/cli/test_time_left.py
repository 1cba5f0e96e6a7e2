"""`at most`: renewed by the epochs that come in, and never of epochs that are on disk already."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_plans import plan

from dmd_repro.cli.carry import Ahead, look_ahead
from dmd_repro.cli.progress import Work
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.execution.attempt import Event
from dmd_repro.planning.grid import Job
from dmd_repro.records.folder import Records
from dmd_repro.training import fit as training
from dmd_repro.training.execution import Execution
from dmd_repro.training.fit import fit
from dmd_repro.training.report import EpochReport

SMALL = {"max_epochs": 4, "d": 4, "heads": 2, "layers": 1}


class Stop(BaseException):
    """An interruption."""


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty folder of runs."""
    return Records(tmp_path / "runs")


def jobs_of(records: Records) -> tuple[Job, ...]:
    """Two runs of at most four epochs."""
    return plan(records, rows=("mosi-aligned-glove-dmd",), overrides=SMALL).jobs


def ahead(records: Records, monkeypatch: pytest.MonkeyPatch, workers: int = 1) -> Ahead:
    """What is ahead where an epoch is estimated at 10 s."""
    jobs = jobs_of(records)
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *a: 10.0)
    store = Store(records.root.parent / "data")
    return look_ahead(jobs, records, store, Execution(), jobs=workers, slurm=None)


def epoch(job: Job, number: int, seconds: float) -> Event:
    """An epoch that ended."""
    return Event("epoch", job, EpochReport(job.spec.seed, number, 4, seconds, 1.0, 0, 1.0, False))


def test_a_loaded_machine_moves_the_bound(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: epochs that take three times the estimate are said with the first of them, not found out at the end."""
    work = Work(ahead(records, monkeypatch), records, err=True)
    first, second = jobs_of(records)
    assert work.time_left == "at most 1 min 20 s left"
    work.on_event(Event("started", first))
    work.on_event(epoch(first, 1, 30.0))
    assert work.time_left == "at most 3 min 30 s left"  # 7 epochs of 30 s
    work.on_event(epoch(first, 2, 10.0))
    assert work.time_left == "at most 2 min 00 s left"  # 6 epochs of 20 s, the mean so far
    work.on_event(Event("started", second))
    work.on_event(epoch(second, 1, 20.0))
    assert work.time_left == "at most 1 min 40 s left"


def test_runs_at_work_are_counted_before_those_that_wait(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Protects: side by side, what is left is the longest of what runs, not the sum."""
    work = Work(ahead(records, monkeypatch, workers=2), records, err=True)
    first, second = jobs_of(records)
    work.on_event(Event("started", second))
    work.on_event(Event("started", first))
    work.on_event(epoch(second, 3, 10.0))
    assert work.time_left == "at most 40 s left"


def test_after_a_resume_only_the_epochs_left_are_counted(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: of a run interrupted after three of four epochs one is ahead."""
    job = jobs_of(records)[0]

    def stop(report: EpochReport) -> None:
        if report.epoch == 3:
            raise Stop

    features = load_features(job.data, Store(records.root.parent / "data"), text=job.text)
    with pytest.raises(Stop):
        fit(job.spec, features, records, execution=Execution(), on_epoch=stop)
    found = ahead(records, monkeypatch)
    assert sorted(found.left.values()) == [1, 4]
    assert found.seconds == 50.0
    assert Work(found, records, err=True).time_left == "at most 50 s left"
