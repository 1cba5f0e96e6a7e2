"""One training as the authors run it: an epoch of batches, evaluation, selection; and its state, to save and restore.

The only module that knows `torch.optim`. It reads everything it does from the spec; it has no `if model ==`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_

from dmd_repro import losses
from dmd_repro.data.batches import batch_slices, epoch_order
from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.errors import SpecError
from dmd_repro.metrics import METRICS
from dmd_repro.models.base import Batch, EmotionModel, TrainConfig
from dmd_repro.models.bert import Bert
from dmd_repro.models.bert_text import WithBert
from dmd_repro.models.layers import DropoutStream
from dmd_repro.models.state import read_weights
from dmd_repro.registry import load_model
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import RunSpec

EVALUATION_BATCH = 64  # clips; no effect on a prediction, only on memory
EVALUATED = ("valid", "test")


def build(spec: RunSpec, features: Features, device: torch.device, bert: Bert | None = None) -> EmotionModel:
    """Construct the model of a spec with its own initial parameters, on the device; before it, a BERT to be trained."""
    cls = load_model(spec.model)
    config = cls.CONFIG.from_dict(spec.config)
    dims = features.dims if bert is None else {**features.dims, "l": bert.width}
    try:
        model = cls(config, dims=dims, steps=features.steps, mask=spec.mask, seeds=(spec.seed,))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise SpecError.at(
            f"model '{spec.model}'", expected="one that fits in memory", got="one that does not", do="Lower --set d"
        ) from None
    return (model if bert is None else WithBert(model, bert)).to(device)  # type: ignore[return-value]


def gather(split: FeatureSet, order: NDArray[np.int64], device: torch.device) -> Batch:
    """Read the clips `order` (S, B) of a split into one batch on the device."""
    inputs = {m: torch.from_numpy(np.asarray(split.array(m)[order])).to(device) for m in MODALITIES}
    lengths = {m: torch.from_numpy(np.asarray(split.lengths[m][order])).to(device) for m in MODALITIES}
    return Batch(inputs, torch.from_numpy(np.asarray(split.labels[order])).to(device), lengths)


def evaluate(model: nn.Module, split: FeatureSet, device: torch.device) -> dict[str, NDArray[np.float32]]:
    """Return {"y_pred": (B,), head name: (B,)} for every clip of a split, in the split's own order."""
    model.eval()
    collected: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for piece in batch_slices(len(split), EVALUATION_BATCH):
            order = np.arange(piece.start, piece.stop, dtype=np.int64)[None]
            out = model(gather(split, order, device))
            for name, value in {"y_pred": out.prediction, **out.heads}.items():
                collected.setdefault(name, []).append(value[0, :, 0])
    return {name: torch.cat(values).float().cpu().numpy() for name, values in collected.items()}


def selection_loss(error: NDArray[np.float32], order: NDArray[np.int64], config: TrainConfig) -> float:
    """Return the validation loss an epoch is selected by: the mean absolute error over clips, or over batches of them.

    DMD's loader shuffles validation clips too, so which clips share the last, smaller batch is part of its mean.
    """
    size = config.batch_size if config.selection_mean == "batches" else len(order)
    means = [float(error[order[piece]].mean(dtype=np.float64)) for piece in batch_slices(len(order), size)]
    return round(float(np.mean(means)), config.selection_digits)


def clip_norm_(parameters: Sequence[nn.Parameter], limit: float, stack: int = 1) -> None:
    """Scale the gradients so that their L2 norm over all parameters is at most `limit`, each stacked seed on its own.

    For one seed this is torch's clip_grad_norm_, its 1e-6 included; with `stack` seeds parameters are (S, ...).
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.reshape(stack, -1).norm(dim=1) for g in grads]).norm(dim=0)  # (S,)
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(factor if stack == 1 else factor.view(-1, *[1] * (g.dim() - 1)))


@dataclass(slots=True)
class Progress:
    """Everything of a run that the next epoch depends on, besides weights and optimizer."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0
    stopped: bool = False
    curves: dict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: {s: [] for s in EVALUATED})
    best: dict[str, NDArray[Any]] = field(default_factory=dict)  # weights, and predictions of both splits


