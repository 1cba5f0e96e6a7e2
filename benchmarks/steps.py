"""Measure what a clip costs every configuration of the five tables, and write `dmd_repro/planning/measured.json`.

`python benchmarks/steps.py` does all of them on one thread of the CPU, each in processor time, which a busy machine
moves little: a quarter of an hour on an idle one. `--only pmr,dmd` does those systems, `--device cuda --stack 1,5`
times a card by the clock.
Figures of the same configuration, kind of device and stack are replaced, all others kept; it is written after each.
A step has the clips of the preset, on a CPU fewer where it would take longer than `--long` seconds: its time goes by
the clip. A configuration that a card has no room for is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from dmd_repro.bench.prepare import machine
from dmd_repro.data.features import Features
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.disk import write_atomic
from dmd_repro.nn.compiled import way
from dmd_repro.planning.figures import FILE, Figure
from dmd_repro.planning.tables import planned_tables
from dmd_repro.planning.whole import Configuration, configurations
from dmd_repro.records.folder import Records
from dmd_repro.training.execution import Execution
from dmd_repro.training.loop import Loop

PLACE = Path(__file__).resolve().parents[1] / "dmd_repro" / "planning" / FILE
EVALUATED = 64  # clips of an evaluation batch, as `training/feed.py` has it


def noise(configuration: Configuration, clips: int) -> Features:
    """Return noise of a configuration's sizes, with so many training clips: for timing, nothing to learn."""
    draw = np.random.Generator(np.random.PCG64(1))
    case = configuration.case

    def split(name: str, n: int) -> object:
        sizes = zip(case.steps, case.widths, strict=True)
        text, audio, visual = (draw.standard_normal((n, t, d), dtype=np.float32) for t, d in sizes)
        return feature_set(
            ids=[f"{name}$_${i}" for i in range(n)], language=text, acoustic=audio, visual=visual,
            labels=np.linspace(-3, 3, n, dtype=np.float32), aligned=configuration.setting == "aligned",
        )  # fmt: skip

    splits = {"train": split("a", clips), "valid": split("b", min(clips, EVALUATED)), "test": split("c", 4)}
    text = "glove" if case.widths[0] == 300 else "hidden"
    return features(configuration.data, case.dataset, splits, text=text, standing="partial")  # type: ignore[arg-type]


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds of some work: of the processor on a CPU, by the clock on a card."""
    if device.type == "cpu":
        started = time.process_time()
        work()
        return 1000 * (time.process_time() - started)
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - started)


def measure(configuration: Configuration, device: torch.device, stack: int, long: float, name: str) -> Figure:
    """Time training steps and evaluated batches of a configuration."""
    batch = configuration.case.batch
    order = np.repeat(np.arange(batch, dtype=np.int64)[None], stack, axis=0)
    loop = loop_of(configuration, device, stack)
    few = max(4, loop.config.least_batch)
    if device.type == "cpu":
        loop.train_batches(order[:, :few])
        each = timed(lambda: loop.train_batches(order[:, :few]), device) / few / 1000
        while batch > few and batch * each > long:
            batch //= 2
    order = order[:, :batch]
    for _ in range(1 if device.type == "cpu" else 3):
        loop.train_batches(order)
    train = repeated(lambda: loop.train_batches(order), device, long)
    piece = np.repeat(np.arange(min(batch, EVALUATED), dtype=np.int64)[None], stack, axis=0)

    def evaluate() -> None:
        loop.module.eval()
        with torch.inference_mode():
            loop.model.forward(loop.feed.batch("valid", piece)).prediction.sum().item()

    evaluate()
    test = repeated(evaluate, device, long)
    on_a_core = f"processor time of one thread, {f'kernels for {way()}' if way() else 'no compiled kernels'}"
    how = on_a_core if device.type == "cpu" else "by the clock"
    return Figure(
        configuration.case, device.type, name, f"{datetime.now(UTC):%Y-%m-%d}",  # type: ignore[arg-type]
        f"{how}, torch {torch.__version__}", round(train / batch / stack, 4), round(test / piece.shape[1] / stack, 4),
        stack, batch,
    )  # fmt: skip


def loop_of(configuration: Configuration, device: torch.device, stack: int) -> Loop:
    """Return a training of a configuration on noise, each batch of which takes a step."""
    spec = configuration.spec
    config = {**spec.config, "accumulate": 1, "drop_last": False}
    specs = [replace(spec, seed=spec.seed + i, config=config) for i in range(stack)]
    return Loop(specs, noise(configuration, configuration.case.batch), device)


def repeated(work: Callable[[], object], device: torch.device, long: float) -> float:
    """Return the median milliseconds of five times some work, fewer where they take longer than `long` seconds."""
    found: list[float] = []
    while len(found) < 5 and sum(found) < 1000 * long:
        found.append(timed(work, device))
    return median(found)


def main() -> None:
    """Measure what was asked for, and write it as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="systems, with commas between; else all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stack", default="1", help="seeds that share a step, with commas between")
    parser.add_argument("--long", type=float, default=5.0, help="seconds a step may take")
    parser.add_argument("--missing", action="store_true", help="only what has no figure yet")
    asked = parser.parse_args()
    device = Execution(device=asked.device).prepare()
    name = str(machine()["processor"]) if device.type == "cpu" else torch.cuda.get_device_name(device)
    with TemporaryDirectory() as place:
        store, records = Store(Path(place) / "data"), Records(Path(place) / "runs")
        tables = planned_tables(seeds=(1111,), store=store, records=records)
        every = configurations(tables, store, seeds=(1111,))
    systems = asked.only.split(",") if asked.only else [c.spec.model for c in every]
    for configuration in every:
        for stack in map(int, asked.stack.split(",")):
            held = [Figure.from_json(entry) for entry in json.loads(PLACE.read_text(encoding="utf-8"))]
            same = [f for f in held if (f.case, f.kind, f.stack) == (configuration.case, device.type, stack)]
            if configuration.spec.model not in systems or (asked.missing and same):
                continue
            started = time.perf_counter()
            try:
                new = measure(configuration, device, stack, asked.long, name)
            except torch.cuda.OutOfMemoryError:
                print(f"{configuration.case.model} x {stack}: no room on this card")
                continue
            kept = [figure for figure in held if figure not in same]
            lines = ",\n".join(json.dumps(asdict(figure)) for figure in [*kept, new])
            write_atomic(PLACE, f"[\n{lines}\n]\n")
            title = " ".join((configuration.data, new.case.model, new.case.mask, new.case.changed, f"x {stack}"))
            took = f"{new.measured_batch} clips, {time.perf_counter() - started:.0f} s in all"
            print(f"{title}: {new.train_ms} ms a clip, {new.evaluate_ms} evaluated ({took})", flush=True)


if __name__ == "__main__":
    main()
