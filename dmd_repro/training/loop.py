"""The training of a stack of seeds as the authors train one: an epoch of batches, evaluation, selection.

With `seed_state.py` the only module that knows `torch.optim`. It reads everything it does from the specs; it has no
`if model ==`. One seed alone is a stack of one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_

from dmd_repro.data.batches import epoch_order
from dmd_repro.data.features import Features
from dmd_repro.metrics.registry import metrics_of
from dmd_repro.nn.bert import Bert
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.shapes import EVALUATED
from dmd_repro.spec import RunSpec
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, as_module
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.plain import plain_of
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.state import read_weights
from dmd_repro.training.build import arithmetic, build, fit_inputs
from dmd_repro.training.capture import CapturedStep, CapturedUpdate
from dmd_repro.training.feed import Feed, Order, predict, total_loss
from dmd_repro.training.phases import phases_of, terms_of, unmoved
from dmd_repro.training.schedule import clip_norm_, selection_loss, training_batches
from dmd_repro.training.seed_state import SeedState

Mark = Callable[[str], None]  # told when a phase of the step has ended; `dmd bench` listens
Means = tuple[dict[str, float], dict[str, list[float]]]  # of an epoch: each loss term, and each edge


class Loop:
    """The state of a stack of seeds in training, and its moves: an epoch, and fewer seeds."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        features: Features,
        device: torch.device,
        bert: Bert | None = None,
        *,
        capture: bool = True,
    ) -> None:
        """`specs` differ in their seed alone. `capture`: on a GPU, record a step once and replay it."""
        first = specs[0]
        if any(replace(spec, seed=first.seed) != first for spec in specs):
            raise ValueError("only seeds of one configuration share a stack")
        self.specs, self.features, self.device, self.bert = tuple(specs), features, device, bert
        self.model = build(first, features, device, bert, [spec.seed for spec in specs])
        self.module: nn.Module = as_module(self.model)
        self.config: TrainConfig = find_system(first.model).config.from_dict(first.config)
        fit_inputs(self.model, features)
        self.feed = Feed(features.splits, self.model, device)
        self.weights = self.model.loss_weights()
        self.stream: DropoutStream | None = getattr(self.model, "stream", None)
        self.phases = phases_of(self.module, self.config)
        self.capturing = capture and device.type == "cuda" and not self.phases
        self.pieces = training_batches(len(features.splits["train"]), self.config)
        sizes = {piece.stop - piece.start for piece in self.pieces} if self.capturing else set()
        self.captured = {n: CapturedStep(self, n) for n in sorted(sizes, reverse=True)}
        self.captured_update = CapturedUpdate(self) if self.capturing else None
        if self.stream is not None:
            self.stream.restart([0] * len(specs), device)
        self.take_seeds()

    @property
    def seeds(self) -> int:
        """How many seeds the stack holds."""
        return len(self.specs)

    def take_seeds(self) -> None:
        """Give every seed its optimizer on the model's parameters as they are."""
        self.seed_states = [
            SeedState(spec, self.model, self.config, i, captured=self.capturing) for i, spec in enumerate(self.specs)
        ]
        groups = list(self.model.param_groups())
        self.parameters = [p for g in groups for p in g["params"]]
        together = [p for g in groups if "clip_norm" not in g for p in g["params"]]
        self.clipped = [(together, self.config.clip_norm)] + [
            (g["params"], g["clip_norm"]) for g in groups if "clip_norm" in g
        ]
        self.clipped = [(parameters, limit) for parameters, limit in self.clipped if limit > 0 and parameters]
        self.terms: list[str] = []
        self.tally: dict[str, Tensor] = {}  # sums over an epoch's batches, on the device

    def last_epoch_patterns(self) -> tuple[str, ...]:
        """Return patterns of the weights that a run takes from its last epoch, whatever was selected."""
        plain = plain_of(self.module)
        return () if plain is None else tuple(plain.last_epoch())

    def backward(self, batch: Batch, mark: Mark) -> None:
        """Add one batch's gradients, clamped after it as the authors do, and its terms to the tally."""
        out = self.model.forward(batch)
        mark("forward")
        terms = self.model.loss_terms(out, batch)
        objective = losses.total(terms, self.weights)  # (S,)
        mark("losses")
        objective.sum().backward()
        if self.config.clip_value > 0:
            clip_grad_value_(self.parameters, self.config.clip_value)
        mark("backward")
        self.terms = [*terms, "total"]
        self._count("terms", torch.stack([*terms.values(), objective]))
        for name, edges in out.edges.items():
            self._count(f"edges/{name}", edges.mean(2))

    def step_phases(self, batch: Batch, mark: Mark) -> None:
        """Take every phase's step on one batch, one after the other; a weight that is not the phase's stands still."""
        counted: dict[str, Tensor] = {}
        objective: Tensor | None = None
        for phase in self.phases:
            self.module.zero_grad()
            out = self.model.forward(batch)
            mark("forward")
            terms = terms_of(phase, self.model.loss_terms(out, batch))
            own = losses.total(terms, self.weights)
            mark("losses")
            own.sum().backward()
            for p in unmoved(self.module, phase):
                p.grad = None  # an optimizer passes over it, its moments too
            if self.config.clip_value > 0:
                clip_grad_value_(self.parameters, self.config.clip_value)
            mark("backward")
            self.step_seeds()
            mark("optimizer")
            counted = {**terms, **counted}
            objective = own if objective is None else objective + own
        assert objective is not None
        self.terms = [*counted, "total"]
        self._count("terms", torch.stack([*counted.values(), objective]))

    def _count(self, name: str, value: Tensor) -> None:
        value = value.detach()
        if name in self.tally:
            self.tally[name].add_(value)
        else:
            self.tally[name] = value.clone()

    def update(self) -> None:
        """Let every seed take an optimizer step."""
        if self.captured_update is None or not self.captured_update.run():
            self.step_seeds()

    def step_seeds(self) -> None:
        """Compute the optimizer's step of every seed."""
        for parameters, limit in self.clipped:
            clip_norm_(parameters, limit, len(self.seed_states))
        for state in self.seed_states:
            state.take_gradients()
            state.optimizer.step()

    def train_batches(self, orders: Order, mark: Mark = lambda phase: None) -> list[Means]:
        """Train over the clips in these orders (S, n); return the means over the batches, for each seed.

        Gradients of `accumulate` batches are summed and clamped after every backward; the rest of an epoch that does
        not fill the window never steps (the authors zero it at the next epoch's first batch).
        """
        c = self.config
        self.module.train()
        if self.capturing:  # a captured step adds where its gradients and sums lay
            for value in self.tally.values():
                value.zero_()
        else:
            self.tally = {}
        pieces = training_batches(orders.shape[1], c)
        orders = orders[:, : pieces[-1].stop]
        whole = orders.shape[1] // c.batch_size
        for size, captured in self.captured.items():
            if size == c.batch_size and whole:
                captured.begin(orders[:, : whole * size], 0)
            elif size == orders.shape[1] - whole * c.batch_size:
                captured.begin(orders[:, whole * c.batch_size :], whole)
        with arithmetic(c.precision):
            for i, piece in enumerate(pieces):
                if i % c.accumulate == 0:
                    self.module.zero_grad(set_to_none=not self.capturing)
                captured_step = self.captured.get(piece.stop - piece.start)
                if captured_step is None or not captured_step.run(i):
                    if self.stream is not None:
                        self.stream.begin(i)
                    batch = self.feed.batch("train", orders[:, piece])
                    mark("data")
                    if self.phases:
                        self.step_phases(batch, mark)
                        continue
                    self.backward(batch, mark)
                if (i + 1) % c.accumulate == 0 or (c.trailing_step and i + 1 == len(pieces)):
                    self.update()
                mark("optimizer")
        found = {k: (x.movedim(0, -1) if k == "terms" else x).cpu() / len(pieces) for k, x in self.tally.items()}
        return [  # the epoch's one wait for the device
            (
                dict(zip(self.terms, found["terms"][s].tolist(), strict=True)),
                {k.removeprefix("edges/"): x[s].tolist() for k, x in found.items() if k != "terms"},
            )
            for s in range(len(self.seed_states))
        ]

    def epoch(self) -> list[dict[str, Any] | None]:
        """Train and evaluate one epoch, select, and return each seed's line of history; None for one that is over."""
        started, size = time.perf_counter(), len(self.features.splits["train"])
        epochs = [state.at.epoch + 1 for state in self.seed_states]
        if self.stream is not None:
            self.stream.restart(epochs, self.device)
        rates = [state.learning_rate for state in self.seed_states]
        orders = [
            epoch_order(state.spec.seed, "train", 1 if self.config.order == "once" else e, size)
            for state, e in zip(self.seed_states, epochs, strict=True)
        ]
        means = self.train_batches(np.stack(orders))
        with arithmetic(self.config.precision):
            found = {s: predict(self.model, self.feed, s, len(self.seed_states)) for s in EVALUATED}
            by_total = self.config.selection_loss == "total"
            totals = total_loss(self.model, self.feed, "valid", len(self.seed_states)) if by_total else None
        seconds = (time.perf_counter() - started) / sum(not state.at.stopped for state in self.seed_states)
        return [
            None
            if state.at.stopped
            else self._select(
                state,
                rates[i],
                means[i],
                {s: {k: x[i] for k, x in found[s].items()} for s in found},
                seconds,
                None if totals is None else float(totals[i]),
            )
            for i, state in enumerate(self.seed_states)
        ]

    def _select(
        self,
        state: SeedState,
        rate: float,
        means: Means,
        said: dict[str, dict[str, NDArray[np.float32]]],
        seconds: float,
        total: float | None,
    ) -> dict[str, Any]:
        splits, number = self.features.splits, state.at.epoch + 1
        order = epoch_order(state.spec.seed, "valid", number, len(splits["valid"]))
        error = np.abs(said["valid"]["y_pred"] - splits["valid"].labels)
        if total is None:
            loss = selection_loss(error**2 if self.config.selection_loss == "mse" else error, order, self.config)
        else:
            loss = round(total, self.config.selection_digits)
        if selected := state.advance(seconds, said, loss):
            weights = read_weights(self.module, state.spec.model, state.place)
            state.at.best |= {f"weights/{n}": x for n, x in weights.items()}
        metrics = metrics_of(self.features.dataset)
        scores = {
            s: {k: _json(m.function(splits[s].labels, said[s]["y_pred"])) for k, m in metrics.items()} for s in said
        }
        terms, edges = means
        return {
            "epoch": number, "learning_rate": rate, "train": {k: _json(v) for k, v in terms.items()},
            "valid_loss": _json(loss), **scores, "edges": edges, "selected": selected, "seconds": round(seconds, 3),
        }  # fmt: skip

    def without(self, places: Sequence[int]) -> Loop:
        """Return a smaller stack: the seeds at other places, each where it stands."""
        kept = [state for state in self.seed_states if state.place not in places]
        fresh = Loop([state.spec for state in kept], self.features, self.device, self.bert, capture=self.capturing)
        for new, old in zip(fresh.seed_states, kept, strict=True):
            new.restore(*old.save())
        return fresh


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
