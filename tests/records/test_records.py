"""Records: nothing half-written is ever counted, an interrupted run goes on, one writer at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from dmd_repro import disk
from dmd_repro.errors import RunError
from dmd_repro.records import writer as records_writer
from dmd_repro.records.folder import SCAN_COLUMNS, DataStamp, Predictions, Records, RunBusy, RunRecord
from dmd_repro.spec import RunSpec, run_id

DATA = DataStamp("toy", "synthetic", "d" * 64, "glove", True, "synthetic", "toy (glove text, SYNTHETIC)")
B, E = 5, 3


def spec(seed: int = 1) -> RunSpec:
    """Return a small spec."""
    return RunSpec("dmd", seed, "synthetic", "official", config={"max_epochs": E})


def said(shift: float = 0.0) -> dict[str, Predictions]:
    """Return predictions of both splits."""
    y = np.linspace(-3, 3, B, dtype=np.float32)
    return {
        split: Predictions(tuple(f"{split}{i}" for i in range(B)), y, y + np.float32(shift), {"l_homo": y * 0})
        for split in ("valid", "test")
    }


def epoch(writer: records_writer.RunWriter, number: int) -> None:
    """Save one epoch."""
    writer.save_epoch({"w": np.full((2, 2), number, np.float32)}, {"epoch": number}, {"epoch": number, "loss": 0.5})


def finish(writer: records_writer.RunWriter) -> RunRecord:
    """Finish a run whose second epoch is the selected one."""
    curves = {split: np.stack([p.y_pred] * E) for split, p in said().items()}
    return writer.finish(
        predictions=said(),
        epochs=curves,
        checkpoint={"w": np.eye(2, dtype=np.float32), "steps": np.array(7)},
        provenance={"epochs": E, "best_epoch": 2, "seconds": 1.5},
    )


def write(records: Records, seed: int = 1) -> RunRecord:
    """Write a whole run."""
    with records.begin(spec(seed), DATA, {"created": "now"}) as writer:
        writer.resume()
        for number in range(1, E + 1):
            epoch(writer, number)
        return finish(writer)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Return an empty folder of records."""
    return Records(tmp_path / "runs")


def test_a_finished_record_reads_back(records: Records) -> None:
    """What was written is what is read: spec, predictions in order, epochs, history, weights, and no leftovers."""
    record = write(records)
    again = records.get(record.run_id)
    assert again is not None
    assert again.spec.hashed() == spec().hashed()
    assert again.provenance["seconds"] == 1.5
    assert again.provenance["created"] == "now"
    test = again.predictions("test")
    assert test.ids[0] == "test0"
    np.testing.assert_array_equal(test.y_pred, said()["test"].y_pred)
    assert list(test.heads) == ["l_homo"]
    assert again.epochs("valid").shape == (E, B)
    assert [line["epoch"] for line in again.history()] == [1, 2, 3]
    assert again.checkpoint()["steps"].shape == ()
    assert records.status(record.run_id) == "done"
    assert records.verify(record.run_id) == []
    assert sorted(p.name for p in records.root.iterdir()) == [".locks", record.run_id]
    assert not (record.path / "resume.safetensors").exists()


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """The bit-for-bit promise can be checked by comparing files."""
    one, two = write(Records(tmp_path / "a")), write(Records(tmp_path / "b"))
    for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


