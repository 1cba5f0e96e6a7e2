"""Runs `dmd` commands in forked children and lets faults happen to them: a process of its own, started by fault_tools.

Reads one JSON request a line: argv, cwd, env, and one fault: kill_after (seconds), kill_at (the n-th disk operation),
refuse and code (a file that cannot be opened, and why), nolocks (what flock says), fsize (largest file, bytes), nobody
(run without root's powers), offset (seconds the clock is off), log (a file that hears of every epoch saved). Answers
with code (negative: the signal), out, err, ops, seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_OPERATIONS = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")


def main() -> None:
    """Import everything once, then serve."""
    import dmd_repro.cli
    import dmd_repro.data.checks.check
    import dmd_repro.data.formats.importer
    import dmd_repro.execution.workers
    import dmd_repro.render.terminal
    import dmd_repro.results.tables
    import dmd_repro.training.fit

    said, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), io.StringIO(), io.StringIO()
    for argv in (["data", "import", "/nothing"], ["train", "dmd", "--data", "synthetic", "--set", "nothing=1"]):
        sys.argv = ["dmd", *argv]  # what is imported late must be there: a child without rights may not read it
        with contextlib.suppress(SystemExit):
            dmd_repro.cli.main()
    sys.stdout, sys.stderr = said
    for line in sys.stdin:
        sys.stdout.write(json.dumps(serve(json.loads(line))) + "\n")
        sys.stdout.flush()


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, let the fault happen, and say what came of it."""
    folder = Path(request["scratch"])
    started = time.monotonic()
    pipes = {name: os.pipe() for name in ("out", "err")}  # no files: a limit on file sizes would cut the message
    pid = os.fork()
    if pid == 0:
        try:
            child(request, folder, {name: write for name, (_, write) in pipes.items()})
        finally:
            os._exit(99)
    heard: dict[str, str] = {}

    def listen(name: str) -> None:
        with open(pipes[name][0], "rb") as stream:  # noqa: PTH123 (a descriptor)
            heard[name] = stream.read().decode(errors="replace")

    for _, write in pipes.values():
        os.close(write)
    ears = [threading.Thread(target=listen, args=(name,)) for name in pipes]
    for ear in ears:
        ear.start()
    if request.get("kill_after") is not None:
        deadline = started + float(request["kill_after"])
        while time.monotonic() < deadline and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    for ear in ears:
        ear.join()
    counted = folder / "ops"
    return {
        "code": code,
        **heard,
        "ops": int(counted.read_text() or 0) if counted.exists() else 0,
        "seconds": time.monotonic() - started,
    }


def child(request: dict[str, Any], folder: Path, pipes: dict[str, int]) -> None:
    """Become the command."""
    os.setsid()
    os.dup2(pipes["out"], 1)
    os.dup2(pipes["err"], 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    counting(folder / "ops", request.get("kill_at"))
    if request.get("log"):
        logging(Path(request["log"]))
    if request.get("offset"):
        shift_clock(float(request["offset"]))
    if request.get("refuse"):
        refusing(request["refuse"], int(request["code"]))
    if request.get("nolocks"):
        without_locks(int(request["nolocks"]))
    if request.get("fsize") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(request["fsize"]),) * 2)
    if request.get("nobody") and os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    sys.argv = ["dmd", *request["argv"]]
    from dmd_repro.cli import main as dmd

    code: Any = 1
    try:
        dmd()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def counting(path: Path, kill_at: int | None) -> None:
    """Count the operations that change the disk's names or make bytes durable; die before the n-th."""
    count = 0
    note = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def wrapped(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if kill_at is None:
                os.pwrite(note, str(count).encode(), 0)
            return real(*arguments, **options)

        return call

    for name in _OPERATIONS:
        setattr(os, name, wrapped(getattr(os, name)))


def refusing(path: str, code: int) -> None:
    """Let the system refuse to open one file, as a failing disk does."""
    real = os.open

    def opened(name: Any, *arguments: Any, **options: Any) -> int:
        if str(name) == path:
            raise OSError(code, os.strerror(code))
        return real(name, *arguments, **options)

    os.open = opened


def without_locks(code: int) -> None:
    """Let the file system have no locks."""
    import fcntl

    def none(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    fcntl.flock = none


def logging(path: Path) -> None:
    """Write a line for every epoch that is saved."""
    from dmd_repro.records.writer import RunWriter

    real = RunWriter.save_epoch

    def save(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        with path.open("a") as stream:
            stream.write(f"{self.run_id} {self._epochs}\n")

    RunWriter.save_epoch = save  # type: ignore[method-assign]


def shift_clock(seconds: float) -> None:
    """Put the clock off for everything Python code asks of it."""
    import datetime as dates

    real = time.time
    time.time = lambda: real() + seconds

    class Off(dates.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dates.datetime.now(tz) + dates.timedelta(seconds=seconds)

    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("dmd_repro") and hasattr(module, "datetime"):
            module.datetime = Off  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
