"""Faults against what is good: unreadable files, outputs that are no plain files, missing locks, strangers.

Each function does one, from one seed, to the real command; the session counts them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from pathlib import Path
from threading import Thread
from typing import Any

from fault_session import REPRODUCE, TRAIN, Session
from fault_tools import Faulty, arrays_of, one_sentence
from hostile_runs import hostile_runs

from dmd_repro.records.folder import Records

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LOOKS = (
    ("runs", "list"),
    ("runs", "verify"),
    ("report", "table1"),
    ("report", "table1", "--lottery"),
    ("audit", "--code"),
)
ODD: tuple[Any, ...] = (
    None, [], {}, "", "x", -1, 1e308, float("nan"), 10**30, True, [[1]], {"a": {}}, "\x1b[2J", "<svg onload=x>",
    "../..",
)  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file but the lock files and notes of a folder of runs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def unreadable_runs(session: Session, seed: int) -> None:
    """A file of a good record cannot be read: nothing moves or is trained again, and with the disk back it counts."""
    cwd, rng = session.fresh(seed)
    shutil.copytree(session.clean / "runs", cwd / "runs")
    before = tree(cwd / "runs")
    files = sorted(p for p in (cwd / "runs").glob("*/*") if p.is_file() and p.parent.name[0] not in ".p")
    path = files[int(rng.integers(len(files)))]
    commands = [*LOOKS, ("runs", "verify", "--repair"), ("runs", "verify", "--all", "--repair"), REPRODUCE]
    command = commands[int(rng.integers(len(commands)))]
    code = int(rng.choice([errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOTCONN]))
    end = session.run(*command, cwd=cwd, refuse=str(path), code=code)
    assert "Traceback" not in end.err, end.err
    assert end.code in (0, 1, 2), end.err
    after = tree(cwd / "runs")
    assert {name for name in after if not name.startswith("plans")} == {n for n in before if not n.startswith("plans")}
    assert all(after[name] == content for name, content in before.items() if not name.startswith("plans"))
    session.counts["a file of a good record cannot be read"] += 1
    assert session.run("runs", "verify", "--all", cwd=cwd).code == 0


def no_locks(session: Session, seed: int) -> None:
    """A file system without locks: what writes and what looks works."""
    cwd, rng = session.fresh(seed)
    code = int(rng.choice([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]))
    if rng.random() < 0.5:
        argv = (TRAIN, REPRODUCE)[int(rng.integers(2))]
        assert session.run(*argv, cwd=cwd, nolocks=code).code == 0
        assert session.run("runs", "verify", "--all", cwd=cwd).code == 0
    else:
        shutil.copytree(session.clean / "runs", cwd / "runs")
        end = session.run(*LOOKS[int(rng.integers(len(LOOKS)))], cwd=cwd, nolocks=code)
        assert end.code == 0, end.err
    session.counts["a file system without locks"] += 1


def outputs(session: Session, seed: int) -> None:
    """-o at a link, a file of another mode or with two names, a device, a folder: written into, or one sentence."""
    cwd, rng = session.fresh(seed)
    shutil.copytree(session.clean / "runs", cwd / "runs")
    kind = str(rng.choice(["link", "dangling", "mode", "twin", "null", "folder", "loop", "none", "empty", "long"]))
    place, real = cwd / "out.md", cwd / "elsewhere.md"
    real.write_text("old")
    real.chmod(0o600)
    if kind in ("link", "dangling"):
        place.symlink_to(real.name if kind == "link" else "new.md")
    elif kind == "mode":
        place.write_text("old")
        place.chmod(0o604)
    elif kind == "twin":
        os.link(real, place)
    elif kind == "null":
        place.symlink_to("/dev/null")
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to("out.md")
    name = {"none": "gone/out.md", "empty": "", "long": "n" * 300}.get(kind, "out.md")
    argv = (("report", "table1", "-f", "markdown"), ("audit", "-f", "markdown"))[int(rng.integers(2))]
    end = session.run(*argv, "-o", name, cwd=cwd)
    if kind in ("folder", "loop", "none", "empty", "long"):
        one_sentence(end)
    else:
        assert end.code in (0, 1), end.err
        assert place.is_symlink() == (kind in ("link", "dangling", "null"))
        assert (real.read_text() != "old") == (kind in ("link", "twin"))
        assert stat.S_IMODE(place.stat().st_mode) == {"mode": 0o604, "link": 0o600, "twin": 0o600}.get(
            kind, stat.S_IMODE(place.stat().st_mode)
        )
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    session.counts["an output that is no plain file"] += 1


def strangers(session: Session, seed: int) -> None:
    """A stranger's folder with hostile text in every field: every view in every format, and nothing in it acts."""
    cwd, rng = session.fresh(seed)
    kept = session.folder / "strangers"
    if not kept.exists():
        hostile_runs(kept)
    shutil.copytree(kept, cwd / "runs")
    formats = ("terminal", "markdown", "latex", "html", "csv", "json")
    command = LOOKS[int(rng.integers(len(LOOKS)))]
    command += ("-f", str(rng.choice(formats))) if command[0] == "report" else ()
    encoding = str(rng.choice(["utf-8", "ascii", "cp1252"]))
    end = session.run(*command, cwd=cwd, env={"PYTHONIOENCODING": encoding})
    assert end.code in (0, 1), end.err
    assert "Traceback" not in end.err
    assert not ACTS.search(end.out + end.err)
    session.counts["hostile text of a stranger"] += 1


def odd_values(session: Session, seed: int) -> None:
    """A record with one value of another kind and its hash made to agree: never a traceback, and it hides no other."""
    cwd, rng = session.fresh(seed)
    runs = cwd / "runs"
    names = session.recorded(runs)
    folder = runs / names[int(rng.integers(len(names)))]
    name = str(rng.choice(["spec.json", "provenance.json", "DONE"]))
    document = json.loads((folder / name).read_text())
    at: Any = document
    while True:
        key = list(at)[int(rng.integers(len(at)))]
        if not (isinstance(at[key], dict) and at[key]) or rng.random() < 0.3:
            break
        at = at[key]
    at[key] = ODD[int(rng.integers(len(ODD)))]
    (folder / name).write_text(json.dumps(document))
    if name != "DONE":
        done = json.loads((folder / "DONE").read_text())
        (folder / "DONE").write_text(
            json.dumps({**done, name: hashlib.sha256((folder / name).read_bytes()).hexdigest()})
        )
    for command in (*LOOKS, ("runs", "show", folder.name), ("runs", "verify", "--repair")):
        end = session.run(*command, cwd=cwd)
        assert end.code in (0, 1), (command, key, end.err)
        assert "Traceback" not in end.err, (command, key, end.err)
    assert sum(Records(runs).status(one) == "done" for one in names) >= 2
    session.counts["a forged value of another kind"] += 1


def repair_at_work(session: Session, seed: int, other: Faulty) -> None:
    """`verify --repair` again and again while a table is trained: it takes nothing from the training."""
    cwd, _ = session.fresh(seed)
    ends = []
    worker = Thread(target=lambda: ends.append(session.dmd(*REPRODUCE, cwd=cwd)))
    worker.start()
    while worker.is_alive():
        said = other("runs", "verify", "--repair", cwd=cwd)
        assert said.code in (0, 2), (said.out, said.err)  # 2: no runs yet
        assert "Traceback" not in said.err
    worker.join()
    assert ends[0].code == 0, ends[0].err
    found = arrays_of(cwd / "runs")
    assert found
    assert all(session.arrays[name] == content for name, content in found.items())
    session.counts["repairs while a table is trained"] += 1
