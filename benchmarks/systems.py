"""Write docs/systems.md: what each system is, reads and stands on, and what it learns from real clips.

`python benchmarks/systems.py` writes the table of systems (a step is timed: take an idle machine).
`python benchmarks/systems.py --runs DIR` also writes what the recorded runs in DIR learned, by system and settings.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sections import write_section

from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.metrics.registry import METRICS
from dmd_repro.records.folder import Records
from dmd_repro.render.markdown import grid_lines
from dmd_repro.results.sheet import TextGrid
from dmd_repro.stats.summary import summarise
from dmd_repro.systems.declare import Setting, System
from dmd_repro.systems.registry import SHIPPED, find_system, full_name
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.loop import Loop

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"
CPU = torch.device("cpu")
LONG = 20.0  # seconds after which no further step is timed
BOUND = 0.1  # what the lower end of the mean correlation's interval has to exceed


def mosi_like(*, aligned: bool, clips: int = 33) -> Features:
    """Return noise of CMU-MOSI's widths and steps: for counting and timing, nothing to learn."""
    draw = np.random.Generator(np.random.PCG64(1))
    steps = (50, 50, 50) if aligned else (50, 375, 500)

    def split(name: str, n: int) -> object:
        sizes = zip(steps, (300, 5, 20), strict=True)
        text, audio, visual = (draw.standard_normal((n, t, d), dtype=np.float32) for t, d in sizes)
        labels = np.linspace(-3, 3, n, dtype=np.float32)
        ids = [f"{name}$_${i}" for i in range(n)]
        return feature_set(ids=ids, language=text, acoustic=audio, visual=visual, labels=labels, aligned=aligned)

    splits = {"train": split("a", clips), "valid": split("b", 4), "test": split("c", 4)}
    return features("mosi-like", "mosi", splits, text="glove", standing="partial")  # type: ignore[arg-type]


def line(system: System, *, aligned: bool) -> tuple[str, ...]:
    """Return a system's line: parameters, milliseconds of a training step of 32 clips, grade, what it reads."""
    data = mosi_like(aligned=aligned)
    values = {
        "batch_size": 32,
        "accumulate": 1,
        **({"align": system.inputs.unaligned_by} if system.inputs.unaligned_by and not aligned else {}),
    }
    loop = Loop([resolve_spec(system.name, seed=1, features=data, overrides=values)], data, CPU)
    order = np.arange(32, dtype=np.int64)[None]
    loop.train_batches(order)
    times: list[float] = []
    while len(times) < 5 and sum(times) < LONG:
        started = time.process_time()
        loop.train_batches(order)
        times.append(time.process_time() - started)
    count = sum(p.numel() for p in loop.module.parameters())
    setting = Setting("mosi", aligned, system.protocols[0])
    weakest = system.grade(setting)
    why = next(f"{k}: {e.words}" for k, e in system.evidence(setting).items() if e.grade == weakest)
    words = "aligned" if aligned else "unaligned"
    return system.title, words, f"{count:,}", f"{1000 * median(times):.0f}", system.reads, weakest, why


def learned(records: Records) -> TextGrid:
    """Return what the runs of each configuration learned: the mean test correlation with its 95 % interval."""
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for name in records.run_ids():
        record = records.get(name)
        if record is None:
            continue
        spec = record.spec
        usual = find_system(spec.model).preset(spec.dataset, aligned=record.data["aligned"], protocol=spec.protocol)
        changed = [f"{k}={v}" for k, v in spec.config.items() if usual.to_dict().get(k) != v]
        said = record.predictions("test")
        title = full_name(spec.model, spec.config)
        key = (title, record.data["name"], ", ".join(changed))
        groups[key].append(METRICS["corr"].function(said.y_true, said.y_pred))
    rows = []
    for (model, data, changed), values in sorted(groups.items()):
        found = [v for v in values if np.isfinite(v)]
        summary = summarise(found)
        ends = summary.interval
        text = "—" if summary.mean is None else f"{summary.mean:.2f}"
        interval = "—" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"
        verdict = "yes" if ends is not None and len(found) == len(values) and ends[0] > BOUND else "no"
        rows.append((model, data, changed or "preset", f"{len(found)}/{len(values)}", text, interval, verdict))
    heads = ("system", "data", "settings", "runs", "mean correlation", "95 % of the mean", f"above {BOUND}")
    return TextGrid("", heads, "lllllll", tuple(rows))


def main() -> None:
    """Write the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="a folder of runs on real clips")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = [find_system(name) for name in SHIPPED]
    rows = [line(s, aligned=a) for s in known for a in (True, False) if a or not s.inputs.aligned_only]
    heads = ("system", "setting", "parameters", "ms a step", "reads", "evidence", "why")
    when = f"CPU time on {datetime.now(UTC):%Y-%m-%d}, one thread of a two-core machine, 32 clips of CMU-MOSI's sizes."
    table = "\n".join(grid_lines(TextGrid("", heads, "lllllll", tuple(rows))))
    write_section(PAGE, "systems", f"{table}\n\n{when}\n")
    if asked.runs:
        write_section(PAGE, "learned", "\n".join(grid_lines(learned(Records(asked.runs)))) + "\n")


if __name__ == "__main__":
    main()
