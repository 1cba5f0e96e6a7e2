"""`dmd runs rm`: a run goes as a whole, unless somebody is at it, and what counted it is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Here
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.cli import ask
from dmd_repro.errors import SpecError
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.looks import begun_runs, note_look, sealed
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records, RunBusy
from dmd_repro.records.lock import RunLock
from dmd_repro.records.remove import remove
from dmd_repro.records.repair import repair, troubles

ROW = load_table("table1").row("mosi-aligned-glove-dmd")
STAMP = stamp_for(ROW)
SPECS = [spec_for(ROW, seed) for seed in (1, 2)]


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Two whole runs of a row and the plan that names them."""
    for n, one in enumerate(SPECS):
        write_record(tmp_path / "runs", one, STAMP, predictions_with(n))
    plan_rows(tmp_path / "runs", "table1", {ROW.key: (STAMP, SPECS)})
    return Records(tmp_path / "runs")


def test_a_run_is_removed_after_a_yes_and_what_counts_it_is_said(
    records: Records, dmd: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: nothing goes unasked, the table is named, and a report shows the seed as missing, not as gone."""
    run, other = records.run_ids()
    asked = dmd("runs", "rm", run[:8])
    assert (asked.code, "Add --yes" in asked.err) == (2, True)
    assert f"{run} done: dmd, seed " in asked.out
    assert "counted by table1 (mosi-aligned-glove-dmd)" in asked.words
    monkeypatch.setattr(ask, "on_a_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text: False)
    assert "Nothing was removed" in dmd("runs", "rm", run).out
    assert records.run_ids() == sorted([run, other])
    gone = dmd("runs", "rm", run, run[:8], "--yes")
    assert (gone.code, gone.out.splitlines()[-1]) == (0, f"Removed {run}.")
    assert records.run_ids() == [other]
    assert not [p for p in records.root.iterdir() if "removed" in p.name]
    assert "1/2" in dmd("report", "table1").out
    assert dmd("runs", "rm", run, "--yes").code == 2


@pytest.mark.parametrize("ending", [".tmp", ".failed"])
def test_a_run_that_is_not_done_goes_too(records: Records, ending: str) -> None:
    """Protects: an interrupted or FAILED run is removed; beside a whole record neither stays behind."""
    run, _ = records.run_ids()
    shutil.copytree(records.root / run, records.root / f"{run}{ending}")
    remove(records, run)
    assert records.status(run) == "missing"


def test_a_run_at_work_stays(records: Records, dmd: Here) -> None:
    """Protects: of several runs none goes where one is being trained; a lock alone is respected too."""
    one, other = records.run_ids()
    with RunLock(records.root, one) as lock:
        assert lock.take()
        with pytest.raises(RunBusy, match="its lock taken"):
            remove(records, one)
        lock.sign()
        said = dmd("runs", "rm", other, one, "--yes")
        assert (said.code, "at work on it" in said.err) == (2, True)
    assert records.run_ids() == sorted([one, other])


@pytest.mark.parametrize("deleting", [1, 2])
def test_a_killed_removal_leaves_a_whole_run_or_none(
    records: Records, monkeypatch: pytest.MonkeyPatch, deleting: int
) -> None:
    """Protects: whenever it is killed, no folder reads as a run it is not; `verify --repair` takes what is left."""
    run, other = records.run_ids()
    shutil.copytree(records.root / run, records.root / f"{run}.tmp")
    real, seen = shutil.rmtree, []

    def killed(path: Path, **options: object) -> None:
        seen.append(path)
        if len(seen) == deleting:
            raise KeyboardInterrupt
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(records, run)
    assert records.run_ids() == [other]
    left = troubles(records)
    assert {t.problem for t in left} == {"a run whose removal was interrupted"}
    repair(records, left)
    assert not troubles(records)


def test_a_look_outlives_the_runs_it_was_at(records: Records) -> None:
    """Protects: who has seen a verdict cannot remove its runs and seal another margin for the same plan."""
    plan = load_plan(records.root, "table1", None)
    assert plan is not None
    note_look(records.root, plan.table, plan.data, plan.run_ids, "n = 2")
    for run in plan.run_ids:
        remove(records, run)
    assert begun_runs(records, plan, None) == 2
    with pytest.raises(SpecError, match="--margin 3: expected a plan of which no run has begun, got 2 that have"):
        sealed(plan, plan, begun_runs(records, plan, None), margin=3)
