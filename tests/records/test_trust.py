"""Nothing good is moved or trusted by mistake: unreadable records, live files, other versions, records of strangers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from command import Here
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.errors import RunError, Unreadable
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan, plans_dir
from dmd_repro.records import lock, repair
from dmd_repro.records.folder import Records, RunBusy
from dmd_repro.records.lock import RunLock, writer_of
from dmd_repro.records.repair import troubles
from dmd_repro.records.run import READABLE_TRAINING
from dmd_repro.records.verified import RunVerifier
from dmd_repro.records.writer import ASIDE
from dmd_repro.results.tables import compare
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.resolve import TRAINING_VERSION

ROW = load_table("table1").row("mosi-aligned-glove-dmd")
STAMP = stamp_for(ROW)
SPECS = [spec_for(ROW, seed) for seed in (1, 2, 3)]


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Three whole runs of a row and the plan that names them."""
    for n, one in enumerate(SPECS):
        write_record(tmp_path / "runs", one, STAMP, predictions_with(n))
    plan_rows(tmp_path / "runs", "table1", {ROW.key: (STAMP, SPECS)})
    return Records(tmp_path / "runs")


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, code: int = errno.EIO) -> None:
    """Let the system refuse to open one file, as a failing disk or a mount with other rights does (root, too)."""
    real = os.open

    def opened(name: object, *arguments: object, **options: object) -> int:
        if str(name) == str(path):
            raise OSError(code, os.strerror(code))
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.name.startswith("."))


@pytest.mark.parametrize(
    ("file", "code"),
    [("DONE", errno.EIO), ("spec.json", errno.EACCES), ("predictions.safetensors", errno.ESTALE)],
)
def test_what_cannot_be_read_is_not_damaged(
    records: Records, dmd: Here, monkeypatch: pytest.MonkeyPatch, file: str, code: int
) -> None:
    """Nothing moves, nothing is trained again in silence, the others are counted, and every command says so."""
    run, before = records.run_ids()[0], names(records.root)
    refuse(monkeypatch, records.root / run / file, code)
    assert records.status(run) == "unreadable"
    with pytest.raises(Unreadable, match="nothing was moved"):
        records.get(run)
    spec = next(one for one in SPECS if write_id(one) == run)
    with pytest.raises(Unreadable), records.begin(spec, STAMP, {}):
        pass
    said = dmd("runs", "verify", "--repair")
    assert said.code == 1
    assert f"repaired {run}: left where it is, for it cannot be read" in said.out
    assert "3 of 3" not in said.out
    assert os.strerror(code) in dmd("runs", "list").out
    assert os.strerror(code) in dmd("runs", "show", run).out
    report = dmd("report", "table1", "--json")
    assert report.code == 0
    assert "cannot be read" in report.out
    assert names(records.root) == before
    row = next(r for r in compare(load_table("table1"), load_plan(records.root, "table1"), records).rows if r.runs)
    assert row.n == "2/3"


def write_id(spec: object) -> str:
    from dmd_repro.spec import run_id

    return run_id(spec, STAMP.digest)  # type: ignore[arg-type]


