"""The lease of a run: one writer where the file system has no locks, and nobody kept out by the dead."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import filelock
import pytest
from made_records import spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.records import lease
from dmd_repro.records.folder import Records, RunBusy
from dmd_repro.records.lease import LASTS, Lease, holder_of
from dmd_repro.records.lock import RunLock, writer_of

ROW = load_table("table1").row("mosi-aligned-glove-dmd")
STAMP, SPEC = stamp_for(ROW), spec_for(ROW, 1)


def no_locks(*_: object, **__: object) -> None:
    """What a mount without locks says."""
    raise OSError(errno.ENOLCK, "No locks available")


def write(path: Path, *, host: str = "elsewhere", age: float = 0.0, **facts: object) -> None:
    """A lease of somebody."""
    path.write_text(json.dumps({"host": host, "pid": 1, "born": None, "token": "theirs"} | facts))
    then = time.time() - age
    os.utime(path, (then, then))


def test_only_one_of_many_takes_it(tmp_path: Path) -> None:
    """Protects: tasks of an array that start in one instant; also when all find the lease of one who is gone."""
    for stale in (False, True):
        path = tmp_path / f"{stale}.writer"
        if stale:
            write(path, age=2 * LASTS)
        leases = [Lease(path) for _ in range(12)]
        barrier, won = threading.Barrier(len(leases)), []

        def take(one: Lease, barrier: threading.Barrier = barrier, won: list[Lease] = won) -> None:
            barrier.wait()
            if one.take():
                won.append(one)

        threads = [threading.Thread(target=take, args=(one,)) for one in leases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # one that was moved away in the same instant says so before it writes (`ours`)
        assert sum(one.ours() for one in leases) == min(1, len(won))
        assert Lease(path).take() is (not won)
    assert not list(tmp_path.glob(".*")), "a helper file was left"


@pytest.mark.parametrize(
    ("facts", "free"),
    [
        ({"age": LASTS / 2}, False),
        ({"age": 2 * LASTS}, True),
        ({"age": -2 * LASTS}, True),  # stamped by another clock than the server's: it does not count as renewed
        ({"host": os.uname().nodename, "pid": 2**22 + 5}, True),  # killed on this machine: known at once
        ({"host": os.uname().nodename, "pid": os.getpid(), "born": "1"}, True),  # its number was given away again
        ({"host": os.uname().nodename, "pid": 2**22 + 5, "space": "pid:[1]"}, False),  # of a container of this name
    ],
)
def test_it_is_believed_while_its_holder_lives(tmp_path: Path, facts: dict[str, object], free: bool) -> None:
    """A lease of another machine lasts minutes after its last renewal; the dead of this machine keep nobody out."""
    path = tmp_path / "run.writer"
    write(path, **facts)  # type: ignore[arg-type]
    assert (holder_of(path) is None) is free
    assert Lease(path).take() is free


def test_a_clock_that_differs_does_not_take_a_run_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines' clocks an hour apart: the age of a lease is what the file server says, and it is young."""
    path = tmp_path / "run.writer"
    write(path, age=1.0)
    late = time.time() + 3600.0
    monkeypatch.setattr(time, "time", lambda: late)
    assert not Lease(path).take()


def test_it_is_renewed_while_its_holder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch may take longer than a lease lasts: renewal needs no epoch."""
    monkeypatch.setattr(lease, "RENEWED", 0.01)
    monkeypatch.setattr(lease, "_renewer", lease._Renewer())  # the other one sleeps for as long as it always does
    one = Lease(tmp_path / "run.writer")
    assert one.take()
    os.utime(one.path, (0, 0))
    for _ in range(500):
        if one.path.stat().st_mtime > 1.0:
            break
        time.sleep(0.01)
    assert one.path.stat().st_mtime > 1.0
    one.free()
    assert not one.path.exists()


def test_a_file_system_without_links_has_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some network mounts know no hard links: the file is made in one step all the same."""

    def none(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    first, second = (Lease(tmp_path / "run.writer") for _ in range(2))
    assert first.take()
    assert not second.take()
    first.free()
    assert second.take()


def test_without_locks_one_writer_keeps_another_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network mount without locks is a folder like any other: one trains a run, the other is told who does."""
    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    records = Records(tmp_path)
    with records.begin(SPEC, STAMP, {}) as writer:
        with pytest.raises(RunBusy, match=f"process {os.getpid()}"), records.begin(SPEC, STAMP, {}):
            pass
        assert not RunLock(tmp_path, writer.run_id).take()
    with records.begin(SPEC, STAMP, {}):
        pass
    assert writer_of(tmp_path, writer.run_id) is None


def test_locks_of_one_machine_alone_do_not_spoil_a_run(tmp_path: Path) -> None:
    """Some mounts grant a lock that other machines do not see: the lease of one of those is heeded."""
    records = Records(tmp_path)
    writer = records.begin(SPEC, STAMP, {})
    write(tmp_path / ".locks" / f"{writer.run_id}.writer", job="Slurm job 7")
    with pytest.raises(RunBusy, match=r"process 1 on elsewhere \(Slurm job 7\)"), writer:
        pass


def test_a_writer_that_lost_its_lease_writes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept for an hour wakes up while another trains its run: it must not write into it."""
    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    with Records(tmp_path).begin(SPEC, STAMP, {}) as writer:
        write(tmp_path / ".locks" / f"{writer.run_id}.writer")
        with pytest.raises(RunBusy, match="elsewhere"):
            writer.save_epoch({}, {}, {"epoch": 1})
    assert not (tmp_path / f"{writer.run_id}.tmp" / "history.jsonl").exists()
    assert writer_of(tmp_path, writer.run_id) == "process 1 on elsewhere", "the other's lease is the other's"
