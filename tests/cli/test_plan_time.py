"""The time that a plan of one table names: by runs of this machine, else by figures that fit, else 'not measured'."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command import Here
from small_plans import ALIGNED, plan
from toy_store import put

from dmd_repro.data.store.folder import Store
from dmd_repro.execution import estimate
from dmd_repro.planning.figures import Figure, measured
from dmd_repro.planning.hours import Counted
from dmd_repro.planning.whole import of_jobs
from dmd_repro.records.folder import Records
from dmd_repro.training.execution import Execution

TABLE = ("reproduce", "table1", "--dry-run", "--seeds", "2", "--jobs", "2", "--rows")
SIZES = {"train": 200, "valid": 20, "test": 30}


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, where an excerpt of aligned MOSI is imported, as wide and as long as the public file."""
    put(tmp_path / "data", "mosi-aligned-glove", public=True, sizes=SIZES)
    return Here(tmp_path, monkeypatch, capsys)


def hours_of(case: str) -> float:
    """Seconds that an epoch of the excerpt takes by the figure that ships for aligned MOSI."""
    of = ("mosi", (50, 50, 50), (300, 5, 20))
    (found,) = {f for f in measured() if (f.kind, f.case.model) == ("cpu", case) and _of(f) == of}
    return found.epoch(SIZES)


def where_and_when() -> str:
    """How a plan names the figures that ship: a core's are all of one machine and day."""
    ((machine, date),) = {(f.machine, f.date) for f in measured() if f.kind == "cpu"}
    return f"figures measured on {machine}, {date}"


def _of(figure: Figure) -> tuple[object, ...]:
    return figure.case.dataset, figure.case.steps, figure.case.widths


def test_figures_of_the_same_sizes_tell_before_anything_ran(dmd: Here) -> None:
    """Protects: the first lines of a plan say how long it takes, by the clips that are there, and how that is known."""
    said = dmd(*TABLE, ALIGNED)
    title, time, runs, source, epochs = said.out.splitlines()[:5]
    assert (title, runs.split()[0]) == ("plan of Table 1: CMU-MOSI (seeds 1111, 1112)", "2")
    assert time.startswith("typically ")
    assert time.endswith(" on 2 processes")
    assert source.strip() == f"from {where_and_when()}"
    assert epochs.strip() == "epochs a run: as one published run of DMD had"
    document = json.loads(dmd(*TABLE, ALIGNED, "--json").out)
    assert document["typical_seconds"] == pytest.approx(29 * hours_of("dmd"), abs=0.1)  # a run on each of two processes
    assert document["at_most_seconds"] == pytest.approx(200 * hours_of("dmd"), abs=0.1)
    other = json.loads(dmd(*TABLE, ALIGNED, "--json", "--set", "d=40").out)
    assert (other["at_most_seconds"], other["configurations_not_measured"]) == (None, 1)


def test_own_runs_come_before_figures(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: what this machine has measured itself is taken where it is there, and both sources are named."""
    (first, *_) = plan(
        Records(dmd.folder / "runs"), rows=(ALIGNED,), data=("mosi-aligned-glove",), store=Store(dmd.folder / "data")
    ).jobs
    monkeypatch.setattr(estimate, "seen_in", lambda records: {(first.configuration_id, "cpu"): Counted(3, 7.0, 12.0)})
    document = json.loads(dmd(*TABLE, ALIGNED, "--json").out)
    assert (document["typical_seconds"], document["at_most_seconds"]) == (12 * 7.0, 200 * 7.0)
    said = " ".join(dmd(*TABLE, f"{ALIGNED},mosi-aligned-glove-tfn").out.split())
    assert f"from this machine's own runs (1 of 2); {where_and_when()} (1 of 2)" in said
    assert "as counted in finished runs here (1 of 2)" in said


def test_synthetic_clips_get_no_hours_of_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a figure of real features is none of generated ones, be they as wide and as long."""
    records, store = Records(tmp_path / "runs"), Store(tmp_path / "data")
    jobs = plan(records, rows=(ALIGNED,)).jobs
    (own,) = of_jobs(jobs, store, {job.run_id: "missing" for job in jobs})
    real = Figure(replace(own.case, dataset="mosi"), "cpu", "a core", "2026-01-01", "made up", 1.0, None)
    monkeypatch.setattr(estimate, "measured", lambda: [real])
    (cost,) = estimate.job_costs(jobs, records, store, Execution(), timed=False).values()
    assert (cost.seconds_per_epoch, cost.source) == (None, "not measured")
    monkeypatch.setattr(estimate, "measured", lambda: [replace(real, case=own.case)])
    (cost,) = estimate.job_costs(jobs, records, store, Execution(), timed=False).values()
    assert cost.source == "a core"


def test_what_is_known_in_part_is_said_of_that_part(dmd: Here) -> None:
    """Protects: hours of some configurations are not told as those of all; rows without data are told apart."""
    said = dmd(
        "ablate", "--drop", "heterogd", "--data", "mosi-aligned-glove", "--seeds", "2", "--jobs", "2", "--dry-run"
    )
    assert "for 1 of 2 configurations: the others are not measured" in " ".join(said.out.split())
    lines = dmd(*TABLE, "aligned-glove-dmd,unaligned-glove-dmd").out.splitlines()
    more = next(line for line in lines if "more for the 2 runs whose data are not" in line)
    assert more.startswith("typically ")
    assert "time not measured" in dmd(*TABLE, ALIGNED, "--data", "synthetic").out


def test_a_figure_is_of_as_many_seeds_as_share_a_step(dmd: Here) -> None:
    """Protects: on a card, `--stack 1` gets no hours of seeds that were measured together."""
    card = ("reproduce", "table1", "--rows", ALIGNED, "--dry-run", "--device", "cuda:0", "--json")
    alone, together = (json.loads(dmd(*card, "--stack", n).out)["at_most_seconds"] for n in ("1", "auto"))
    each = {f.stack: f.epoch(SIZES) for f in measured() if f.kind == "cuda" and f.case.steps == (50, 50, 50)}
    assert (alone, together) == (pytest.approx(1000 * each[1], abs=0.1), pytest.approx(1000 * each[5], abs=0.1))
