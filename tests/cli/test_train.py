"""`dmd train` as a user types it: a record and its numbers, bit for bit the same after a kill -9."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import statistics
from pathlib import Path

import pytest
from command import Here, start
from toy_store import put

from dmd_repro.records import writer as records_writer
from dmd_repro.records.folder import Records

QUICK = ("train", "dmd", "--data", "synthetic", "--set", "d=4", "--set", "heads=2", "--set", "layers=1")


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


def test_a_run_says_what_it_does_and_what_came_out(dmd: Here) -> None:
    """Plan and estimate first, progress, then both conventions under the mark of what the data is."""
    said = dmd(*QUICK, "--epochs", "2", "--seed", "7")
    assert said.code == 0
    assert "at most 2 epochs of about" in said.err
    assert "epoch 2/2" in said.err
    assert "SYNTHETIC DATA" in said.out
    assert "negative / non-negative" in said.out
    run = Records(dmd.folder / "runs").run_ids()[0]
    assert said.out.rstrip().endswith(f"record: runs/{run}")


def test_json_is_the_whole_of_stdout_and_a_second_call_trains_nothing(dmd: Here) -> None:
    """A script can read the result; a run that is there is shown, not repeated."""
    first = dmd(*QUICK, "--epochs", "1", "--json")
    document = json.loads(first.out)
    assert {"run_id", "path", "dataset", "metrics", "best_epoch", "epochs", "seconds", "standing"} <= set(document)
    assert document["standing"] == "synthetic"
    assert {"acc2_non0", "acc2_has0", "mae", "corr"} <= set(document["metrics"]["test"])
    written = (Path(document["path"]) / "DONE").stat().st_mtime_ns
    again = dmd(*QUICK, "--epochs", "1", "--json")
    assert json.loads(again.out) == document
    assert "already there" in again.err
    assert (Path(document["path"]) / "DONE").stat().st_mtime_ns == written


def test_several_seeds_are_runs_of_their_own_with_their_mean(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed is the run it would be alone; mean and STD are those of the runs; a second call trains nothing."""
    monkeypatch.setenv("DMD_BERT", "nowhere")  # of use only where token ids are read
    said = dmd(*QUICK, "--epochs", "1", "--seeds", "7,8", "--jobs", "1", "--json")
    document = json.loads(said.out)
    assert [run["seed"] for run in document["runs"]] == [7, 8]
    values = [run["metrics"]["test"]["mae"] for run in document["runs"]]
    assert document["over_seeds"]["test"]["mae"] == {
        "n": 2, "mean": pytest.approx(statistics.mean(values)), "std": pytest.approx(statistics.stdev(values)),
    }  # fmt: skip
    assert document["failed"] == []
    again = dmd(*QUICK, "--epochs", "1", "--seeds", "7,8")
    assert "all 2 runs are there, none trained again" in again.err
    assert f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" in again.out
    assert "SYNTHETIC DATA" in again.out
    assert "already there" in dmd(*QUICK, "--epochs", "1", "--seed", "8").err


def test_kill_9_in_the_middle_changes_no_bit(dmd: Here, tmp_path: Path) -> None:
    """A run killed twice and typed again ends as an uninterrupted one does: predictions, epochs, weights."""
    arguments = (*QUICK, "--epochs", "12")  # enough that a busy machine does not end it before it is hit
    for after, how in ((1, signal.SIGINT), (3, signal.SIGKILL)):
        process = start(*arguments, cwd=tmp_path)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"epoch {after}/"):
                break
        os.kill(process.pid, how)
        if how == signal.SIGINT:
            said = process.stderr.read()
            kept = r"\nrun [0-9a-f]{12}: (epoch 1 is|epochs 1 to ([2-9]|1[01]) are) kept\n"
            assert re.search(kept + "dmd: interrupted: run the same", said)
        assert process.wait() in (130, -signal.SIGKILL)
        process.stderr.close()
    records = Records(tmp_path / "runs")
    (run,) = records.run_ids()
    assert records.status(run) == "partial"
    shown = dmd("runs", "show", run).out
    assert re.search(r"^epochs: ([3-9]|1[01]) of at most 12 are kept$", shown, re.MULTILINE)
    assert f"to resume: dmd {' '.join(arguments)} (from epoch " in shown
    resumed = dmd(*arguments)
    assert "resumed from the last finished epoch" in resumed.err
    assert "epoch 1/" not in resumed.err
    assert dmd(*arguments, "--runs-dir", str(tmp_path / "whole")).code == 0
    for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
        assert (records.root / run / name).read_bytes() == (tmp_path / "whole" / run / name).read_bytes()
    one, two = (Records(tmp_path / folder).get(run) for folder in ("runs", "whole"))
    assert one is not None
    assert two is not None
    losses = [[line["train"] for line in record.history()] for record in (one, two)]
    assert losses[0] == losses[1]
    assert len(one.provenance["earlier"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "dmdd", "--data", "synthetic"), "Did you mean 'dmd'?"),
        (("train", "dmd", "--data", "synthetik"), "synthetic"),
        ((*QUICK, "--set", "max_epoch=3"), "Did you mean 'max_epochs'?"),
        ((*QUICK, "--set", "accumulate"), "expected name=value"),
        ((*QUICK, "--set", "d=8"), "twice"),
        ((*QUICK, "--epochs", "3", "--set", "max_epochs=4"), "twice"),
        ((*QUICK, "--set", "accumulate=fast"), "a whole number"),
        ((*QUICK, "--set", "accumulate=50"), "--set accumulate=1"),
        ((*QUICK, "--text", "gloves"), "Did you mean 'glove'?"),
        ((*QUICK, "--drop", "homo"), "Did you mean 'homogd'?"),
        ((*QUICK, "--protocol", "offical"), "official"),
        ((*QUICK, "--device", "cuda:63"), "--device cpu"),
        ((*QUICK, "--device", "toaster"), "--device cpu"),
        ((*QUICK, "--seed", "7", "--seeds", "2"), "no --seed beside it"),
        ((*QUICK, "--seeds", "0"), "a count from 1 to 50"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], told: str) -> None:
    """What the user can mend is said in one sentence with exit code 2, and nothing is written."""
    said = dmd(*arguments)
    assert said.code == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not (dmd.folder / "runs").exists()


def test_a_runs_folder_that_cannot_be_written_is_one_sentence(dmd: Here) -> None:
    """A path that is a file is named, with the option that moves the folder."""
    (dmd.folder / "runs").write_text("a file")
    said = dmd(*QUICK, "--epochs", "1")
    assert said.code == 2
    assert "--runs-dir" in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    assert (dmd.folder / "runs").read_text() == "a file"


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC in the middle of training: exit code 2, the remedy, the finished epochs kept."""
    real = records_writer.write_atomic
    states = []

    def refuse(path: Path, content: bytes | str) -> None:
        if path.name == "resume.safetensors":
            states.append(path)
            if len(states) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(records_writer, "write_atomic", refuse)
    said = dmd(*QUICK, "--epochs", "2")
    assert said.code == 2
    assert "Free some space" in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    again = dmd(*QUICK, "--epochs", "2")
    assert again.code == 0
    assert "resumed from the last finished epoch" in again.err
    assert dmd("runs", "verify").code == 0


def test_imported_data_is_labelled_partial(dmd: Here) -> None:
    """Numbers from a subset never look like the benchmark's."""
    put(dmd.folder / "data", "mine")
    said = dmd("train", "dmd", "--data", "mine", *QUICK[4:], "--set", "accumulate=1", "--epochs", "1")
    assert said.code == 0
    assert "PARTIAL DATA" in said.out
