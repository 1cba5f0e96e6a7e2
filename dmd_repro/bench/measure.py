"""Time, phases and memory of training steps, measured in the process that calls; `process.py` gives each case its own.

A step is one batch: data, forward, losses, backward, and an optimizer step whenever the window of `accumulate` batches
is full. As few steps may be timed, the optimizer's time is measured on its own and every step is given its even share.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch

from dmd_repro.bench.types import PHASES, Memory
from dmd_repro.data.batches import epoch_order
from dmd_repro.training.feed import Order
from dmd_repro.training.loop import Loop, Mark

UPDATES = 3  # optimizer steps that are timed on their own
SMALL = 2  # clips of the batch that loads libraries and makes the optimizer's moments


class Trainer(Protocol):
    """What is measured: ours, or the plain implementation."""

    def train_batches(self, orders: Order, mark: Mark = ...) -> Any:
        """Train over the clips (S, n), telling `mark` when a phase ends; "optimizer" ends each batch."""

    def update(self) -> None:
        """Take an optimizer step."""


class Clock:
    """Instants on a device: on a GPU events in its queue, so that reading the time makes nothing wait."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.queued = device, device.type == "cuda"

    def now(self) -> Any:
        """Mark this instant."""
        if not self.queued:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Let the device finish."""
        if self.queued:
            torch.cuda.synchronize(self.device)

    def ms(self, before: Any, after: Any) -> float:
        """Return the milliseconds between two instants, of which the device must be past both."""
        return float(before.elapsed_time(after)) if self.queued else 1e3 * (after - before)


class Batches:
    """Orders of clips, as many as asked for: epoch after epoch of each seed, whole batches only."""

    def __init__(self, loop: Loop) -> None:
        self.clips = loop.features.sizes["train"]
        self.size = min(loop.config.batch_size, self.clips)
        self.seeds = [spec.seed for spec in loop.specs]
        self.taken = 0

    def take(self, steps: int) -> Order:
        """Return (S, steps * batch) clips, going on where the last call ended."""
        each = self.clips // self.size
        found = []
        for i in range(self.taken, self.taken + steps):
            epoch, at = 1 + i // each, slice(i % each * self.size, (i % each + 1) * self.size)
            found.append(np.stack([epoch_order(seed, "train", epoch, self.clips)[at] for seed in self.seeds]))
        self.taken += steps
        return np.concatenate(found, axis=1)


def start_loop(loop: Loop) -> None:
    """Begin an epoch's streams of dropout, as `Loop.epoch` does."""
    if loop.stream is not None:
        loop.stream.restart([1] * len(loop.specs), loop.device)


def time_steps(
    trainer: Trainer, orders: Order, clock: Clock, *, waiting: bool = False
) -> tuple[list[float], dict[str, float]]:
    """Train over orders; return the milliseconds of each batch, and of all together by phase, as far as it is told.

    `waiting` lets the device finish each phase before the next begins, which tells phases apart and costs time.
    """

    def now() -> Any:
        if waiting:
            clock.wait()
        return clock.now()

    clock.wait()
    stamps = [("", now())]
    trainer.train_batches(orders, lambda phase: stamps.append((phase, now())))
    clock.wait()
    times, phases, begun = [], dict.fromkeys(PHASES, 0.0), stamps[0][1]
    for (_, before), (phase, after) in pairwise(stamps):
        phases[phase] += clock.ms(before, after)
        if phase == "optimizer":
            times.append(clock.ms(begun, after))
            begun = after
    return times, phases


def time_update(trainer: Trainer, clock: Clock) -> float:
    """Return the milliseconds of an optimizer step on the gradients as they are."""
    found = []
    for _ in range(UPDATES):
        clock.wait()
        before = clock.now()
        trainer.update()
        after = clock.now()
        clock.wait()
        found.append(clock.ms(before, after))
    return median(found)


def even(times: Sequence[float], update: float, accumulate: int, *, trailing: bool = False) -> list[float]:
    """Give each batch of one `train_batches` call its share of an optimizer step, whichever of them took it."""
    share, last = update / accumulate, len(times) - 1
    took = [(i + 1) % accumulate == 0 or (trailing and i == last) for i in range(len(times))]
    return [max(t - update, 0.0) + share if own else t + share for t, own in zip(times, took, strict=True)]


def phase_shares(phases: dict[str, float], update: float, accumulate: int, steps: int) -> dict[str, float]:
    """Return the share of each phase in a step; they sum to 1."""
    found = {**phases, "optimizer": update / accumulate * steps}
    whole = sum(found.values())
    return {name: value / whole for name, value in found.items()}


def how_many(each_ms: float, seconds: float, least: int, most: int) -> int:
    """Return how many steps of a length fit into a budget of time."""
    return max(least, min(most, int(1e3 * seconds / max(each_ms, 1e-3))))


def peak_memory(device: torch.device, work: Callable[[], None]) -> Memory:
    """Return what is held now, and how much more it becomes at most while `work` runs.

    On a CPU the resident size of this process: the peak of its whole life where the system cannot reset it, which
    is the work's own only if nothing before it was larger.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        built = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return Memory(built, torch.cuda.max_memory_allocated(device) - built, "torch.cuda.max_memory_allocated")
    _reset_peak()
    built = _resident("VmRSS")
    work()
    return Memory(built, max(0, _resident("VmHWM") - built), "resident size of the process")


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again at what is held now
    except OSError:
        return


def _resident(field: str) -> int:
    """Return the resident bytes of this process: VmRSS now, VmHWM at most (the same where there is no /proc)."""
    try:
        # ru_maxrss would do for the peak, but a process that was spawned inherits that of its parent
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
