"""`--on slurm`: nothing is submitted twice, nothing that ends is lost, and the bits are those of a run at home."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fake_slurm
import pytest
from command import Here

from dmd_repro.execution.slurm import client, submission, task
from dmd_repro.execution.slurm.submission import Submission, submissions
from dmd_repro.records.folder import Records
from dmd_repro.training.execution import Execution

TABLE = ("reproduce", "table3", "--data", "synthetic", "--rows", "mosi-unaligned-glove-dmd-no-parts")
SMALL = ("--set", "max_epochs=3", "--set", "d=4", "--set", "heads=2", "--set", "layers=1")
ON = ("--on", "slurm", "--gpus", "2", "--partition", "a b")
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from dmd_repro.cli import main
main()
"""
ONE = ("--data", "synthetic", "--seed", "3")
FILES = ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors")


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """`dmd` in a folder whose name holds a space."""
    (folder := tmp_path / "a folder").mkdir()
    return Here(folder, monkeypatch, capsys)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake scheduler, and where it keeps its state."""
    binaries = fake_slurm.install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", str(binaries), prepend=":")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "slurm" / "state"))
    monkeypatch.setenv("PYTHONPATH", str(Path(client.__file__).parents[3]))
    monkeypatch.setattr(client, "POLL", 0.25)  # each look starts a process, which takes the time of the tasks
    return tmp_path / "slurm" / "state"


def submitted(state: Path) -> list[list[str]]:
    """The options of every `sbatch`."""
    log = state / "sbatch.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_tasks_that_are_hit_end_in_the_bits_of_a_run_at_home(dmd: Here, state: Path, tmp_path: Path) -> None:
    """Time limit and memory: the first requeues itself and resumes, the second says so, and the same command again ends
    it; every file of every record is that of an undisturbed local training."""
    (state / "faults.json").write_text(json.dumps({"0": "signal", "1": "memory"}))
    said = dmd(*TABLE, *SMALL, *ON, "--seeds", "2")
    assert said.code == 1
    assert "took more memory than it had asked for" in said.out
    assert "1 of 2 runs FAILED" in said.err
    records = Records(dmd.folder / "runs")
    assert sorted(records.status(run) for run in records.run_ids()) == ["done", "partial"]
    assert {t["id"]: (t["state"], t["starts"]) for t in fake_slurm.tasks(state)} == {
        "1_0": ("COMPLETED", 2),
        "1_1": ("OUT_OF_MEMORY", 1),
    }
    (state / "faults.json").unlink()
    assert dmd(*TABLE, *SMALL, *ON, "--seeds", "2").code == 0
    assert len(submitted(state)) == 2
    same_as_at_home(dmd, tmp_path / "home", "2")
    facts = [records.get(run).provenance for run in records.run_ids()]  # type: ignore[union-attr]
    assert all(fact["command"].startswith("dmd reproduce table3") and fact["host"] for fact in facts)
    assert {(fact["job"], fact["task"]) for fact in facts} == {("1", "0"), ("2", "0")}
    assert {fact["restart"] for fact in facts if fact["job"] == "1"} == {"1"}


def same_as_at_home(dmd: Here, home: Path, seeds: str) -> None:
    """Every file of every record is that of an undisturbed local training."""
    records = Records(dmd.folder / "runs")
    assert dmd(*TABLE, *SMALL, "--seeds", seeds, "--runs-dir", str(home)).code == 0
    assert sorted(records.run_ids()) == sorted(Records(home).run_ids())
    for run in records.run_ids():
        for name in FILES:
            assert (records.root / run / name).read_bytes() == (home / run / name).read_bytes()


def test_preempted_tasks_and_those_of_a_lost_node_go_on(dmd: Here, state: Path, tmp_path: Path) -> None:
    """Requeued by Slurm, they resume by themselves; where a site requeues none, the client says so, and the same
    command ends them; the bits are those of a run at home."""
    (state / "faults.json").write_text(json.dumps({"0": "preempted", "1": "node", "2": "NODE_FAIL"}))
    said = dmd(*TABLE, *SMALL, *ON, "--seeds", "3")
    assert said.code == 1
    assert "its node was lost, and Slurm did not requeue the task; finished epochs are kept" in said.words
    assert [(task["state"], task["starts"]) for task in fake_slurm.tasks(state)] == [
        ("COMPLETED", 2), ("COMPLETED", 2), ("NODE_FAIL", 1),
    ]  # fmt: skip
    (state / "faults.json").unlink()
    assert dmd(*TABLE, *SMALL, *ON, "--seeds", "3").code == 0
    assert len(submitted(state)) == 2
    same_as_at_home(dmd, tmp_path / "home", "3")


CLOCKS = """
import os, time
real, index = time.time, os.environ.get("SLURM_ARRAY_TASK_ID")
if index:
    time.time = lambda: real() + (3600.0 if int(index) % 2 else -3600.0)
