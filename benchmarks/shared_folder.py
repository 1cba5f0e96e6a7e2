"""Several plain processes on one folder of runs: seconds of training a second of the clock, against one process.

`python benchmarks/shared_folder.py`: the same command N times, as GNU parallel, PBS or a Kubernetes job would start it.
Each number of processes trains the same runs afresh; what is printed is a ratio within this one run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = ("max_epochs=20", "early_stop=20", "d=8", "heads=2", "layers=1")
TABLE = ["reproduce", "table3", "--data", "synthetic", "--seeds", "8", "--jobs", "1"]
TABLE += ["--rows", "mosi-unaligned-glove-dmd-no-parts"]
TABLE += [word for setting in SETTINGS for word in ("--set", setting)]
MOST = 4


def trial(processes: int, folder: Path) -> tuple[float, float]:
    """Return the seconds of training and of the clock that so many processes took."""
    command = [sys.executable, "-c", "from dmd_repro.cli import main; main()", *TABLE]
    begun = time.monotonic()
    started = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(processes)
    ]
    if any(process.wait() for process in started):
        raise RuntimeError("a process failed")
    wall = time.monotonic() - begun
    facts = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/provenance.json")]
    return sum(fact["seconds"] for fact in facts), wall


def main() -> None:
    """Print a table in Markdown."""
    rows, first = [], 0.0
    for processes in range(1, MOST + 1):
        with tempfile.TemporaryDirectory() as name:
            trained, wall = trial(processes, Path(name))
        first = first or wall
        rows.append(f"| {processes} | {trained:.0f} | {wall:.0f} | {trained / wall:.2f} | {first / wall:.2f} |")
    print(f"8 runs, {os.cpu_count()} cores\n")
    print("| processes | s of training | s of the clock | ratio | faster than one |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
