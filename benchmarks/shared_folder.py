"""Several plain processes on one folder of runs: seconds of training a second of the clock, against one process.

`python benchmarks/shared_folder.py`: the same command N times, as GNU parallel, PBS or a Kubernetes job would start it.
Each number of processes trains the same runs afresh; prints a table, with `--write` into docs/cluster.md. Clocks
count only on a quiet machine, whose load is printed; the seconds of the processor tell on any what sharing costs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sections import write_section

PAGE = Path(__file__).parents[1] / "docs" / "cluster.md"
RUNS = 8
SETTINGS = ("max_epochs=20", "early_stop=20", "d=8", "heads=2", "layers=1")
TABLE = ["reproduce", "table3", "--data", "synthetic", "--seeds", str(RUNS), "--jobs", "1"]
TABLE += ["--rows", "mosi-unaligned-glove-dmd-no-parts"]
TABLE += [word for setting in SETTINGS for word in ("--set", setting)]
MOST = 4


def trial(processes: int, folder: Path) -> tuple[float, float, float]:
    """Return the seconds of the clock, of training and of the processor that so many processes took."""
    command = [sys.executable, "-c", "from dmd_repro.cli import main; main()", *TABLE]
    begun, before = time.monotonic(), computed()
    started = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(processes)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise RuntimeError("a process failed")
    wall, worked = time.monotonic() - begun, computed() - before
    facts = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/provenance.json")]
    return wall, sum(fact["seconds"] for fact in facts), worked


def computed() -> float:
    """Return the seconds of the processor that ended children took, their own children among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table in Markdown."""
    rows, first, load = [], (0.0, 0.0), [os.getloadavg()[0]]
    for processes in range(1, MOST + 1):
        with tempfile.TemporaryDirectory() as name:
            wall, trained, worked = trial(processes, Path(name))
        first = first if rows else (wall, worked)
        load.append(os.getloadavg()[0] - min(processes, os.cpu_count() or 1))
        rows.append(
            f"| {processes} | {wall:.0f} | {trained:.0f} | {trained / wall:.2f} | {first[0] / wall:.2f} "
            f"| {worked:.0f} | {worked / first[1]:.2f} |"
        )
    others = max(0.0, *load)
    table = (
        f"{RUNS} runs, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; load of others {others:.1f} at most\n\n"
        "| processes | s of the clock | s of training | training a second | faster than one "
        "| s of the processor | of one |\n| --: | --: | --: | --: | --: | --: | --: |\n" + "\n".join(rows)
    )
    print(table)
    if "--write" in sys.argv[1:]:
        write_section(PAGE, "shared", table)


if __name__ == "__main__":
    main()
