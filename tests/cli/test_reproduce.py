"""`dmd reproduce` as a user types it: plan, runs, table; the same numbers after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from command import Here, start

from dmd_repro.records.folder import Records
from dmd_repro.training import fit as training

QUICK = (
    *("reproduce", "table1", "--data", "synthetic", "--rows", "mosi-aligned-glove-dmd"),
    *("--set", "d=4", "--set", "heads=2", "--set", "layers=1"),
)


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


def test_a_table_is_planned_trained_and_printed(dmd: Here) -> None:
    """One command from nothing to the table; the second time there is nothing to train, and the table is the same."""
    arguments = (*QUICK, "--seeds", "2", "--epochs", "1", "--jobs", "1")
    first = dmd(*arguments)
    assert first.code == 0
    assert "2 to train" in first.out
    assert "SYNTHETIC DATA" in first.out
    assert "84.5" in first.out  # the printed number stands beside
    assert "[2/2]" in first.out
    again = dmd(*arguments)
    assert "nothing to train: all 2 runs are there" in again.out
    title = "Table 1: CMU-MOSI (SYNTHETIC"
    assert again.out.partition(title)[2] == first.out.partition(title)[2]
    more = dmd(*QUICK, "--seeds", "3", "--epochs", "1", "--jobs", "1", "--json")
    document = json.loads(more.out)
    assert (document["to_train"], document["done"], document["failed"]) == (1, 2, [])


def test_a_dry_run_trains_and_writes_nothing(dmd: Here) -> None:
    """The plan can be looked at, as text or JSON, before hours are spent."""
    said = dmd("reproduce", "table1", "--data", "synthetic", "--rows", "dmd", "--seeds", "2", "--dry-run", "--json")
    assert said.code == 0
    document = json.loads(said.out)
    assert document["to_train"] == 6
    assert document["at_most_seconds"] is None  # no run of these rows is there to tell, and nothing is timed
    assert document["rows"]["mosi-aligned-glove-tfn"]["reason"]
    assert not (dmd.folder / "runs").exists()


def test_all_tables_share_their_runs(dmd: Here) -> None:
    """`all` carries out one table after the other; a run that three of them use is trained once."""
    asked = (
        *("reproduce", "all", "--data", "synthetic", "--rows", "mosi-unaligned-glove-dmd", "--seeds", "1111,"),
        *("--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--epochs", "1", "--jobs", "1", "--json"),
    )
    planned = json.loads(dmd(*asked, "--dry-run").out)
    assert [one["tables"] for one in planned["configurations"]] == [["table1", "table3", "table5"]]
    assert planned["configurations"][0]["cpu"]["source"] == "not measured"  # no figure is of such small clips
    assert not (dmd.folder / "runs").exists()
    done = json.loads(dmd(*asked).out)["tables"]
    assert [(one["table"]["table"], one["to_train"], one["done"]) for one in done] == [
        ("table1", 1, 0), ("table3", 0, 1), ("table5", 0, 1),
    ]  # fmt: skip
    again = json.loads(dmd(*asked, "--dry-run").out)["configurations"][0]
    assert (again["to_train"], again["cpu"]["source"], again["cpu"]["hours"]) == (0, "finished runs here", 0)


def test_all_tables_without_data_say_what_each_lacks(dmd: Here) -> None:
    """Nothing is trained, and no record folder made, where a table has no row that can be run."""
    said = dmd("reproduce", "all", "--rows", "mult")
    assert said.code == 2
    assert "none in table1, table2, table5" in said.err
    assert "--dry-run" in said.err
    for name in ("mosi-aligned-glove", "mosei-unaligned-glove"):
        assert f"dmd data download {name}" in said.words
    assert not (dmd.folder / "runs").exists()


def test_kill_9_of_the_whole_command_changes_no_bit(dmd: Here, tmp_path: Path) -> None:
    """Killed in the middle of parallel work, the same command finishes the job with the numbers of an unbroken one."""
    arguments = (*QUICK, "--seeds", "3", "--epochs", "4")
    process = start(*arguments, "--jobs", "2", cwd=tmp_path)
    records = Records(tmp_path / "runs")
    deadline = time.monotonic() + 120
    while not any(records.root.glob("*.tmp/resume.safetensors")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert [records.status(run) for run in records.run_ids()].count("done") < 3
    assert dmd(*arguments, "--jobs", "1").code == 0  # waits for the orphans to notice, a second at most
    assert dmd(*arguments, "--jobs", "1", "--runs-dir", str(tmp_path / "whole")).code == 0
    runs = records.run_ids()
    assert len(runs) == 3
    for run in runs:
        for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
            assert (records.root / run / name).read_bytes() == (tmp_path / "whole" / run / name).read_bytes()


def test_ctrl_c_stops_promptly_and_says_what_is_kept(tmp_path: Path) -> None:
    """An interruption is no traceback: exit code 130, and the same command goes on."""
    process = start(*QUICK, "--seeds", "3", "--epochs", "500", "--set", "early_stop=500", "--jobs", "2", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not any((tmp_path / "runs").glob("*.tmp/resume.safetensors")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "0 of 3 runs are done, the others keep their finished epochs" in err
    assert "Traceback" not in err


def test_a_failed_run_is_exit_code_1(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is printed with what there is, the failure is named, and the exit code tells a script."""
    real = training.fit

    def broken(spec, *arguments, **options):
        if spec.seed == 1112:
            raise FloatingPointError("went wrong")
        return real(spec, *arguments, **options)

    monkeypatch.setattr(training, "fit", broken)
    said = dmd(*QUICK, "--seeds", "2", "--epochs", "1", "--jobs", "1")
    assert said.code == 1
    assert "FAILED: FloatingPointError: went wrong" in said.words
    assert "1/2" in said.out
    run = said.err.strip().rpartition(" ")[2]
    assert "went wrong" in dmd("runs", "show", run).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("reproduce", "tabel1", "--data", "synthetic"), "Did you mean 'table1'?"),
        (("reproduce", "table1"), "dmd reproduce table1 --data synthetic"),
        (("reproduce", "table1", "--data", "nothing"), "'nothing'"),
        (("reproduce", "table1", "--data", "synthetic", "--rows", "tnf"), "Did you mean"),
        (("reproduce", "table1", "--data", "synthetic", "--rows", "mica"), "at least one row that can be run"),
        (("reproduce", "table1", "--data", "synthetic", "--seeds", "0"), "1 to 50"),
        (("reproduce", "table1", "--data", "synthetic", "--device", "cuda:63"), "--device cpu"),
        ((*QUICK, "--set", "layer=3"), "Did you mean 'layers'?"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], told: str) -> None:
    """What the user can mend is said in one sentence with exit code 2, and nothing is written."""
    said = dmd(*arguments)
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert not (dmd.folder / "runs").exists()


def test_a_runs_folder_that_cannot_be_written_stops_before_training(dmd: Here) -> None:
    """The plan is written first, so the message comes before hours are spent."""
    (dmd.folder / "runs").write_text("a file")
    said = dmd(*QUICK, "--seeds", "1", "--epochs", "1")
    assert said.code == 2
    assert "--runs-dir" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        QUICK,
        ("train", "dmd", "--data", "synthetic"),
        ("ablate", "--data", "synthetic", "--drop", "ca"),
        ("bench", "--data", "synthetic"),
    ],
    ids=lambda a: a[0],
)
@pytest.mark.parametrize(("asked", "told"), [("tf32", "Add --device cuda"), ("tf31", "Did you mean 'tf32'?")])
def test_products_a_device_lacks_are_refused_in_a_sentence(
    dmd: Here, arguments: tuple[str, ...], asked: str, told: str
) -> None:
    """A lower precision is never silently another one, and what cannot be run leaves nothing behind."""
    said = dmd(*arguments, "--set", f"precision={asked}")
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert not (dmd.folder / "runs").exists()