"""


def test_nodes_whose_clocks_differ_by_two_hours(
    dmd: Here, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a lost node held is held until its lease is over by the file server's clock: no task takes it sooner, none
    waits for hours, none asks without a pause; the bits are those of a run at home."""
    (skewed := tmp_path / "clocks").mkdir()
    (skewed / "sitecustomize.py").write_text(CLOCKS)
    monkeypatch.setenv("PYTHONPATH", str(skewed), prepend=":")
    (state / "faults.json").write_text(json.dumps({"0": "node", "1": "node"}))
    assert dmd(*TABLE, *SMALL, *ON, "--seeds", "2").code == 0
    for started in fake_slurm.tasks(state):
        lines = Path(started["output"]).read_text().splitlines()
        assert started["starts"] == 2
        assert any(line.endswith(" waiting") for line in lines)
        assert sum(line.endswith(" started") for line in lines) < 10
    same_as_at_home(dmd, tmp_path / "home", "2")


def test_a_second_client_attaches_and_cancel_stops(dmd: Here, state: Path) -> None:
    """Two clients, one submission; what is queued is shown, and cancelled as a whole or one by one."""
    (state / "hold").touch()
    first = dmd(*TABLE, *SMALL, *ON, "--seeds", "2", "--no-wait")
    assert first.code == 0
    assert "submitted: array 1, 2 tasks" in first.out
    again = dmd(*TABLE, *SMALL, *ON, "--seeds", "3", "--no-wait")
    assert "2 runs are queued or training already: attached to them" in again.out
    assert "submitted: array 2, 1 tasks" in again.out
    rows = json.loads(dmd("runs", "list", "--json").out)
    assert [row["status"] for row in rows] == ["queued"] * 3
    options = submitted(state)[0]
    assert {"--partition=a b", "--array=0-1%2", "--gres=gpu:1", "--requeue"} <= set(options)
    assert dmd("runs", "cancel", rows[0]["run_id"]).out.startswith("1 jobs cancelled: ")
    assert dmd("runs", "cancel").out.startswith("2 jobs cancelled: ")
    assert dmd("runs", "cancel").out == "nothing is queued or training on Slurm\n"
    assert dmd("runs", "cancel", rows[0]["run_id"]).code == 2
    assert json.loads(dmd("runs", "list", "--json").out) == []
    (state / "hold").unlink()


