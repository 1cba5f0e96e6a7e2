"""The lease of a run: a file that says who writes it, made by one writer alone and renewed while that one works.

It keeps a second writer out where the file system has no locks or has them for one machine alone, and it is how others
see who is at work. Its age is told by the file server's own clock, as those of two machines may differ.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmd_repro.disk import parse_json

LASTS = 180.0  # seconds without a renewal after which a lease of another machine is nobody's
RENEWED = 30.0  # seconds between renewals: several may be missed
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
_JOBS = (("SLURM_JOB_ID", "Slurm job"), ("PBS_JOBID", "PBS job"), ("LSB_JOBID", "LSF job"), ("JOB_ID", "job"))


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that writes a run."""

    host: str
    pid: int
    born: str | None  # when it began, in ticks since its machine did
    space: str | None = None  # of process numbers: two containers of one name may count apart
    job: str = ""  # of a scheduler
    token: str = ""  # of this one lease

    @classmethod
    def here(cls) -> Holder:
        """This process, with a token of its own."""
        job = next((f"{words} {os.environ[name]}" for name, words in _JOBS if os.environ.get(name)), "")
        return cls(platform.node(), os.getpid(), _born(os.getpid()), _space(), job, uuid.uuid4().hex)

    @property
    def words(self) -> str:
        """The holder as a message names it."""
        return f"process {self.pid} on {self.host}" + (f" ({self.job})" if self.job else "")

    def lives(self, age: float) -> bool:
        """Whether it is at work: known of a process of this machine, else told by the age of its lease in seconds."""
        if self.host == platform.node() and self.space in (None, _space()):
            return alive(self.pid) and self.born in (None, _born(self.pid))
        return abs(age) <= LASTS


class Lease:
    """The lease of one run. Methods raise OSError where the folder refuses."""

    def __init__(self, path: Path) -> None:
        self.path, self._me = path, Holder.here()
        self._held = False

    @property
    def held(self) -> bool:
        """Whether this object took it; `ours` says whether it still has it."""
        return self._held

    def take(self) -> bool:
        """Take it where nobody lives who has it; False where somebody does."""
        for _ in range(2):
            if self._make():
                self._held = True
                _renewer.add(self)
                return True
            if not self._clear():
                return False
        return False

    def ours(self) -> bool:
        """Whether no other took it: a machine that slept for longer than a lease lasts may have lost it."""
        found = _read(self.path)
        return self._held and found is not None and found.token == self._me.token

    def renew(self) -> None:
        """Say that its holder is at work."""
        with suppress(OSError):
            if self.ours():
                os.utime(self.path)

    def free(self) -> None:
        """Give it back."""
        _renewer.drop(self)
        with suppress(OSError):
            if self.ours():
                self.path.unlink(missing_ok=True)
        self._held = False

    def _make(self) -> bool:
        text = json.dumps(asdict(self._me))
        whole = self._beside("new")
        try:
            whole.write_text(text, encoding="utf-8")
            os.link(whole, self.path)  # appears with its content, or not at all
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            try:
                with self.path.open("x", encoding="utf-8") as stream:
                    stream.write(text)
            except FileExistsError:
                return False
        finally:
            with suppress(OSError):
                whole.unlink(missing_ok=True)
        return True

    def _clear(self) -> bool:
        """Remove the lease of one who is gone; False where it is not, or another was quicker."""
        before, age = _read(self.path), _age(self.path, self._clock())
        if age is not None and (abs(age) <= LASTS if before is None else before.lives(age)):
            return False
        aside = self._beside("old")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return True
        if (found := _read(aside)) is not None and found != before:  # another took it in the meantime: give it back
            with suppress(OSError):
                os.link(aside, self.path)
            aside.unlink(missing_ok=True)
            return False
        aside.unlink(missing_ok=True)
        return True

    def _clock(self) -> float:
        """The time by the clock that stamps the files of this folder."""
        probe = self._beside("now")
        try:
            probe.touch()
            return probe.stat().st_mtime
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def _beside(self, ending: str) -> Path:
        """A file of this process alone, of the form that `dmd runs verify --repair` removes when it was killed."""
        return self.path.with_name(f".{self.path.name}.{self._me.token}.{ending}.{self._me.pid}.part")


class _Renewer:
    """One thread that renews all leases of this process; a daemon, so that it ends with it."""

    def __init__(self) -> None:
        self._leases: set[Lease] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._thread.start()

    def drop(self, lease: Lease) -> None:
        with self._lock:
            self._leases.discard(lease)

    def _renew(self) -> None:
        while True:
            time.sleep(RENEWED)
            with self._lock:
                leases = list(self._leases)
                if not leases:
                    self._thread = None
                    return
            for lease in leases:
                lease.renew()


_renewer = _Renewer()


def holder_of(path: Path) -> Holder | None:
    """Return who holds a lease now, as far as looking tells; None where nobody does."""
    found, age = _read(path), _age(path, time.time())
    return found if found is not None and age is not None and found.lives(age) else None


def alive(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _read(path: Path) -> Holder | None:
    try:
        said: Any = parse_json(path.read_bytes())
        return Holder(
            host=str(said["host"]),
            pid=int(said["pid"]),
            born=said["born"],
            space=said.get("space"),
            job=str(said.get("job", "")),
            token=str(said.get("token", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _age(path: Path, now: float) -> float | None:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return None


def _space() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _born(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did: a number that was given away again differs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
