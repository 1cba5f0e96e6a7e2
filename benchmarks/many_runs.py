"""How long looking takes in a folder of many runs, and what it holds in memory; prints the table of docs/benchmarks.md.

    python benchmarks/many_runs.py --runs 500,2000 [--folder FOLDER]

The records are written by the program's own writers (SYNTHETIC predictions of MOSI's 686 test and 229 valid clips, 20
epochs, six heads), all of them runs of Table 1's rows, so that the report of one table reads every record there is.
Each command is a process of its own, timed from its start to its end; the files are in the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import numpy as np
from made_records import plan_rows, spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Predictions, Records

CLIPS, EPOCHS = {"valid": 229, "test": 686}, 20
HEADS = ("l_homo", "v_homo", "a_homo", "l_hetero", "v_hetero", "a_hetero")
COMMANDS = {
    "list": ("runs", "list"),
    "report of the table": ("report", "table1"),
    "verify": ("runs", "verify"),
    "verify again": ("runs", "verify"),
}


def make(folder: Path, runs: int) -> None:
    """Write the records and the plan that names them."""
    rows = [row for row in load_table("table1").rows if row.recipe and row.recipe.model]
    rng = np.random.Generator(np.random.PCG64(1))
    truth = {split: rng.uniform(-3, 3, n).astype(np.float32) for split, n in CLIPS.items()}
    ids = {split: tuple(f"video{i // 20:03d}$_${i % 20}" for i in range(n)) for split, n in CLIPS.items()}
    records, seeds = Records(folder), range(1111, 1111 + runs // len(rows))
    weights = {f"layer{i}.weight": rng.standard_normal((32, 64)).astype(np.float32) for i in range(20)}
    planned = {}
    for row in rows:
        digest = hashlib.sha256(row.key.encode()).hexdigest()
        stamp = stamp_for(row, standing="synthetic", label="SYNTHETIC", digest=digest)
        specs = [spec_for(row, seed) for seed in seeds]
        planned[row.key] = (stamp, specs)
        for spec in specs:
            curves = {s: (y + rng.normal(0, 1, (EPOCHS, len(y)))).astype(np.float32) for s, y in truth.items()}
            said = {
                split: Predictions(ids[split], y, curves[split][9], dict.fromkeys(HEADS, curves[split][4]))
                for split, y in truth.items()
            }
            with records.begin(spec, stamp, {"execution": {"device": "cpu", "threads": 1}}) as writer:
                for epoch in range(1, EPOCHS + 1):
                    with (writer.path / "history.jsonl").open("a") as stream:
                        stream.write(json.dumps({"epoch": epoch, "loss": 1.0 / epoch}) + "\n")
                writer.finish(
                    predictions=said, epochs=curves, checkpoint=weights,
                    provenance={"epochs": EPOCHS, "best_epoch": 10, "seconds": 100.0},
                )  # fmt: skip
    plan_rows(folder, "table1", planned)


def timed(folder: Path, *command: str) -> tuple[float, float, float, int]:
    """Return seconds by the clock and of the processor, peak memory in MB and the exit code of one command."""
    environment = {**os.environ, "DMD_RUNS": str(folder), "COLUMNS": "200"}
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from dmd_repro.cli import main; main()", *command],
        env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    assert isinstance(usage, resource.struct_rusage)
    worked = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - before, worked, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Make, time, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", default="500,2000")
    parser.add_argument("--folder", type=Path, default=None, help="where records are kept from one call to the next")
    options = parser.parse_args()
    counts = [int(part) for part in options.runs.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        print("| command | runs | seconds | of the processor | memory, MB |\n|:--|--:|--:|--:|--:|")
        for count in counts:
            folder = (options.folder or Path(scratch)) / f"runs{count}"
            if not folder.exists():
                make(folder, count)
            for name, command in COMMANDS.items():
                seconds, worked, memory, code = timed(folder, *command)
                assert code == 0, (name, code)
                print(f"| {name} | {count} | {seconds:.2f} | {worked:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
