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
TABLE += [word for one in SETTINGS for word in ("--set", one)]
WHOLE = ["reproduce", "table3", "--data", "synthetic", "--seeds", "3"]
for word in ("max_epochs=10", "early_stop=10", *SETTINGS[2:]):
    WHOLE += ["--set", word]
ON = ["--on", "slurm", "--gpus", "2"]
CARD = ["--setup", 'echo "card $CUDA_VISIBLE_DEVICES"']  # into the log of a task
FILES = ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors")
PATIENCE = 900.0


class Cluster:
    """One folder of runs, and clients on it."""

    def __init__(self, folder: Path, table: list[str]) -> None:
        self.folder, self.table = folder, table
        folder.mkdir()

    def client(self, *more: str) -> subprocess.Popen[str]:
        """Start a client."""
        return subprocess.Popen(
            [sys.executable, "-c", "from dmd_repro.cli import main; main()", *self.table, *more],
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


def setting(name: str) -> str:
    """Return a setting of this Slurm."""
    lines = (line.partition("=") for line in slurm("scontrol", "show", "config").splitlines())
    return next(value.strip() for key, _, value in lines if key.strip() == name)


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
    os.kill(int(Path(setting("SlurmctldPidFile")).read_text()), signal.SIGKILL)
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


def whole_table(c: Cluster) -> str:
    """All of Table 3: `scancel` of all jobs midway, then `kill -9` of a job's process, each followed by the command."""
    client = c.client(*ON, *CARD)
    c.until(lambda: len(c.bits()) // len(FILES) >= 3 and bool(c.writers()))
    slurm("scancel", "--name", next(c.runs.glob("jobs/dmd-*")).name)
    said = client.communicate(timeout=PATIENCE)[0]
    before = len(c.bits()) // len(FILES)
    client = c.client(*ON, *CARD)
    c.until(lambda: len(c.bits()) // len(FILES) >= before + 3 and bool(c.writers()))
    os.kill(next(iter(c.writers().values())), signal.SIGKILL)
    said += client.communicate(timeout=PATIENCE)[0] + c.client(*ON, *CARD).communicate(timeout=PATIENCE)[0]
    logs = [path.read_text() for path in c.runs.glob("jobs/*/*.log")]
    cards = [line for log in logs for line in log.splitlines() if line.startswith("card ")]
    kinds = ", ".join(f"{card} {cards.count(card)} times" for card in sorted(set(cards)))
    return f"{said}\ndone at scancel: {before}\ntasks begun: {len(cards)} ({kinds})"


FAULTS = (undisturbed, time_limit, cancelled, task_killed, client_killed, two_clients, controller_restarted, drained)
TOLD = ("requeues: ", "tasks submitted: ", "done at scancel: ", "tasks begun: ")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dmd cluster ") as name:
        yield Path(name)


def main() -> None:
    """Try each fault and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[fault.__name__ for fault in (*FAULTS, whole_table)])
    only = parser.parse_args().only
    with _folder() as root:
        print("| fault | told | runs that ended | bits |\n| --- | --- | --- | --- |")
        for table, faults in ((TABLE, FAULTS), (WHOLE, (whole_table,))):
            asked = [fault for fault in faults if only in (None, fault.__name__)]
            if asked:
                home = Cluster(root / f"home {faults[0].__name__}", table)
                home.client().communicate(timeout=PATIENCE)
                for fault in asked:
                    print(row(fault, Cluster(root / f"a {fault.__name__}", table), home.bits()), flush=True)


def row(fault: Callable[[Cluster], str], c: Cluster, expected: dict[str, bytes]) -> str:
    """Try a fault and return its row of the table."""
    said = fault(c)
    told = [line.partition(" (dmd-")[0] for line in said.splitlines() if line.startswith(TOLD)]
    lost = [line.partition("  FAILED: ")[2] for line in said.splitlines() if "  FAILED: " in line]
    lost = [one.partition(" (dmd-")[0].partition("  [")[0][:90] for one in lost]
    told += [f"{lost.count(one)} x {one}" for one in dict.fromkeys(lost)]
    found = c.bits()
    bits = "as undisturbed" if found == expected else "OTHERS"
    many = f"{len(found) // len(FILES)} of {len(expected) // len(FILES)}"
    return f"| {fault.__doc__} | {'; '.join(told)} | {many} | {bits} |"


if __name__ == "__main__":
    main()