class Loop:
    """The state of one training and its three moves: an epoch, save, restore."""

    def __init__(self, spec: RunSpec, features: Features, device: torch.device, bert: Bert | None = None) -> None:
        self.spec, self.features, self.device = spec, features, device
        self.model = build(spec, features, device, bert)
        self.module: nn.Module = self.model  # type: ignore[assignment]
        self.config: TrainConfig = load_model(spec.model).CONFIG.from_dict(spec.config)
        c = self.config
        self.optimizer = torch.optim.Adam(
            self.model.param_groups(), lr=c.learning_rate, betas=(c.adam_beta1, c.adam_beta2), eps=c.adam_eps
        )
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, mode="min", factor=c.plateau_factor, patience=c.plateau_patience
        )
        self.weights = self.model.loss_weights()
        self.at = Progress()

    def train_batches(self, order: NDArray[np.int64]) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Train over the clips in this order; return the mean of each loss term and of each edge over the batches.

        Gradients of `accumulate` batches are summed and clamped after every backward; the rest of an epoch that does
        not fill the window never steps (the authors zero it at the next epoch's first batch).
        """
        split, c = self.features.splits["train"], self.config
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.module.train()
        sums: dict[str, Tensor] = {}
        edges: dict[str, Tensor] = {}
        pieces = list(batch_slices(len(order), c.batch_size))
        for i, piece in enumerate(pieces):
            if i % c.accumulate == 0:
                self.optimizer.zero_grad()
            batch = gather(split, order[None, piece], self.device)
            out = self.model.forward(batch)
            terms = self.model.loss_terms(out, batch)
            objective = losses.total(terms, self.weights).sum()
            objective.backward()
            if c.clip_value > 0:
                clip_grad_value_(parameters, c.clip_value)
            if (i + 1) % c.accumulate == 0 or (c.trailing_step and i + 1 == len(pieces)):
                if c.clip_norm > 0:
                    clip_norm_(parameters, c.clip_norm)
                self.optimizer.step()
            for name, value in {**terms, "total": objective}.items():
                sums[name] = sums.get(name, 0) + value.detach().sum()
            for name, value in out.edges.items():
                edges[name] = edges.get(name, 0) + value.detach()[0].mean(1)
        names = list(sums)
        means = (torch.stack([sums[n] for n in names]) / len(pieces)).tolist()  # the epoch's one wait for the device
        return dict(zip(names, means, strict=True)), {n: (e / len(pieces)).tolist() for n, e in edges.items()}

    def epoch(self) -> dict[str, Any]:
        """Train and evaluate one epoch, select, and return its line of history."""
        started, at, seed = time.perf_counter(), self.at, self.spec.seed
        at.epoch += 1
        stream = getattr(self.model, "stream", None)
        if isinstance(stream, DropoutStream):
            stream.restart(at.epoch, self.device)
        lr = self.optimizer.param_groups[0]["lr"]
        terms, edges = self.train_batches(epoch_order(seed, "train", at.epoch, len(self.features.splits["train"])))
        said = {s: evaluate(self.module, self.features.splits[s], self.device) for s in EVALUATED}
        for split in EVALUATED:
            at.curves[split].append(said[split]["y_pred"])
        valid = self.features.splits["valid"]
        order = epoch_order(seed, "valid", at.epoch, len(valid))
        loss = selection_loss(np.abs(said["valid"]["y_pred"] - valid.labels), order, self.config)
        self.plateau.step(loss)
        if loss < at.best_loss or not at.best:  # a tie keeps the earlier epoch
            at.best_epoch, at.best_loss = at.epoch, loss if math.isfinite(loss) else math.inf
            at.best = {f"weights/{n}": x for n, x in read_weights(self.module, self.spec.model).items()}
            at.best |= {f"{s}/{name}": x for s in EVALUATED for name, x in said[s].items()}
        patience = self.config.early_stop or self.config.max_epochs
        at.stopped = at.epoch - at.best_epoch >= patience or at.epoch >= self.config.max_epochs
        seconds = time.perf_counter() - started
        at.seconds += seconds
        scores = {
            s: {k: _json(m.function(self.features.splits[s].labels, said[s]["y_pred"])) for k, m in METRICS.items()}
            for s in EVALUATED
        }
        return {
            "epoch": at.epoch, "learning_rate": lr, "train": {k: _json(v) for k, v in terms.items()},
            "valid_loss": _json(loss), **scores, "edges": edges, "selected": at.best_epoch == at.epoch,
            "seconds": round(seconds, 3),
        }  # fmt: skip

    def save(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything the next epoch depends on, as arrays and plain values."""
        arrays = {f"parameter/{n}": p.detach().cpu().numpy() for n, p in self.module.named_parameters()}
        optimizer = self.optimizer.state_dict()
        for index, moments in optimizer["state"].items():
            arrays |= {f"adam/{index}/{k}": torch.as_tensor(v).cpu().numpy() for k, v in moments.items()}
        arrays |= {f"best/{k}": v for k, v in self.at.best.items()}
        arrays |= {f"curve/{s}": np.stack(self.at.curves[s]) for s in EVALUATED}
        plain = {k: getattr(self.at, k) for k in ("epoch", "best_epoch", "best_loss", "seconds", "stopped")}
        lrs = [g["lr"] for g in self.optimizer.param_groups]
        return arrays, {"progress": plain, "plateau": self.plateau.state_dict(), "learning_rates": lrs}

    def restore(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Take up `save`'s state, so that the next epoch is the one an uninterrupted run would have had."""
        with torch.no_grad():
            for name, p in self.module.named_parameters():
                p.copy_(torch.from_numpy(arrays[f"parameter/{name}"]))
        optimizer = self.optimizer.state_dict()
        for key, value in arrays.items():
            if key.startswith("adam/"):
                _, index, moment = key.split("/")
                optimizer["state"].setdefault(int(index), {})[moment] = torch.from_numpy(value)
        for group, lr in zip(optimizer["param_groups"], state["learning_rates"], strict=True):
            group["lr"] = lr
        self.optimizer.load_state_dict(optimizer)
        self.plateau.load_state_dict(state["plateau"])
        self.at = Progress(**state["progress"])
        self.at.curves = {s: list(arrays[f"curve/{s}"]) for s in EVALUATED}
        self.at.best = {k.removeprefix("best/"): v for k, v in arrays.items() if k.startswith("best/")}


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