def test_more_tasks_than_a_site_allows_are_several_arrays(
    dmd: Here, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's largest array is no limit of a plan."""
    monkeypatch.setenv("FAKE_ARRAY", "2")
    (state / "hold").touch()
    assert dmd(*TABLE, *SMALL, *ON, "--seeds", "5", "--no-wait").code == 0
    arrays = [next(o for o in options if o.startswith("--array=")) for options in submitted(state)]
    assert arrays == ["--array=0-1%2", "--array=0-1%2", "--array=0-0%2"]
    dmd("runs", "cancel")
    (state / "hold").unlink()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--on", "slurm", "--partition", "nowhere"), "'sbatch: error: invalid partition specified: nowhere'"),
        (("--on", "slurn"), "Did you mean 'slurm'?"),
        (("--on", "slurm", "--sbatch", "--mem='1"), "Close the quote"),
        (("--gpus", "2"), "--gpus: expected --on slurm beside it"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, state: Path, options: tuple[str, ...], says: str) -> None:
    """What Slurm refuses is told in its own words; nothing is left that a later command would wait for."""
    said = dmd(*TABLE, *SMALL, *options)
    assert said.code == 2
    assert says in said.err
    assert list(submissions(dmd.folder / "runs")) == []


def test_without_slurm_the_way_out_is_named(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop `--on slurm` is one sentence."""
    monkeypatch.setenv("PATH", "/nowhere")
    said = dmd(*TABLE, *SMALL, *ON)
    assert said.code == 2
    assert "expected Slurm's commands on the PATH, got no" in said.err


def test_a_login_node_needs_no_card_and_no_torch(dmd: Here, state: Path) -> None:
    """`--device cuda` is planned and submitted where there is no card, by a process that cannot import torch."""
    (state / "hold").touch()
    on = ("--on", "slurm", "--device", "cuda")
    for line in ((*TABLE, *on, "--dry-run"), (*TABLE, *on, "--no-wait"), ("train", "dmd", *ONE, *on, "--no-wait")):
        said = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *line], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert "time not measured" in said.stdout + said.stderr
    assert len(submitted(state)) == 2
    dmd("runs", "cancel")
    (state / "hold").unlink()


@pytest.fixture
def one(dmd: Here, state: Path) -> Submission:
    """A submission that waits."""
    (state / "hold").touch()
    dmd(*TABLE, *SMALL, *ON, "--seeds", "1,", "--no-wait")
    dmd("runs", "cancel")
    (state / "hold").unlink()
    return next(submissions(dmd.folder / "runs"))


def test_a_task_that_ends_no_epoch_is_not_requeued_for_ever(
    one: Submission, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch longer than the time limit would come back until the end of the grant: two starts, then the reason."""

    def up(*_: object) -> list[str]:
        raise task.TimeIsUp

    requeued: list[bool] = []
    monkeypatch.setattr(task, "in_this_process", up)
    monkeypatch.setattr(task, "_requeue", lambda: requeued.append(True) or 1)
    monkeypatch.setattr(task.signal, "signal", lambda *_: None)
    records, job = Records(one.folder.parent.parent), one.stacks[0][0]
    assert task.carry_out(one, 0) == 1
    assert task.carry_out(one, 0) == 1
    assert requeued == [True]
    assert "ended no epoch within the time limit" in (records.failure(job.run_id) or "")


def test_a_task_that_gets_on_is_requeued_each_time(
    one: Submission, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A start that ended an epoch begins the count again."""
    path = tmp_path / "starts.json"
    assert [task._idle_starts(path, epochs) for epochs in (0, 0, 3, 3, 5)] == [1, 2, 1, 2, 1]
    path.write_text("half of")
    assert task._idle_starts(path, 5) == 1


def test_a_node_that_does_not_see_the_folder_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The one thing a client cannot find out beforehand."""
    assert task.main([str(tmp_path / "elsewhere"), "0"]) == 2
    assert "choose one on a shared disk with --runs-dir" in capsys.readouterr().out


def test_a_controller_that_is_away_ends_nothing(one: Submission, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """slurmctld is restarted while jobs go on: a client says so once and looks again."""
    (state / "away").touch()
    said: list[str] = []
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 10:
            (state / "away").unlink()

    monkeypatch.setattr(client.time, "sleep", sleep)
    job = one.stacks[0][0]
    watched = {job.run_id: client.Watched(job, one, 0)}
    records = Records(one.folder.parent.parent)
    slurm = client.Slurm(records, one.data, Execution(), client.Options(), "t", "dmd", {}, said.append)
    events: list[str] = []
    assert slurm._watch(watched, lambda event: events.append(event.message)) == [job.run_id]
    assert len(said) == 1
    assert len(looks) >= 10
    assert events[-1].startswith("its task was cancelled")


def test_a_damaged_submission_stands_in_nobodys_way(one: Submission) -> None:
    """Half a file of jobs hides no other, and a task that meets it says what it is."""
    (one.folder / "job.json").write_text('{"version": 1')
    assert list(submissions(one.folder.parent.parent)) == []
    assert submission.jobs_dir(one.folder.parent.parent).is_dir()
