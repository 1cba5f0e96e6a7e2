"""Train a run, or a stack of seeds: resolve specs, loop epoch by epoch into records, resume from the last epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.sides import padding_words
from dmd_repro.errors import SpecError
from dmd_repro.nn.bert import Bert
from dmd_repro.records import provenance
from dmd_repro.records.folder import DataStamp, Predictions, Records, RunRecord, RunWriter
from dmd_repro.shapes import EVALUATED
from dmd_repro.spec import RunSpec
from dmd_repro.systems.resolve import why_not_stacked
from dmd_repro.systems.state import read_weights, write_weights
from dmd_repro.training.build import arithmetic
from dmd_repro.training.execution import Execution, check_precision, out_of_memory, release
from dmd_repro.training.feed import evaluate
from dmd_repro.training.loop import Loop
from dmd_repro.training.probe import refuse_unsound
from dmd_repro.training.report import EpochReport
from dmd_repro.training.seed_state import SeedState
from dmd_repro.training.text import prepare

log = logging.getLogger(__name__)
SAVED_AT_ONCE = 8  # seeds of a stack: each holds a copy of its weights and moments meanwhile
ROOM = 0.8  # of a GPU's free memory that `--stack auto` fills


Saved = tuple[dict[str, NDArray[Any]], dict[str, Any]]  # what `SeedState.save` returns


def fit(
    spec: RunSpec,
    features: Features,
    records: Records,
    *,
    execution: Execution,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> RunRecord:
    """Train a run to its end, or go on with it from its last finished epoch, and return its record.

    The epoch is selected on the validation split alone; test is evaluated at each epoch and read by nothing here.
    Raises SpecError for a device that is not there, RunError where the record cannot be written.
    """
    return fit_stack([spec], features, records, execution=execution, on_epoch=on_epoch)[0]


def fit_stack(
    specs: Sequence[RunSpec],
    features: Features,
    records: Records,
    *,
    execution: Execution,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> list[RunRecord]:
    """Train seeds of one configuration as one model, each to its own end, and return their records in order.

    Each seed's record is written, resumed and finished on its own, and is the one it would have alone. A stack larger
    than memory is halved and goes on from what is saved. Raises as `fit`; SpecError where the model cannot be stacked.
    """
    device = execution.prepare()
    release(device)  # what a failure before left
    check_precision(specs[0], execution.device)
    if len(specs) > 1 and (reason := why_not_stacked(specs[0])):
        raise SpecError.at(f"a stack of {len(specs)} seeds", expected="one seed at a time", got=reason, do="--stack 1")
    stamp, collected = DataStamp.of(features), provenance.collect()
    if said := padding_words(features, str(specs[0].config.get("pad_side", "none"))):
        collected["padding"] = said
    features, bert = prepare(specs[0], features, execution.bert, execution.cache, device)
    refuse_unsound(specs[0], features, bert)
    size = min(len(specs), execution.stack or room(specs[0], features, device, bert, execution.sharers))
    waiting = [list(specs[i : i + size]) for i in range(0, len(specs), size)]
    log.info("%d seeds on %s, at most %d as one model", len(specs), device, size)
    done: dict[int, RunRecord] = {}
    with ExitStack() as files:
        writers: dict[int, RunWriter] = {}
        for group in waiting:
            members = {"stack": len(group), "members": [spec.seed for spec in group]}
            facts = {**collected, "execution": {**execution.facts(), **members, "torch": torch.__version__}}
            writers |= {spec.seed: files.enter_context(records.begin(spec, stamp, facts)) for spec in group}
        while waiting:
            together = waiting.pop(0)
            try:
                done |= _train(together, features, writers, device, bert, on_epoch or (lambda report: None))
            except (MemoryError, RuntimeError) as error:
                if len(together) == 1 or not out_of_memory(error):
                    raise
                half = len(together) // 2
                waiting = [together[:half], together[half:], *waiting]
            release(device)
            waiting = [left for group in waiting if (left := [s for s in group if s.seed not in done])]
    return [done[spec.seed] for spec in specs]


def _train(
    specs: Sequence[RunSpec],
    features: Features,
    writers: Mapping[int, RunWriter],
    device: torch.device,
    bert: Bert | None,
    on_epoch: Callable[[EpochReport], None],
) -> dict[int, RunRecord]:
    """Train a stack until its last seed has stopped; return the finished records by seed."""
    loop, done = Loop(specs, features, device, bert), {}
    for state in loop.seed_states:
        if (found := writers[state.spec.seed].resume()) is not None:
            state.restore(*found)
    while True:
        for state in loop.seed_states:
            if state.at.stopped and state.spec.seed not in done:
                done[state.spec.seed] = _finish(state, loop, writers[state.spec.seed])
        over = [state.place for state in loop.seed_states if state.at.stopped]
        if len(over) == len(loop.seed_states):
            return done
        # Killed between two saves, some seeds are an epoch ahead: they sit the next one out in their places, so that
        # every epoch of every seed is computed in the same company, bit for bit, as without the interruption.
        level = min(state.at.epoch for state in loop.seed_states if not state.at.stopped)
        ahead = {
            state.place: state.save() for state in loop.seed_states if state.at.epoch > level and not state.at.stopped
        }
        uneven = any(state.at.epoch > level for state in loop.seed_states)
        # a captured step is not captured again for each that leaves
        if over and not uneven and (not loop.capturing or 2 * len(over) >= len(loop.seed_states)):
            loop = loop.without(over)
            release(device)
        _epoch(loop, ahead, writers, on_epoch)


def _epoch(
    loop: Loop, ahead: Mapping[int, Saved], writers: Mapping[int, RunWriter], on_epoch: Callable[[EpochReport], None]
) -> None:
    """Train an epoch and make it durable for every seed that takes part; those `ahead` are left as they were."""
    lines = dict(zip(loop.seed_states, loop.epoch(), strict=True))
    for place, before in ahead.items():
        loop.seed_states[place].restore(*before)
    trained = {s: line for s, line in lines.items() if line is not None and s.place not in ahead}
    # a seed takes a second to train on a GPU, and a good part of one to hash and write
    with ThreadPoolExecutor(max_workers=min(len(trained), SAVED_AT_ONCE)) as pool:
        saved = {state: pool.submit(_save, state, line, writers) for state, line in trained.items()}
        for state, line in trained.items():
            saved[state].result()
            on_epoch(_report(state, line))


def _save(state: SeedState, line: Mapping[str, Any], writers: Mapping[int, RunWriter]) -> None:
    writers[state.spec.seed].save_epoch(*state.save(), line)


def _report(state: SeedState, line: Mapping[str, Any]) -> EpochReport:
    at, loss = state.at, line["valid_loss"]
    return EpochReport(
        state.spec.seed, at.epoch, state.config.max_epochs, line["seconds"], math.nan if loss is None else loss,
        at.best_epoch, at.best_loss, at.stopped,
    )  # fmt: skip


def _finish(state: SeedState, loop: Loop, writer: RunWriter) -> RunRecord:
    at, splits = state.at, loop.features.splits
    weights, said = _final(state, loop)
    mixed = {} if said is at.best else {"last_epoch_weights": list(loop.last_epoch_patterns())}
    left_out = len(splits["train"]) - loop.pieces[-1].stop
    facts = {"seconds": round(at.seconds, 3), "epochs": at.epoch, "best_epoch": at.selected_epoch,
             "hit_max_epochs": at.epoch - at.best_epoch < state.config.early_stop,
             "train_median": float(np.median(np.asarray(splits["train"].labels)))}  # fmt: skip
    return writer.finish(
        predictions={s: _predictions(splits[s], said, s) for s in EVALUATED},
        epochs={s: np.stack(at.curves[s]) for s in EVALUATED},
        checkpoint=weights,
        provenance=facts | ({"left_out_clips": left_out} if left_out else {}) | mixed,
    )


def _final(state: SeedState, loop: Loop) -> tuple[dict[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """Return the weights a run ends with and what they predict: the selected epoch's, parts of them the last's."""
    at = state.at
    weights = {k.removeprefix("weights/"): v for k, v in at.best.items() if k.startswith("weights/")}
    patterns = loop.last_epoch_patterns()
    if not patterns or at.selected_epoch == at.epoch:
        return weights, at.best
    system = state.spec.model
    last = read_weights(loop.module, system, state.place)
    weights = {n: last[n] if any(fnmatchcase(n, f"{system}/{p}") for p in patterns) else x for n, x in weights.items()}
    write_weights(loop.module, weights, system, "the weights at the end")
    with arithmetic(state.config.precision):
        said = {s: evaluate(loop.model, loop.features.splits, s, loop.device) for s in EVALUATED}
    return weights, {f"{s}/{name}": x for s, found in said.items() for name, x in found.items()}


def _predictions(split: FeatureSet, best: Mapping[str, NDArray[Any]], name: str) -> Predictions:
    said = {k.removeprefix(f"{name}/"): v for k, v in best.items() if k.startswith(f"{name}/")}
    return Predictions(split.ids, np.asarray(split.labels), said.pop("y_pred"), said)


def room(spec: RunSpec, features: Features, device: torch.device, bert: Bert | None, sharers: int = 1) -> int:
    """Return how many seeds `--stack auto` puts together: on a GPU what its free memory holds, on a CPU one.

    `sharers` are the processes that fill the same card. At MOSI's sizes one seed keeps the cores of a CPU busy, so a
    stack gains nothing there (docs/benchmarks.md).
    """
    if device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(device)
    loop = Loop([spec], features, device, bert, capture=False)
    loop.train_batches(np.arange(min(loop.config.batch_size, features.sizes["train"]), dtype=np.int64)[None])
    each = torch.cuda.max_memory_allocated(device)
    del loop
    release(device)
    return max(1, int(ROOM * torch.cuda.mem_get_info(device)[0] / (each * sharers)))


def seconds_per_epoch(spec: RunSpec, features: Features, execution: Execution) -> float:
    """Time a few real batches and return the estimated seconds of one epoch; the run itself is not touched.

    With `--stack K` those of one seed in a stack of K.
    """
    device = execution.prepare()
    check_precision(spec, execution.device)
    stack = 1 if why_not_stacked(spec) else execution.stack or 1
    while True:
        try:
            return _seconds_per_epoch(spec, features, execution, device, stack)
        except (MemoryError, RuntimeError) as error:  # halved, as the training will be
            if stack == 1 or not out_of_memory(error):
                raise
            stack //= 2
        finally:
            release(device)  # the memory is for those who will train


def _seconds_per_epoch(
    spec: RunSpec, features: Features, execution: Execution, device: torch.device, stack: int
) -> float:  # fmt: skip
    features, bert = prepare(spec, features, execution.bert, execution.cache, device)
    refuse_unsound(spec, features, bert)
    loop = Loop([replace(spec, seed=spec.seed + i) for i in range(stack)], features, device, bert)
    size, sizes = loop.config.batch_size, features.sizes
    order = np.repeat(np.arange(min(2 * size, sizes["train"]), dtype=np.int64)[None], stack, axis=0)
    piece = next(loop.feed.whole("valid", stack))
    if device.type == "cpu":  # where a batch of evaluation costs by the clip
        piece = piece[: 2 * size]

    def evaluate() -> None:
        loop.module.eval()
        with torch.inference_mode():
            loop.model.forward(loop.feed.batch("valid", np.repeat(piece[None], stack, axis=0))).prediction.sum().item()

    def timed(work: Callable[[], Any]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    if device.type == "cpu":
        loop.train_batches(order[:, :size])  # the first batch pays for caches and code that is loaded late
    else:
        for _ in range(2):  # the steps are recorded, then the optimizer's second
            loop.train_batches(order)
    train = timed(lambda: loop.train_batches(order)) / order.shape[1] * sizes["train"]
    if device.type != "cpu":
        evaluate()
    evaluation = timed(evaluate) / len(piece) * (sizes["valid"] + sizes["test"])
    return (train + evaluation) / stack
