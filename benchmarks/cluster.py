"""Faults of a real Slurm and what becomes of the runs: each ends, after the same command again, in undisturbed bits.

`python benchmarks/cluster.py [--only NAME]` where `sbatch` answers (a Slurm of one node will do); prints a table in
Markdown. `undisturbed` is a training on this machine without Slurm.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROW = "mosi-unaligned-glove-dmd-no-parts"
SETTINGS = ("max_epochs=40", "early_stop=40", "d=4", "heads=2", "layers=1")
TABLE = ["reproduce", "table3", "--data", "synthetic", "--seeds", "3", "--rows", ROW]
TABLE += [word for setting in SETTINGS for word in ("--set", setting)]
ON = ["--on", "slurm", "--gpus", "2"]
FILES = ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors")
PATIENCE = 900.0


class Cluster:
    """One folder of runs, and clients on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def client(self, *more: str) -> subprocess.Popen[str]:
        """Start a client."""
        return subprocess.Popen(
            [sys.executable, "-c", "from dmd_repro.cli import main; main()", *TABLE, *more],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def again(self) -> str:
        """Run the same command until its end."""
        return self.client(*ON).communicate(timeout=PATIENCE)[0]

    @property
    def runs(self) -> Path:
        """The folder of runs."""
        return self.folder / "runs"

    def writers(self) -> dict[str, int]:
        """The processes that write runs now."""
        found = {}
        for path in (self.runs / ".locks").glob("*.writer"):
            try:
                found[path.stem] = int(json.loads(path.read_text())["pid"])
            except (OSError, ValueError):
                continue
        return {run: pid for run, pid in found.items() if run != "submit"}

    def epochs(self) -> int:
        """How many epochs are on disk."""
        return sum(len(path.read_text().splitlines()) for path in self.runs.glob("*/history.jsonl"))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to come true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("what a fault waits for did not come")
            time.sleep(0.2)

    def bits(self) -> dict[str, bytes]:
        """Every file of every finished record that a training decides."""
        done = [path.parent for path in self.runs.glob("*/DONE")]
        return {f"{run.name}/{name}": (run / name).read_bytes() for run in done for name in FILES}


def slurm(*words: str) -> str:
    """Ask Slurm."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def undisturbed(c: Cluster) -> str:
    """No fault."""
    return c.again()


def time_limit(c: Cluster) -> str:
    """Each task is told half a minute before its limit of one, requeues itself and resumes."""
    said = c.client(*ON, "--time", "1", "--sbatch", "--signal=B:USR1@40").communicate(timeout=PATIENCE)[0]
    starts = [json.loads(path.read_text()) for path in c.runs.glob("jobs/*/*.starts.json")]
    return f"{said}\nrequeues: {sum(len(one) - 1 for one in starts)}"


def cancelled(c: Cluster) -> str:
    """`scancel` of all tasks."""
    client = c.client(*ON)
    c.until(lambda: c.epochs() > 3)
    slurm("scancel", "--name", next(c.runs.glob("jobs/dmd-*")).name)
    return client.communicate(timeout=PATIENCE)[0] + c.again()


def task_killed(c: Cluster) -> str:
    """`kill -9` of a task's process."""
    client = c.client(*ON)
    c.until(lambda: bool(c.writers()) and c.epochs() > 3)
    os.kill(next(iter(c.writers().values())), signal.SIGKILL)
    return client.communicate(timeout=PATIENCE)[0] + c.again()


def client_killed(c: Cluster) -> str:
    """`kill -9` of the client."""
    client = c.client(*ON)
    c.until(lambda: c.epochs() > 3)
    os.killpg(client.pid, signal.SIGKILL)
    return c.again()


def two_clients(c: Cluster) -> str:
    """Two clients start in one instant."""
    one, two = c.client(*ON), c.client(*ON)
    said = one.communicate(timeout=PATIENCE)[0] + two.communicate(timeout=PATIENCE)[0]
    tasks = sum(len(json.loads(path.read_text())["stacks"]) for path in c.runs.glob("jobs/*/job.json"))
    return f"{said}\ntasks submitted: {tasks}"


def controller_restarted(c: Cluster) -> str:
    """`kill -9` of slurmctld, started again after a while."""
    client = c.client(*ON)
    c.until(lambda: c.epochs() > 3)
    subprocess.run(["pkill", "-9", "slurmctld"], check=True)
    time.sleep(8.0)
    subprocess.run(["slurmctld"], check=True)
    return client.communicate(timeout=PATIENCE)[0]


def drained(c: Cluster) -> str:
    """The node is drained midway and resumed."""
    client, node = c.client(*ON), slurm("sinfo", "-h", "-o", "%n").split()[0]
    c.until(lambda: c.epochs() > 3)
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=trial")
    time.sleep(8.0)
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    return client.communicate(timeout=PATIENCE)[0]


FAULTS = (undisturbed, time_limit, cancelled, task_killed, client_killed, two_clients, controller_restarted, drained)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dmd cluster ") as name:
        yield Path(name)


def main() -> None:
    """Try each fault and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[fault.__name__ for fault in FAULTS])
    only = parser.parse_args().only
    with _folder() as root:
        home = Cluster(root / "home")
        home.client().communicate(timeout=PATIENCE)
        expected = home.bits()
        print("| fault | told | runs of 3 | bits |\n| --- | --- | --- | --- |")
        for fault in FAULTS:
            if only in (None, fault.__name__):
                c = Cluster(root / f"a {fault.__name__}")
                said = fault(c)
                told = [line for line in said.splitlines() if "requeues: " in line or "submitted: " in line[:18]]
                told += [line.partition("FAILED: ")[2] for line in said.splitlines() if "FAILED: " in line]
                bits = "as undisturbed" if c.bits() == expected else "OTHERS"
                line = "; ".join(dict.fromkeys(one.partition(" (dmd-")[0][:90] for one in told))
                print(f"| {fault.__doc__} | {line} | {len(c.bits()) // 3} | {bits} |", flush=True)


if __name__ == "__main__":
    main()
