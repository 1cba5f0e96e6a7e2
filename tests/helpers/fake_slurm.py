"""A small scheduler for tests: `sbatch`, `squeue`, `scontrol` and `scancel` on PATH that start plain processes.

Its state is a folder (FAKE_SLURM) with a file a task. `faults.json` says what befalls the first start of a task, by its
index, once it has ended an epoch: "signal" (its time is up), "memory", "preempted" (ended, then requeued), "node" (as
if another machine had gone: what it held is still held, and it is requeued), or the state that Slurm leaves it in, as
NODE_FAIL. Tasks wait while `hold` is there.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel")
LIVE = ("PENDING", "RUNNING")
LEASE_LEFT = 2.0  # seconds for which the lease of a lost node is still believed once the next start has met it
LOST = "a-lost-node"
KILLED = {"memory": "OUT_OF_MEMORY", "node": "PENDING", "preempted": "PENDING"}


def install(folder: Path) -> Path:
    """Write the programs and return the folder that PATH must begin with."""
    (binaries := folder / "bin").mkdir(parents=True)
    (folder / "state").mkdir()
    for name in PROGRAMS:
        path = binaries / name
        # -S -E: asked twenty times a run, and nothing but the standard library is needed
        path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-S", "-E", __file__, name])} "$@"\n')
        path.chmod(0o755)
    return binaries


def tasks(state: Path) -> list[dict[str, Any]]:
    """Every task there ever was."""
    return [json.loads(path.read_text()) for path in sorted(state.glob("task-*.json"))]


def save(home: Path, task: dict[str, Any], **changed: Any) -> None:
    """Change a task in one step."""
    task.update(changed)
    part = home / f".{task['id']}.{os.getpid()}"
    part.write_text(json.dumps(task))
    part.replace(home / f"task-{task['array']:04d}-{task['index']:04d}.json")


def sbatch(state: Path, *arguments: str) -> int:
    """Take an array and start what carries it out."""
    options = dict(a.removeprefix("--").partition("=")[::2] for a in arguments if a.startswith("--"))
    if options.get("partition") == "nowhere":
        sys.stderr.write("sbatch: error: invalid partition specified: nowhere" + "\n")
        return 1
    with (state / "sbatch.log").open("a") as log:
        log.write(json.dumps(arguments) + "\n")
    array = 1 + max((task["array"] for task in tasks(state)), default=0)
    first, last = options["array"].partition("%")[0].split("-")
    for index in range(int(first), int(last) + 1):
        task = {"array": array, "index": index, "id": f"{array}_{index}", "name": options["job-name"], "starts": 0}
        save(state, task, state="PENDING", script=arguments[-1], output=options["output"].replace("%a", str(index)))
    with (state / "run.log").open("a") as log:
        subprocess.Popen(
            [sys.executable, __file__, "run", str(array)], start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
    sys.stdout.write(f"{array}\n")
    return 0


def squeue(state: Path, *arguments: str) -> int:
    """List the tasks of the named submissions that have not ended."""
    if (state / "away").exists():
        sys.stderr.write("slurm_load_jobs error: Unable to contact slurm controller (connect failure)" + "\n")
        return 1
    names = next(a for a in arguments if a.startswith("--name=")).removeprefix("--name=").split(",")
    for task in tasks(state):
        if task["name"] in names and task["state"] in LIVE:
            sys.stdout.write(f"{task['id']}|{task['name']}|{task['state']}|None\n")
    return 0


def scontrol(state: Path, verb: str, *arguments: str) -> int:
    """Show the configuration or a job, or requeue one."""
    if verb == "show" and arguments[0] == "config":
        sys.stdout.write(f"MaxArraySize            = {os.environ.get('FAKE_ARRAY', '1001')}\n")
        return 0
    task = next(task for task in tasks(state) if task["id"] == arguments[-1])
    if verb == "requeue":
        save(state, task, state="REQUEUED")
    sys.stdout.write(f"JobId={task['id']} JobState={task['state']} Reason=None\n")
    return 0


def scancel(state: Path, *names: str) -> int:
    """Cancel tasks; who runs them sees it."""
    for task in tasks(state):
        if task["id"] in names:
            save(state, task, state="CANCELLED")
    return 0


def run(state: Path, array: str) -> int:
    """Carry out an array, one task after the other."""
    faults = json.loads((state / "faults.json").read_text()) if (state / "faults.json").exists() else {}

    def mine() -> list[dict[str, Any]]:
        return [task for task in tasks(state) if task["array"] == int(array)]

    until = time.monotonic() + 120.0
    while time.monotonic() < until and (left := [task for task in mine() if task["state"] == "PENDING"]):
        if (state / "hold").exists():
            time.sleep(0.05)
            continue
        task = left[0]
        save(state, task, state="RUNNING", starts=task["starts"] + 1)
        one_start(state, task, faults.get(str(task["index"]), "") if task["starts"] == 1 else "")
    return 0


def lose(pid: int, runs: Path) -> None:
    """Leave the leases of a process as those of a machine that is gone: nobody can tell that it has ended."""
    for lease in (runs / ".locks").glob("*.writer"):
        said = json.loads(lease.read_text())
        if said["pid"] == pid:
            lease.write_text(json.dumps(said | {"host": LOST}))


def keep_lost(runs: Path) -> None:
    """Let what lost nodes held be held for a little while yet."""
    from dmd_repro.records.lease import LASTS

    then = time.time() - LASTS + LEASE_LEFT
    for lease in (runs / ".locks").glob("*.writer"):
        if json.loads(lease.read_text())["host"] == LOST:
            os.utime(lease, (then, then))


def one_start(state: Path, task: dict[str, Any], fault: str) -> None:
    """Start a task once, and say how it ended."""
    environment = os.environ | {
        "SLURM_ARRAY_JOB_ID": str(task["array"]), "SLURM_ARRAY_TASK_ID": str(task["index"]),
        "SLURM_JOB_ID": task["id"], "SLURM_RESTART_COUNT": str(task["starts"] - 1),
    }  # fmt: skip
    output, until = Path(task["output"]), time.monotonic() + 20.0
    before = output.stat().st_size if output.exists() else 0
    with output.open("a") as log:
        process = subprocess.Popen(["bash", task["script"]], stdout=log, stderr=log, env=environment)
        while process.poll() is None:
            if task["starts"] > 1 and time.monotonic() < until and b" waiting" not in output.read_bytes()[before:]:
                keep_lost(output.parents[2])
            now = next(other for other in tasks(state) if other["id"] == task["id"])["state"]
            if now in ("CANCELLED", "REQUEUED"):
                process.kill()
                save(state, task, state="PENDING" if now == "REQUEUED" else now)
            elif fault and " epoch " in output.read_text():
                if fault == "signal":
                    process.send_signal(signal.SIGUSR1)
                else:
                    process.send_signal(signal.SIGTERM if fault == "preempted" else signal.SIGKILL)
                    process.wait()
                    if fault == "node":
                        lose(process.pid, output.parents[2])
                    save(state, task, state=KILLED.get(fault, fault))
                fault = ""
            time.sleep(0.02)
    if next(other for other in tasks(state) if other["id"] == task["id"])["state"] == "RUNNING":
        save(state, task, state="COMPLETED" if process.returncode == 0 else "FAILED")


if __name__ == "__main__":
    program = {"sbatch": sbatch, "squeue": squeue, "scontrol": scontrol, "scancel": scancel, "run": run}
    sys.exit(program[sys.argv[1]](Path(os.environ["FAKE_SLURM"]), *sys.argv[2:]))