def test_a_state_that_cannot_be_read_is_kept(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run behind a failing disk goes on when it is back; it does not start afresh in silence."""
    spec = spec_for(ROW, 9)
    with records.begin(spec, STAMP, {}) as writer:
        writer.save_epoch({}, {"epoch": 1}, {"epoch": 1})
    with monkeypatch.context() as broken:
        refuse(broken, writer.path / "resume.safetensors")
        with pytest.raises(Unreadable), records.begin(spec, STAMP, {}) as again:
            again.resume()
        assert [t.kind for t in troubles(records)] == ["unreadable"]
    with records.begin(spec, STAMP, {}) as again:
        assert again.resume() is not None


@pytest.mark.parametrize("changes", [{"model_version": 9}, {"training_version": 99}])
def test_a_record_of_another_version_is_refused_and_stays(records: Records, changes: dict[str, object]) -> None:
    """What a later version means by its settings this one cannot know: it is neither counted nor damaged."""
    name = write_id(spec_for(ROW, 7, **changes))
    with records.begin(spec_for(ROW, 7), STAMP, {}) as writer:
        folder = writer.path
    (folder / "spec.json").write_text(
        json.dumps({**json.loads((folder / "spec.json").read_text()), "spec": spec_for(ROW, 7, **changes).to_json()})
    )
    (folder / "DONE").write_text("{}")
    folder.rename(records.root / name)
    assert records.status(name) == "unreadable"
    with pytest.raises(Unreadable, match="Read it with the version that wrote it"):
        records.get(name)
    assert [(t.where, t.kind) for t in troubles(records)] == [(name, "unreadable")]


def test_what_is_written_now_can_be_read() -> None:
    """Whoever raises a version says which records it still reads, its own among them."""
    assert TRAINING_VERSION in READABLE_TRAINING
    for name in SHIPPED:
        system = find_system(name)
        assert system.model_version not in system.readable_versions


def forge(folder: Path, name: str, content: str) -> None:
    """Replace a file of a record and make its hash agree."""
    (folder / name).write_text(content)
    done = json.loads((folder / "DONE").read_text())
    done[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "DONE").write_text(json.dumps(done))


DEEP = "[" * 100_000


def file_to_folder(folder: Path) -> None:
    (folder / "history.jsonl").unlink()
    (folder / "history.jsonl").mkdir()


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


ODD: dict[str, Callable[[Path], object]] = {
    "spec deep": lambda f: (f / "spec.json").write_text(DEEP),
    "done deep": lambda f: (f / "DONE").write_text(DEEP),
    "done list": lambda f: (f / "DONE").write_text("[]"),
    "spec list": lambda f: forge(f, "spec.json", "[1]"),
    "spec null": lambda f: forge(f, "spec.json", '{"spec_version": 1, "spec": null, "data_digest": 1, "data": 2}'),
    "spec nan": lambda f: forge(f, "spec.json", (f / "spec.json").read_text().replace("0.0001", "NaN")),
    "facts list": lambda f: forge(f, "provenance.json", "[]"),
    "facts odd": lambda f: forge(f, "provenance.json", '{"best_epoch": [1], "packages": 3, "execution": "x"}'),
    "history odd": lambda f: forge(f, "history.jsonl", "[]\n1\n"),
    "history scores": lambda f: forge(f, "history.jsonl", '{"epoch": 1, "test": [1], "valid": {"mae": 0.25}}\n'),
    "history deep": lambda f: forge(f, "history.jsonl", DEEP),
    "arrays": lambda f: forge(f, "predictions.safetensors", "x" * 100),
    "epochs": lambda f: forge(f, "epochs.safetensors", "\x02\0\0\0\0\0\0\0{}"),
    "folder for file": file_to_folder,
    "empty": emptied,
}


def test_malformed_records_hide_no_other(records: Records, dmd: Here) -> None:
    """One of every kind in one folder: report, list, verify and repair name each and go on with the rest."""
    good, bad = set(records.run_ids()), {}
    for seed, (kind, odd) in enumerate(ODD.items(), start=100):
        name = write_record(records.root, spec_for(ROW, seed), STAMP, predictions_with(1))
        bad[name] = kind
        odd(records.root / name)
    plan_rows(
        records.root, "table1", {ROW.key: (STAMP, [*SPECS, *(spec_for(ROW, seed + 100) for seed in range(len(ODD)))])}
    )
    assert dmd("report", "table1", "--json").out.count("left out") == len(ODD)
    listed = {row["run_id"]: row["status"] for row in json.loads(dmd("runs", "list", "--json").out)}
    assert {name for name, status in listed.items() if status == "done"} == good
    assert {bad[name] for name, status in listed.items() if status == "damaged"} == set(ODD)
    said = dmd("runs", "verify")
    assert said.code == 1
    assert said.out.count(" ok\n") == len(good)
    assert {name for name in bad if f"{name} FAILED" in said.out} == set(bad)
    assert "Traceback" not in said.err
    assert dmd("runs", "verify", "--repair").code == 0
    assert all((records.root / f"{name}{ASIDE}1").is_dir() for name in bad)
    assert dmd("runs", "verify").code == 0


def test_looking_touches_no_lock(records: Records, dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that begins while somebody looks must not fail: verify, list and report take no lock."""
    with records.begin(spec_for(ROW, 8), STAMP, {}) as writer:
        writer.save_epoch({}, {}, {"epoch": 1})

        def none(*_: object, **__: object) -> None:
            raise AssertionError("a lock was probed")

        monkeypatch.setattr(filelock.FileLock, "acquire", none)
        for command in (("runs", "verify"), ("runs", "list"), ("report", "table1")):
            assert dmd(*command).code == 0
        assert writer_of(records.root, writer.run_id)
    assert writer_of(records.root, writer.run_id) is None


def test_a_writer_waits_for_a_repair_and_not_for_a_writer(records: Records) -> None:
    """A repair holds the lock for the time of a rename; a training holds it for hours, and is told at once."""
    name = write_id(spec_for(ROW, 8))
    held = RunLock(records.root, name)
    assert held.take()
    timer = threading.Timer(0.1, held.free)
    timer.start()
    with records.begin(spec_for(ROW, 8), STAMP, {}):
        begun = time.monotonic()
        with pytest.raises(RunBusy), records.begin(spec_for(ROW, 8), STAMP, {}):
            pass
        assert time.monotonic() - begun < lock.PATIENCE
    timer.join()


def test_a_note_of_the_dead_is_none(records: Records) -> None:
    """A killed writer leaves its note: its number may be another process's by now."""
    note = records.root / ".locks" / "0123456789ab.writer"
    for document in ({"host": os.uname().nodename, "pid": os.getpid(), "born": "1"}, {"pid": 3}, [], {"host": 1}):
        note.write_text(json.dumps(document))
        assert writer_of(records.root, "0123456789ab") is None
    note.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": None}))
    assert writer_of(records.root, "0123456789ab")
    os.utime(note, (0, 0))  # a container that is gone, and whose name will not come back
    assert writer_of(records.root, "0123456789ab") is None


def test_a_repair_verifies_again_and_leaves_a_run_at_work_alone(records: Records) -> None:
    """What was found may be mended, or in use, by the time something is done about it."""
    run = records.run_ids()[0]
    weights = records.root / run / "checkpoint.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + b"x")
    found = troubles(records)
    held = RunLock(records.root, run)
    assert held.take()
    assert repair.repair(records, found) == [f"{run}: left alone, a process is at it"]
    held.free()
    weights.write_bytes(good)
    assert repair.repair(records, found) == [f"{run}: in order by now, left alone"]
    assert records.status(run) == "done"


def test_what_is_set_aside_finds_a_free_name(records: Records) -> None:
    """The first was thrown away by hand, the second is kept: it is not replaced."""
    run = records.run_ids()[0]
    (records.root / f"{run}{ASIDE}2").mkdir()
    (records.root / f"{run}{ASIDE}2" / "mine").write_text("x")
    (records.root / f"{run}{ASIDE}1").symlink_to("nowhere")
    (records.root / run / "DONE").unlink()
    assert repair.repair(records, troubles(records)) == [f"{run}: moved to {run}{ASIDE}3"]
    assert (records.root / f"{run}{ASIDE}2" / "mine").read_text() == "x"


def test_half_written_files_at_work_are_left_alone(records: Records) -> None:
    """A plan that is being saved here, or a moment ago by a machine that shares the folder, is nobody's leftover."""
    old = time.time() - 2 * repair.YOUNG
    live, young, dead = (plans_dir(records.root) / f".table1--x.json.{n}.part" for n in (os.getpid(), 2**22 + 1, 2**22))
    for path in (live, young, dead):
        path.write_text("half")
    os.utime(live, (old, old))
    os.utime(dead, (old, old))
    other = plans_dir(records.root) / ".notes.part"
    other.write_text("not ours")
    assert [t.path for t in troubles(records)] == [dead]
    repair.repair(records, troubles(records))
    assert live.exists()
    assert young.exists()
    assert other.exists()
    assert not dead.exists()


@pytest.mark.parametrize("index", [None, "", "{", DEEP, '{"version": 99, "runs": {}}', '{"version": 1, "runs": [1]}'])
def test_the_memory_of_verify_is_rebuilt_and_is_never_the_truth(records: Records, dmd: Here, index: str | None) -> None:
    """Deleted, cut or of another version it changes no answer; what changed since is read again."""
    first = dmd("runs", "verify").out
    path = records.root / ".verified.json"
    kept = json.loads(path.read_text())
    if index is None:
        path.unlink()
    else:
        path.write_text(index)
    assert dmd("runs", "verify").out == first
    assert json.loads(path.read_text()) == kept
    assert "3 of them did not change" in dmd("runs", "verify").out
    assert dmd("runs", "verify", "--all").out == first
    run = records.run_ids()[2]
    weights = records.root / run / "checkpoint.safetensors"
    before = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # the time of its content put back
    said = dmd("runs", "verify")
    assert said.code == 1
    assert f"{run} FAILED" in said.out


def test_verify_reads_what_changed_alone(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three runs found whole, the one that was touched is read."""
    look = RunVerifier(records)
    look.prepare(records.run_ids())
    look.save()
    run, read = records.run_ids()[1], []
    (records.root / run / "DONE").touch()
    monkeypatch.setattr(Records, "verify", lambda _, name: read.append(name) or [])
    again = RunVerifier(records)
    assert [again(name) for name in records.run_ids()] == [[], [], []]
    assert (read, again.skipped) == ([run], 2)


def test_a_folder_nobody_may_write_is_verified(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking needs no right to write."""

    def full(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("dmd_repro.records.verified.write_atomic", full)
    look = RunVerifier(records)
    assert look(records.run_ids()[0]) == []
    look.save()


@pytest.mark.parametrize("run", ["../../etc/x", "..", "/etc", "0123456789AB", 3, None, "\x1b[2J"])
def test_a_plan_names_runs_of_its_folder_alone(records: Records, run: object) -> None:
    """A plan of a stranger cannot lead out of the folder of runs."""
    (path,) = plans_dir(records.root).glob("*.json")
    document = json.loads(path.read_text())
    del document["seal"]
    document["rows"][ROW.key]["runs"]["1"] = run
    path.write_text(json.dumps(document))
    with pytest.raises(RunError, match="expected a plan of this version"):
        load_plan(records.root, "table1")
