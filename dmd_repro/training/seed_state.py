"""One seed in a stack: its optimizer, learning-rate plateau, progress and best epoch, to save and restore.

What belongs to a seed is here, so that it leaves the stack, or goes on in another one, as if it had been alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.nn.layers import named_slices
from dmd_repro.shapes import EVALUATED
from dmd_repro.spec import RunSpec
from dmd_repro.systems.base import EmotionModel, as_module
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.plain import own_tensors, plain_of
from dmd_repro.systems.state import host_copies
from dmd_repro.training.optimizers import make_optimizer


@dataclass(slots=True)
class Progress:
    """Everything of a run that the next epoch depends on, besides weights and optimizer."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0  # the run's share of its stack's time
    stopped: bool = False
    selected_epoch: int = 0  # whose weights are kept; the best one, or the last where the system says so
    curves: dict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: {s: [] for s in EVALUATED})
    best: dict[str, NDArray[Any]] = field(default_factory=dict)  # weights, and predictions of both splits


PLAIN = ("epoch", "best_epoch", "best_loss", "seconds", "stopped", "selected_epoch")


class SeedState:
    """The place of one seed in a stacked model; its parameters are views of the stacked ones."""

    def __init__(self, spec: RunSpec, model: EmotionModel, config: TrainConfig, place: int, *, captured: bool) -> None:
        """`place` on the stack axis; `captured`: the optimizer's step can be part of a captured GPU graph."""
        self.spec, self.place, self.config, self.at = spec, place, config, Progress()
        stacked = {id(p) for _, p, _ in named_slices(as_module(model))}
        self.pairs: list[tuple[nn.Parameter, nn.Parameter]] = []  # (stacked, this seed's view of it)

        def own(p: nn.Parameter) -> nn.Parameter:
            view = nn.Parameter(p.data[place]) if id(p) in stacked else p  # a BERT is never stacked
            self.pairs.append((p, view))
            return view

        groups = [{**group, "params": [own(p) for p in group["params"]]} for group in model.param_groups()]
        self.rates: list[Tensor] = []  # read from memory at each replay, so that the plateau can move them
        if captured:
            self.rates = [torch.tensor(config.learning_rate, device=self.pairs[0][0].device) for _ in groups]
        self.optimizer = make_optimizer(groups, config, captured=captured, on_gpu=self.pairs[0][0].is_cuda)
        self._keep_rates()
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, mode="min", factor=config.plateau_factor, patience=config.plateau_patience
        )
        self.names = {id(p): n for n, p in as_module(model).named_parameters()}
        plain, trained = plain_of(as_module(model)), {id(p) for p, _ in self.pairs}
        # what no optimizer moves, and training may all the same: buffers, frozen parameters
        self.kept = {} if plain is None else {n: x for n, x in own_tensors(plain).items() if id(x) not in trained}

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _keep_rates(self) -> None:
        """Hold the rates where a captured step reads them, whatever the optimizer or the plateau made of them."""
        for group, held in zip(self.optimizer.param_groups, self.rates, strict=bool(self.rates)):
            if group["lr"] is not held:
                held.fill_(float(group["lr"]))
                group["lr"] = held

    def take_gradients(self) -> None:
        """Point this seed's views at its part of the stacked gradients."""
        for whole, view in self.pairs:
            if whole is not view:
                view.grad = None if whole.grad is None else whole.grad[self.place]

    def advance(self, seconds: float, said: Mapping[str, Mapping[str, NDArray[np.float32]]], loss: float) -> bool:
        """Count an epoch with its predictions and validation loss; tell whether it is the best so far.

        The caller keeps the weights of a best epoch. A tie keeps the earlier one.
        """
        at = self.at
        at.epoch += 1
        at.seconds += seconds
        for split in EVALUATED:
            at.curves[split].append(said[split]["y_pred"])
        steady = [
            (group, float(group["lr"])) for group in self.optimizer.param_groups if not group.get("plateau", True)
        ]
        self.plateau.step(loss)
        for group, rate in steady:
            group["lr"] = rate
        self._keep_rates()
        c = self.config
        better = loss < at.best_loss - c.selection_margin or not at.selected_epoch
        if c.selection_ties == "later":
            better = better or loss <= at.best_loss
        if better:
            at.best_epoch, at.best_loss = at.epoch, loss if math.isfinite(loss) else math.inf
        selected = better or c.selection_epoch == "last"
        if selected:
            at.selected_epoch = at.epoch
            at.best = {f"{s}/{name}": x for s in EVALUATED for name, x in said[s].items()}
        patience = self.config.early_stop or self.config.max_epochs
        at.stopped = at.epoch - at.best_epoch >= patience or at.epoch >= self.config.max_epochs
        return selected

    def save(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything the next epoch depends on, as arrays and plain values: copies, training goes on."""
        held: dict[str, Tensor] = {f"parameter/{self.names[id(p)]}": view for p, view in self.pairs}
        for index, moments in self.optimizer.state_dict()["state"].items():
            held |= {f"adam/{index}/{k}": torch.as_tensor(v) for k, v in moments.items()}
        held |= {f"kept/{name}": x for name, x in self.kept.items()}
        arrays: dict[str, NDArray[Any]] = host_copies(held)
        arrays |= {f"best/{k}": v for k, v in self.at.best.items()}
        arrays |= {f"curve/{s}": np.stack(self.at.curves[s]) for s in EVALUATED}
        plain = {k: getattr(self.at, k) for k in PLAIN}
        rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        plateau = {k: v for k, v in self.plateau.state_dict().items() if k != "_last_lr"}
        return arrays, {"progress": plain, "plateau": plateau, "learning_rates": rates}

    def restore(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Take up `save`'s state, so that the next epoch is the one an uninterrupted run would have had."""
        with torch.no_grad():
            for p, view in self.pairs:
                view.copy_(torch.from_numpy(np.array(arrays[f"parameter/{self.names[id(p)]}"])))
            for name, x in self.kept.items():
                x.copy_(torch.from_numpy(np.array(arrays[f"kept/{name}"])))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in arrays.items():
            if key.startswith("adam/"):
                _, index, moment = key.split("/")
                moments.setdefault(int(index), {})[moment] = torch.from_numpy(np.array(value))
        saved = self.optimizer.state_dict()
        if set(saved["state"]) == set(moments):  # where they lie, a captured step goes on reading them
            for index, held in saved["state"].items():
                for name, kept in moments[index].items():
                    held[name].copy_(kept)
        else:
            self.optimizer.load_state_dict({**saved, "state": moments})
        for group, lr in zip(self.optimizer.param_groups, state["learning_rates"], strict=True):
            group["lr"] = lr
        self._keep_rates()
        self.plateau.load_state_dict(dict(state["plateau"]))
        self.at = Progress(**{"selected_epoch": state["progress"]["best_epoch"], **state["progress"]})
        self.at.curves = {s: list(arrays[f"curve/{s}"]) for s in EVALUATED}
        self.at.best = {k.removeprefix("best/"): v for k, v in arrays.items() if k.startswith("best/")}
