"""Batches for a stack of seeds, and the predictions of whole splits.

Under a model that hides padding, steps that are padding in every clip of a batch are cut off before they cost anything
(on a CPU).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmd_repro.data.batches import batch_slices
from dmd_repro.data.features import FeatureSet
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, EmotionModel, as_module
from dmd_repro.systems.plain import plain_of

EVALUATION_BATCH = 64  # clips; no effect on a prediction, only on memory, but for systems that mix clips
EVALUATION_STEPS = 1 << 18  # time steps of all seeds on a GPU, where a batch of few is a thousand launches for nothing
Order = NDArray[np.int64]


def gather(split: FeatureSet, order: Order, device: torch.device, window: Mapping[str, slice] | None = None) -> Batch:
    """Read the clips `order` (S, B) of a split into one batch on the device; of each modality the steps in `window`."""
    inputs, first = {}, {}
    for m in MODALITIES:
        cut = (window or {}).get(m, slice(None))
        inputs[m] = torch.from_numpy(np.asarray(split.array(m)[:, cut][order])).to(device)
        first[m] = cut.start or 0
    lengths = {m: torch.from_numpy(np.asarray(split.lengths[m][order])).to(device) for m in MODALITIES}
    return Batch(inputs, torch.from_numpy(np.asarray(split.labels[order])).to(device), lengths, first)


def valid_spans(x: NDArray[np.generic]) -> NDArray[np.int64]:
    """(B, T, D) -> (B, 2): where each clip begins, and past its last step that is not zero throughout.

    A clip of zeros alone keeps its last step, as `models.padding.valid_steps` does.
    """
    spans = np.empty((len(x), 2), dtype=np.int64)
    for piece in batch_slices(len(x), 256):  # memory-mapped: not all at once
        some = (np.asarray(x[piece]) != 0).any(2)
        some[~some.any(1), -1] = True
        spans[piece, 0] = some.argmax(1)
        spans[piece, 1] = some.shape[1] - some[:, ::-1].argmax(1)
    return spans


class Feed:
    """The splits of a feature set as one model reads them, on its device."""

    def __init__(self, splits: Mapping[str, FeatureSet], model: EmotionModel, device: torch.device) -> None:
        self.splits, self.model, self.device = splits, model, device
        self.resident: dict[str, Batch] = {}
        if device.type != "cpu":  # all clips lie on the card: a batch is an index there, not a copy to it
            for name, split in splits.items():
                self.resident[name] = gather(split, np.arange(len(split), dtype=np.int64), device)
        self.spans: dict[str, dict[str, NDArray[np.int64]]] = {}
        any_split = next(iter(splits.values()))
        whole = {m: (0, any_split.array(m).shape[1]) for m in MODALITIES}
        # a GPU gains more from steps of one shape, which are recorded once, than from fewer steps of time
        if device.type == "cpu" and model.window(whole) is not None:
            self.spans = {n: {m: valid_spans(s.array(m)) for m in MODALITIES} for n, s in splits.items()}

    def batch(self, split: str, order: Order) -> Batch:
        """Return the clips `order` (S, B) of a split."""
        window = self._window(split, order)
        if split in self.resident:
            return self.pick(split, torch.from_numpy(order).to(self.device), window)
        return gather(self.splits[split], order, self.device, window)

    def pick(self, split: str, order: Tensor, window: Mapping[str, slice] | None = None) -> Batch:
        """Return the clips `order` (S, B), an index on the device, of a split that lies there."""
        whole, cuts = self.resident[split], window or {}
        inputs = {m: x[:, cuts.get(m, slice(None))][order] for m, x in whole.inputs.items()}
        first = {m: cuts[m].start or 0 if m in cuts else 0 for m in MODALITIES}
        return Batch(inputs, whole.labels[order], {m: x[order] for m, x in whole.lengths.items()}, first)

    def _window(self, split: str, order: Order) -> Mapping[str, slice] | None:
        if not self.spans:
            return None
        spans = {m: x[order.ravel()] for m, x in self.spans[split].items()}
        return self.model.window({m: (int(x[:, 0].min()), int(x[:, 1].max())) for m, x in spans.items()})

    def whole(self, split: str, stack: int = 1) -> Iterator[Order]:
        """Yield every clip of a split once, in batches (B,): of clips of like length where that saves work."""
        order = np.arange(len(self.splits[split]), dtype=np.int64)
        if self.spans:
            lengths = np.stack([x[:, 1] - x[:, 0] for x in self.spans[split].values()])
            order = order[np.argsort(lengths.sum(0), kind="stable")]
        plain = plain_of(as_module(self.model))
        if plain is not None and plain.MIXES_CLIPS:  # a prediction depends on its company: the same one everywhere
            for piece in batch_slices(len(order), plain.config.batch_size):
                yield order[piece]
            return
        size, longest = EVALUATION_BATCH, max(self.splits[split].array(m).shape[1] for m in MODALITIES)
        if self.resident:
            size = max(size, EVALUATION_STEPS // (longest * stack))
        for piece in batch_slices(len(order), size):
            yield order[piece]


def predict(model: EmotionModel, feed: Feed, split: str, stack: int) -> dict[str, NDArray[np.float32]]:
    """Return {"y_pred": (S, B), head name: (S, B)} for every clip of a split, in the split's own order."""
    module = as_module(model).eval()
    collected: dict[str, list[Tensor]] = {}
    orders = list(feed.whole(split, stack))
    stream = getattr(model, "stream", None)
    if stream is not None:  # what a system draws in evaluation is the same at every one of a split
        stream.restart_split(split, feed.device)
    with torch.inference_mode():
        for i, order in enumerate(orders):
            if stream is not None:
                stream.begin(i)
            out = module(feed.batch(split, np.repeat(order[None], stack, axis=0)))
            for name, value in {"y_pred": out.prediction, **out.heads}.items():
                collected.setdefault(name, []).append(value[:, :, 0])
    back = np.argsort(np.concatenate(orders), kind="stable")
    said = torch.stack([torch.cat(values, dim=1) for values in collected.values()]).float().cpu().numpy()[..., back]
    return dict(zip(collected, said, strict=True))


def total_loss(model: EmotionModel, feed: Feed, split: str, stack: int) -> NDArray[np.float64]:
    """Return the weighted sum of every loss term in evaluation, the mean over a split's clips: (S,)."""
    module, sums, count = as_module(model).eval(), np.zeros(stack), 0
    stream = getattr(model, "stream", None)
    if stream is not None:
        stream.restart_split(split, feed.device)
    with torch.inference_mode():
        for i, order in enumerate(feed.whole(split, stack)):
            if stream is not None:
                stream.begin(i)
            batch = feed.batch(split, np.repeat(order[None], stack, axis=0))
            terms = model.loss_terms(module(batch, keep_features=True), batch)
            sums += losses.total(terms, model.loss_weights()).double().cpu().numpy() * len(order)
            count += len(order)
    found: NDArray[np.float64] = sums / count
    return found


def evaluate(
    model: EmotionModel, splits: Mapping[str, FeatureSet], split: str, device: torch.device
) -> dict[str, NDArray[np.float32]]:
    """Return {"y_pred": (B,), head name: (B,)} for every clip of a split, by a model of one seed."""
    feed = Feed({split: splits[split]}, model, device)
    return {name: x[0] for name, x in predict(model, feed, split, 1).items()}
