"""All that is measured of one case, in the process that calls it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity

from dmd_repro.bench.against import PlainTrainer
from dmd_repro.bench.measure import (
    SMALL,
    Batches,
    Clock,
    even,
    how_many,
    peak_memory,
    phase_shares,
    start_loop,
    time_steps,
    time_update,
)
from dmd_repro.bench.prepare import features_of, specs_of
from dmd_repro.bench.roofline import count, measure_ceilings, roofline
from dmd_repro.bench.types import Case, Memory, Operator, Result, Spread
from dmd_repro.data.sides import with_padding
from dmd_repro.data.store.folder import Store
from dmd_repro.systems.registry import full_name
from dmd_repro.training.feed import Order
from dmd_repro.training.fit import Execution
from dmd_repro.training.loop import Loop

LEAST, MOST = 2, 200  # steps that are timed
MOST_BLOCKS = 20  # of ours and plain in turn
PHASED = 5  # steps whose phases are told apart where that takes a run of its own
PROFILED = 15  # lines of a profile
Say = Callable[[str], None]


class InTurn(NamedTuple):
    """Ours and the plain implementation in turn: milliseconds of plain's steps and ours, and the blocks' ratios."""

    plain: list[float]
    ours: list[float]
    ratios: list[float]  # of the time of a seed-step, plain / ours


class Bench:
    """A case in measurement: its features, its loop, and the batches still to be taken."""

    def __init__(self, case: Case, store: Store, *, capture: bool = True) -> None:
        """Build the model; raises as `prepare` does."""
        self.case = case
        self.device = Execution(device=case.device, threads=case.threads).prepare()
        self.features = features_of(case, store)
        self.specs = specs_of(case, self.features)
        self.features = with_padding(self.features, str(self.specs[0].config["pad_side"]))
        self.clock = Clock(self.device)
        self.open(capture=capture)
        self.batches = Batches(self.loop)

    def open(self, *, capture: bool) -> None:
        """Build the loop: the model of all seeds, and their optimizers."""
        self.loop = Loop(self.specs, self.features, self.device, capture=capture)
        self.config = self.loop.config
        start_loop(self.loop)

    def even(self, times: list[float], update: float) -> list[float]:
        """Give each step of one call its share of the optimizer's time."""
        return even(times, update, self.config.accumulate, trailing=self.config.trailing_step)

    def memory(self) -> tuple[Memory, float]:
        """Return the peak of two batches once the optimizer has its moments, and the milliseconds of the second."""
        times: list[float] = []

        def work() -> None:
            self.loop.train_batches(self.batches.take(1)[:, :SMALL])
            self.loop.update()
            times.extend(time_steps(self.loop, self.batches.take(2), self.clock)[0])

        return peak_memory(self.device, work), times[-1]

    def plain_memory(self) -> Memory:
        """Return the peak of the plain implementation in the same state: moments, and a batch's gradients, are held."""
        plain = PlainTrainer(self.loop)

        def work() -> None:
            plain.train_batches(self.batches.take(1)[:, :SMALL])
            plain.update()
            if self.config.accumulate == 1:
                plain.optimizer.zero_grad()
            plain.add(self.batches.take(1)[:1])

        return peak_memory(self.device, work)

    def in_turn(self, ours_ms: float, say: Say) -> InTurn:
        """Train ours and the plain implementation block by block over the same batches, so that drift hits both."""
        plain, case = PlainTrainer(self.loop), self.case
        small = time_steps(plain, self.batches.take(1)[:, :SMALL], self.clock)[0][0]
        each = small * self.batches.size / SMALL
        if each < 1e3 * case.seconds / 4:  # otherwise a whole step only to warm up is too much
            each = time_steps(plain, self.batches.take(1), self.clock)[0][0]
        plain_update, update = time_update(plain, self.clock), time_update(self.loop, self.clock)
        together = each + ours_ms
        size = min(self.config.accumulate, how_many(together, case.seconds / MOST_BLOCKS, 1, MOST))
        blocks = how_many(together * size, case.seconds, LEAST, MOST_BLOCKS)
        if case.steps:
            size, blocks = 1, case.steps
        say(f"against plain: {blocks} blocks of {size} step(s) of about {each:.0f} ms, ours in turn")
        found = InTurn([], [], [])
        for i in range(blocks):
            order = self.batches.take(size)
            ours = self.even(time_steps(self.loop, order, self.clock)[0], update)
            theirs = even(time_steps(plain, order, self.clock)[0], plain_update, self.config.accumulate)
            found.ours.extend(ours)
            found.plain.extend(theirs)
            found.ratios.append(mean(theirs) * case.stack / mean(ours))
            say(f"block {i + 1}/{blocks}: plain {mean(theirs):.0f} ms, ours {mean(ours) / case.stack:.0f} ms a seed")
        return found

    def run(self, say: Say) -> tuple[Result, InTurn | None]:
        """Measure the case; what is said of the plain implementation lacks its memory, which needs its own process."""
        case, accumulate = self.case, self.config.accumulate
        say("memory")
        memory, each = self.memory()
        steps = case.steps or how_many(each, case.seconds, LEAST, MOST)
        say(f"timing {steps} steps of about {each:.0f} ms")
        update = time_update(self.loop, self.clock)
        raw, phases = time_steps(self.loop, self.batches.take(steps), self.clock)
        step = Spread.of(self.even(raw, update))
        in_turn = self.in_turn(step.median, say) if case.against else None
        captured = self.loop.captured.get(self.batches.size)
        graph, why, phased = False, "only a GPU's steps are captured", update
        if captured is not None:
            graph, why = captured.graph is not None, captured.reason
        if self.device.type == "cuda":  # a replay has no phases: they, and what is counted, are those it recorded
            self.open(capture=False)
            say("phases")
            time_steps(self.loop, self.batches.take(1), self.clock)
            steps = PHASED
            _, phases = time_steps(self.loop, self.batches.take(steps), self.clock, waiting=True)
            phased = time_update(self.loop, self.clock)
        say("roofline")
        order, spec = self.batches.take(1), self.specs[0]
        counted = count(lambda: self.one(order), self.loop.update, accumulate)
        result = Result(
            model=full_name(spec.model, spec.config), mask=spec.mask.label, protocol=spec.protocol,
            settings=dict(case.overrides), data=case.data,
            setting="aligned" if self.features.aligned else "unaligned", lengths=self.features.steps,
            stack=case.stack, device=device_name(self.device), threads=case.threads, batch_size=self.batches.size,
            accumulate=accumulate, parameters=sum(p.numel() for p in self.loop.parameters) // case.stack,
            step_ms=step, optimizer_ms=update, clips_per_s=1e3 * case.stack * self.batches.size / step.median,
            seed_steps_per_s=1e3 * case.stack / step.median, memory=memory,
            phases=phase_shares(phases, phased, accumulate, steps), captured=graph,
            why_not_captured="" if graph else why,
            roofline=roofline(counted, measure_ceilings(self.device), step.median, captured=graph),
            profile=self.profile() if case.profile else (),
        )  # fmt: skip
        return result, in_turn

    def one(self, order: Order) -> None:
        """Compute one batch's gradients the ordinary way."""
        self.loop.backward(self.loop.feed.batch("train", order), lambda phase: None)

    def profile(self) -> tuple[Operator, ...]:
        """Return the operators that one batch and one optimizer step spend most time in themselves."""
        gpu = self.device.type == "cuda"
        order = self.batches.take(1)
        with torch.profiler.profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as seen:
            self.one(order)
            self.loop.update()
            self.clock.wait()
        spent = {e: e.self_device_time_total if gpu else e.self_cpu_time_total for e in seen.key_averages()}
        whole = sum(spent.values()) or 1.0
        most = sorted(spent, key=lambda e: -spent[e])[:PROFILED]
        return tuple(Operator(e.key, e.count, spent[e] / 1e3, spent[e] / whole) for e in most)


def device_name(device: torch.device) -> str:
    """Return a device as it is typed, a GPU with its name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
