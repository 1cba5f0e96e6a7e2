"""`--stack`: which seeds go together, that a table comes out the same, and what happens when a stack breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_plans import run_jobs

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError
from dmd_repro.papers.tables import load_table
from dmd_repro.planning import grid
from dmd_repro.planning.stacks import group, parse_stack
from dmd_repro.records.folder import Records
from dmd_repro.training import fit as training
from dmd_repro.training.fit import Execution

QUIET = dict.fromkeys(("text_dropout", "output_dropout", "attn_dropout", "attn_dropout_a"), 0.0)
QUICK = {**QUIET, "max_epochs": 2, "d": 8, "heads": 2, "layers": 1}


def planned(records: Records, seeds: tuple[int, ...] = (1, 2, 3), **more: object) -> grid.PlannedTable:
    """Return two quick rows of Table 1 on synthetic features: aligned ones, which are short."""
    table = load_table("table1")
    rows = ["mosi-aligned-glove-dmd", "mosi-aligned-bert-dmd"]
    return grid.expand(
        table, seeds=seeds, store=Store(records.root.parent / "data"), records=records, data=("synthetic",), rows=rows,
        overrides={**QUICK, **more},
    )  # fmt: skip


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty folder of runs."""
    return Records(tmp_path / "runs")


def test_rows_never_share_a_stack_and_seeds_do(records: Records) -> None:
    """Protects: stacks hold one configuration, at most so many seeds, and every job once."""
    jobs = planned(records).jobs
    for most, sizes in ((1, [1] * 6), (2, [2, 1, 2, 1]), (0, [3, 3])):
        stacks = group(jobs, records, most)
        assert [len(stack) for stack in stacks] == sizes
        assert sorted(job.run_id for stack in stacks for job in stack) == sorted(job.run_id for job in jobs)
        assert all(len({job.configuration_id for job in stack}) == 1 for stack in stacks)


@pytest.mark.usefixtures("warm_workers")
def test_a_table_is_the_same_stacked_and_one_by_one(records: Records, tmp_path: Path) -> None:
    """Protects: `--stack` is a matter of time: predictions agree to float tolerance, and each run is recorded alone."""
    jobs, store, side = planned(records).jobs, Store(tmp_path / "data"), Records(tmp_path / "side")
    kinds: list[str] = []
    assert run_jobs(jobs, records, store, execution=Execution(stack=0), on_event=lambda e: kinds.append(e.kind)) == []
    assert kinds.count("finished") == len(jobs)
    assert kinds.count("epoch") == 2 * len(jobs)
    assert run_jobs(jobs, side, store, execution=Execution(stack=2), workers=2) == []
    for job in jobs:
        one, two = records.get(job.run_id), side.get(job.run_id)
        assert one is not None
        assert two is not None
        assert np.allclose(one.epochs("test"), two.epochs("test"), atol=1e-4)


def test_a_broken_stack_costs_only_the_seed_that_broke_it(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: what fails together is tried alone, so one seed's fault is one FAILED run with its reason."""
    jobs, store, real = planned(records).jobs[:3], Store(records.root.parent / "data"), training.fit_stack

    def broken(specs, *arguments, **options):
        if any(spec.seed == 2 for spec in specs):
            raise ZeroDivisionError("seed 2")
        return real(specs, *arguments, **options)

    monkeypatch.setattr(training, "fit_stack", broken)
    failed = run_jobs(jobs, records, store, execution=Execution(stack=0))
    assert failed == [jobs[1].run_id]
    assert [records.status(job.run_id) for job in jobs] == ["done", "failed", "done"]


def test_seeds_interrupted_together_go_on_together(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a resumed stack keeps its members, also when more seeds are asked for by then."""
    store, real = Store(records.root.parent / "data"), training.Loop.epoch

    def once(self):
        if self.seed_states[0].at.epoch == 1:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(training.Loop, "epoch", once)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(planned(records, seeds=(2, 3)).jobs, records, store, execution=Execution(stack=2))
    stacks = group(planned(records, seeds=(1, 2, 3, 4)).missing, records, 0)
    assert [[job.spec.seed for job in stack] for stack in stacks] == [[2, 3], [1, 4], [1, 2, 3, 4]]


def test_a_stack_killed_outright_goes_on(records: Records, tmp_path: Path) -> None:
    """Protects: `kill -9` during a stacked `dmd reproduce`: the same command ends in the bits of an undisturbed one."""
    jobs = planned(records, max_epochs=4).jobs[:3]
    script = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "from test_stacks_of_a_grid import *\n"
        "r = Records(Path(sys.argv[1])); j = planned(r, max_epochs=4).jobs[:3]\n"
        "run_jobs(j, r, Store(r.root.parent / 'data'), execution=Execution(stack=0))\n"
    )
    root = Path(__file__).parents[2]
    places = [str(records.root), str(Path(__file__).parent), str(root / "tests" / "helpers")]
    child = subprocess.Popen([sys.executable, "-c", script, *places], cwd=root)
    deadline = time.monotonic() + 120
    while not any(records.root.glob("*.tmp/resume.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    store, side = Store(tmp_path / "data"), Records(tmp_path / "side")
    assert any(records.status(job.run_id) == "partial" for job in jobs), "killed before it was done"
    for where in (records, side):
        assert run_jobs(jobs, where, store, execution=Execution(stack=0)) == []
    for job in jobs:
        ours, theirs = (w.root / job.run_id / "epochs.safetensors" for w in (records, side))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("text", ["0", "51", "-1", "many", "", "1.5"])
def test_a_wrong_stack_is_a_sentence(text: str) -> None:
    """Protects: `--stack` reads auto or a number, and says so."""
    with pytest.raises(SpecError, match="auto, or a number"):
        parse_stack(text)
    assert parse_stack("auto") == 0
    assert parse_stack("5") == 5