@pytest.mark.parametrize(
    "name",
    ["spec.json", "provenance.json", "history.jsonl", "predictions.safetensors", "epochs.safetensors", "DONE"],
)
@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_damaged_record_is_never_counted(records: Records, name: str, how: str) -> None:
    """One changed byte, a cut-off file or a missing one takes the run out of every mean, and is named."""
    path = write(records).path
    file = path / name
    content = bytearray(file.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    assert records.get(path.name) is None
    assert records.status(path.name) == "damaged"
    assert records.verify(path.name)
    row = records.scan().iloc[0]
    assert row.status == "damaged"
    assert row.problem


def test_a_flipped_byte_of_the_checkpoint_is_found_by_verify(records: Records) -> None:
    """The big file is not hashed at every report, but verify reads it."""
    path = write(records).path
    content = bytearray((path / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "checkpoint.safetensors").write_bytes(content)
    assert records.get(path.name) is not None
    assert "checkpoint.safetensors" in records.verify(path.name)[0]


def test_predictions_that_score_otherwise_than_noted_are_found(records: Records) -> None:
    """A record whose hashes agree but whose metrics do not was not written by its own training."""
    with records.begin(spec(), DATA, {}) as writer:
        for number in (1, 2, 3):
            line = {"epoch": number, "test": {"mae": 0.5, "corr": None}, "valid": {"mae": 0.0}}
            writer.save_epoch({"w": np.zeros(1, np.float32)}, {}, line)
        record = finish(writer)
    problems = records.verify(record.run_id)
    assert len(problems) == 2
    assert "expected test mae 0.500000 as noted while training, got 0.000000" in problems[0]
    assert "corr" in problems[1]


def test_a_foreign_record_is_named_and_not_counted(records: Records) -> None:
    """A record copied under another id, or whose spec was edited with its hash, cannot pass for that run."""
    record = write(records)
    other = run_id(spec(2), DATA.digest)
    shutil.copytree(record.path, records.root / other)
    assert records.get(other) is None
    assert "copied or edited" in records.verify(other)[0]
    edited = json.loads((record.path / "spec.json").read_text())
    edited["spec"]["seed"] = 99
    (record.path / "spec.json").write_text(json.dumps(edited))
    done = json.loads((record.path / "DONE").read_text())
    done["spec.json"] = records_writer.sha256_file(record.path / "spec.json")
    (record.path / "DONE").write_text(json.dumps(done))
    assert records.get(record.run_id) is None


def test_a_damaged_record_is_moved_aside_and_trained_again(records: Records) -> None:
    """A retry neither trusts nor deletes what it finds."""
    path = write(records).path
    (path / "DONE").unlink()
    write(records)
    assert records.status(path.name) == "done"
    assert (records.root / f"{path.name}.damaged-1" / "predictions.safetensors").exists()


def test_a_record_made_again_by_another_is_not_moved_aside(records: Records) -> None:
    """Two commands that find the same damage: the later one takes the new record for what it is."""
    path = write(records).path
    (path / "DONE").unlink()
    late = records.begin(spec(), DATA, {})
    write(records)
    with pytest.raises(RunBusy):
        late.__enter__()
    assert records.status(path.name) == "done"
    assert len(list(records.root.glob(f"{path.name}.damaged-*"))) == 1


def test_an_interrupted_run_goes_on_from_its_last_epoch(records: Records) -> None:
    """Ctrl-C keeps the finished epochs, and tells the attempts apart in the provenance."""
    with suppress(KeyboardInterrupt), records.begin(spec(), DATA, {"host": "a"}) as writer:
        epoch(writer, 1)
        epoch(writer, 2)
        raise KeyboardInterrupt
    name = writer.run_id
    assert records.status(name) == "partial"
    with records.begin(spec(), DATA, {"host": "b"}) as writer:
        found = writer.resume()
        assert found is not None
        arrays, state = found
        assert state == {"epoch": 2}
        np.testing.assert_array_equal(arrays["w"], np.full((2, 2), 2))
        epoch(writer, 3)
        record = finish(writer)
    assert [line["epoch"] for line in record.history()] == [1, 2, 3]
    assert record.provenance["host"] == "b"
    assert [p["host"] for p in record.provenance["earlier"]] == ["a"]


@pytest.mark.parametrize("extra", ["", '{"epoch": 2', '{"epoch": 2}\n{"epoch": 3}\n'])
def test_history_agrees_with_the_state_after_a_kill(records: Records, extra: str) -> None:
    """A kill between the state and its line of history, or in the middle of the line, costs and doubles nothing."""
    with suppress(KeyboardInterrupt), records.begin(spec(), DATA, {}) as writer:
        epoch(writer, 1)
        epoch(writer, 2)
        raise KeyboardInterrupt
    history = writer.path / "history.jsonl"
    history.write_text(history.read_text().splitlines()[0] + "\n" + extra)
    with suppress(KeyboardInterrupt), records.begin(spec(), DATA, {}) as writer:
        assert writer.resume() is not None
        assert [json.loads(line)["epoch"] for line in history.read_text().splitlines()] == [1, 2]
        raise KeyboardInterrupt


def test_a_damaged_resume_file_starts_afresh(records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """A resume file cut short by the disk is not trusted, and that epochs are lost is said."""
    with suppress(KeyboardInterrupt), records.begin(spec(), DATA, {}) as writer:
        epoch(writer, 1)
        raise KeyboardInterrupt
    resume = writer.path / "resume.safetensors"
    resume.write_bytes(resume.read_bytes()[:-3])
    assert not caplog.records
    assert write(records).provenance["epochs"] == E
    assert [f"run {writer.run_id} cannot be read" in record.getMessage() for record in caplog.records] == [True]


def test_a_failure_is_kept_and_tried_again_from_the_start(records: Records) -> None:
    """FAILED never counts, shows its traceback, and does not stop the next attempt."""
    with suppress(ZeroDivisionError), records.begin(spec(), DATA, {}) as writer:
        epoch(writer, 1)
        _ = 1 / 0
    name = writer.run_id
    assert records.status(name) == "failed"
    assert records.get(name) is None
    assert "ZeroDivisionError" in (records.failure(name) or "")
    assert "ZeroDivisionError" in records.scan().iloc[0].problem
    write(records)
    assert records.status(name) == "done"
    assert records.failure(name) is None


def test_two_writers_exclude_each_other(records: Records) -> None:
    """Two processes never write one folder; the second gets one sentence."""
    with records.begin(spec(), DATA, {}) as writer:
        epoch(writer, 1)
        with pytest.raises(RunBusy, match="another process"), records.begin(spec(), DATA, {}):
            pass
        with records.begin(spec(2), DATA, {}):
            pass  # another run is free
    write(records)
    with pytest.raises(RunBusy, match="finished in the meantime"), records.begin(spec(), DATA, {}):
        pass


WRITER = """
import sys, time, numpy as np
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_records import Records, spec, DATA
with Records(Path(sys.argv[1])).begin(spec(), DATA, {}) as w:
    for n in range(1, 10_000):
        w.save_epoch({"w": np.full((300, 300), n, np.float32)}, {"epoch": n}, {"epoch": n})
        if n == 3: print("ready", flush=True)
"""


def test_kill_9_leaves_a_whole_epoch_and_no_lock(records: Records) -> None:
    """After kill -9 at any moment, state, history and lock are as if the process had stopped between two epochs."""
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(records.root), str(Path(__file__).parent)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(np.random.default_rng().uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with suppress(KeyboardInterrupt), records.begin(spec(), DATA, {}) as writer:
            found = writer.resume()
            assert found is not None
            n = found[1]["epoch"]
            assert (found[0]["w"] == n).all()
            lines = (writer.path / "history.jsonl").read_text().splitlines()
            assert [json.loads(line)["epoch"] for line in lines] == list(range(1, n + 1))
            raise KeyboardInterrupt
        shutil.rmtree(writer.path)


@pytest.mark.parametrize("target", ["resume.safetensors", "predictions.safetensors", "DONE"])
def test_a_full_disk_is_one_sentence_and_loses_no_epoch(
    records: Records, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """ENOSPC names the folder and the remedy; earlier runs stay as they are and this one can go on."""
    earlier = write(records, seed=2)
    real = disk.write_atomic
    full = {"on": False}

    def refuse(path: Path, content: bytes | str) -> None:
        if full["on"] and path.name == target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(records_writer, "write_atomic", refuse)
    writer = records.begin(spec(), DATA, {})

    def train() -> None:
        with writer:
            epoch(writer, 1)
            full["on"] = True
            epoch(writer, 2)
            finish(writer)

    with pytest.raises(RunError, match=r"No space left on device.*Free some space"):
        train()
    full["on"] = False
    assert records.status(writer.run_id) == "partial"
    assert records.verify(earlier.run_id) == []
    with records.begin(spec(), DATA, {}) as writer:
        found = writer.resume()
        assert found is not None
        reached = found[1]["epoch"]
        assert reached == (1 if target.startswith("resume") else 2)
        epoch(writer, reached + 1)
        finish(writer)
    assert records.verify(writer.run_id) == []


def test_a_write_that_breaks_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """write_atomic never leaves half a file, nor its temporary one."""
    disk.write_atomic(tmp_path / "f", "old")

    def no(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no)
    with pytest.raises(OSError, match="No space"):
        disk.write_atomic(tmp_path / "f", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("f", "old")]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A runs folder that is a file is named, with the option that moves it."""
    (tmp_path / "runs").write_text("not a folder")
    records = Records(tmp_path / "runs")
    with pytest.raises(RunError, match="--runs-dir"), records.begin(spec(), DATA, {}):
        pass
    assert records.run_ids() == []
    assert (tmp_path / "runs").read_text() == "not a folder"


def test_scan_ignores_what_is_not_a_run_and_find_takes_a_beginning(records: Records) -> None:
    """Plans, locks and stray folders are no runs; a user types the first digits."""
    record = write(records)
    (records.root / "plans").mkdir()
    (records.root / "my notes").mkdir()
    (records.root / "README.md").write_text("x")
    frame = records.scan()
    assert list(frame.columns) == list(SCAN_COLUMNS)
    assert len(frame) == 1
    assert frame.iloc[0].seed == 1
    assert frame.iloc[0].best_epoch == 2
    assert records.find(record.run_id[:5]) == record.run_id
    assert records.find(str(record.path)) == record.run_id
    with pytest.raises(RunError, match="expected one run, got none"):
        records.find("zzz")


def test_an_empty_or_absent_folder_has_no_runs(records: Records) -> None:
    """Looking creates nothing."""
    assert records.scan().empty
    assert records.status("0" * 12) == "missing"
    assert not records.root.exists()
