"""`dmd runs`: what is there, from what, and whether it still agrees with itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Here
from made_records import LABELS, spec_for, stamp_for, write_record

from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import DataStamp, Records
from dmd_repro.spec import RunSpec

QUICK = (
    "train",
    "dmd",
    "--data",
    "synthetic",
    "--set",
    "d=4",
    "--set",
    "heads=2",
    "--set",
    "layers=1",
    "--epochs",
    "1",
)


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


def train(dmd: Here) -> str:
    """Train one run and return its id."""
    return str(json.loads(dmd(*QUICK, "--json").out)["run_id"])


def test_list_show_and_verify_a_run(dmd: Here) -> None:
    """A finished run is listed with its scores, shown with its origin, and verified."""
    run = train(dmd)
    (row,) = json.loads(dmd("runs", "list", "--json").out)
    shown = json.loads(dmd("runs", "show", run[:6], "--json").out)
    assert row["run_id"] == shown["run_id"] == run
    assert row["status"] == shown["status"] == "done"
    assert row["test"] == shown["metrics"]["test"]
    assert run in dmd("runs", "list").out
    text = dmd("runs", "show", f"runs/{run}").out
    for word in ("synthetic-aligned-glove", "best_epoch: 1", "command: dmd train", "negative / non-negative"):
        assert word in text
    said = dmd("runs", "verify")
    assert (said.code, said.out) == (0, f"{run} ok\n")


@pytest.mark.parametrize(
    "name", ["predictions.safetensors", "checkpoint.safetensors", "history.jsonl", "spec.json", "DONE"]
)
def test_a_flipped_byte_is_found(dmd: Here, name: str) -> None:
    """One changed byte anywhere is exit code 1 and names the file or the run."""
    run = train(dmd)
    file = dmd.folder / "runs" / run / name
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    said = dmd("runs", "verify", run)
    assert said.code == 1
    assert f"{run} FAILED" in said.out
    assert json.loads(dmd("runs", "verify", "--json").out)[run]
    if name != "checkpoint.safetensors":  # too big to be read by every listing
        assert json.loads(dmd("runs", "list", "--json").out)[0]["status"] == "damaged"
        assert "damaged" in dmd("runs", "show", run).out


def test_an_unfinished_run_is_shown_for_what_it_is(dmd: Here) -> None:
    """Failed and interrupted runs are listed with their reason and have no scores."""
    run = train(dmd)
    records = Records(dmd.folder / "runs")
    record = records.get(run)
    assert record is not None
    (record.path / "FAILED").write_text("Traceback\nValueError: broke\n")
    record.path.rename(records.root / f"{run}.failed")
    (row,) = json.loads(dmd("runs", "list", "--json").out)
    assert (row["status"], row["problem"], row["test"]) == ("failed", "ValueError: broke", None)
    assert "ValueError: broke" in dmd("runs", "show", run).out
    assert "ValueError: broke" in dmd("runs", "list").out
    assert dmd("runs", "verify").code == 2  # nothing finished to verify
    assert dmd("runs", "verify", run).code == 1


def test_an_empty_folder_and_an_unknown_run(dmd: Here) -> None:
    """Looking at nothing creates nothing; an unknown id is one sentence."""
    assert "no runs in" in dmd("runs", "list").out
    assert json.loads(dmd("runs", "list", "--json").out) == []
    said = dmd("runs", "show", "abc")
    assert said.code == 2
    assert "expected one run, got none" in said.err
    assert not (dmd.folder / "runs").exists()


def test_repair_moves_damage_aside_and_the_run_can_be_made_again(dmd: Here) -> None:
    """Nothing that could count is deleted; what killed commands left is removed; then everything verifies."""
    run = train(dmd)
    folder = dmd.folder / "runs"
    weights = folder / run / "checkpoint.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (folder / run / ".history.jsonl.123.part").write_text("half")
    (folder / "plans").mkdir()
    (folder / "plans" / "table1--x.json").write_text("{")
    said = dmd("runs", "verify")
    assert said.code == 1
    assert "--repair" in said.out
    assert dmd("runs", "verify", "--repair").code == 0
    assert (folder / f"{run}.damaged-1" / "DONE").exists()
    assert (folder / "plans" / "table1--x.json.damaged-1").exists()
    assert train(dmd) == run
    assert dmd("runs", "verify").code == 0


@pytest.mark.parametrize("where", ["state", "history"])
def test_a_damaged_unfinished_run_starts_afresh(dmd: Here, where: str) -> None:
    """One bit flipped in half-trained weights, or in the history so far, must not live on in a finished run."""
    records = Records(dmd.folder / "runs")
    spec, stamp = (
        RunSpec("dmd", 1, "synthetic", "official"),
        DataStamp("t", "synthetic", "d" * 64, "glove", True, "synthetic", "t"),
    )
    with records.begin(spec, stamp, {}) as writer:
        writer.resume()
        for epoch in (1, 2, 3):
            writer.save_epoch({"w": np.ones((50, 50), np.float32)}, {"epoch": epoch}, {"epoch": epoch, "loss": 0.5})
    path = writer.path / {"state": "resume.safetensors", "history": "history.jsonl"}[where]
    content = bytearray(path.read_bytes())
    content[-5000 if where == "state" else 5] ^= 2
    path.write_bytes(content)
    if where == "state":
        assert dmd("runs", "verify").code == 1
    with records.begin(spec, stamp, {}) as writer:
        assert writer.resume() is None


def test_a_disk_without_locks_trains_and_resumes(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network mount without locks is a folder like any other: leases take their place."""

    def none(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    said = dmd(*QUICK)
    assert said.code == 0
    assert dmd("runs", "verify").code == 0


def test_a_run_that_did_not_learn_is_marked(dmd: Here) -> None:
    """A constant prediction is no result: the list says so in the place of `done`, with the reason under it."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    labels = np.tile(LABELS, 4)
    names = [
        write_record(dmd.folder / "runs", spec_for(row, seed), stamp_for(row), scores, labels=labels)
        for seed, scores in ((1, labels), (2, np.zeros_like(labels)))
    ]
    listed = {one["run_id"]: one for one in json.loads(dmd("runs", "list", "--json").out)}
    assert [listed[name]["learned"] for name in names] == ["learned", "not learned"]
    assert {one["status"] for one in listed.values()} == {"done"}
    text = dmd("runs", "list").words
    assert f"{names[1]} done, but did not learn: the predictions are a constant (validation)" in text
    assert text.count("not learned") == 1
