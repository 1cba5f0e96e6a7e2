"""The plain implementation (`plain.py`) in training, with the weights, the data and the optimizer of ours."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_

from dmd_repro.bench.plain import PlainDMD
from dmd_repro.data.batches import batch_slices
from dmd_repro.nn.layers import named_slices
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.training.feed import Order, gather
from dmd_repro.training.loop import Loop, Mark


def plain_name(name: str) -> str:
    """Return what the plain implementation calls a parameter of ours: dmd/proj_l.weight, homo/W_edge.bias, ..."""
    where, _, rest = name.partition("/")
    return rest if where == "dmd" else f"units.{where}.{rest}"


def plain_weights(module: nn.Module, place: int = 0) -> dict[str, Tensor]:
    """Return the weights of one seed of our model by the plain implementation's names."""
    return {plain_name(name): p.detach()[place, e].clone() for name, p, e in named_slices(module)}


class PlainTrainer:
    """One seed of the plain implementation, trained as ours is: the same batches, window, clamp and Adam."""

    def __init__(self, loop: Loop) -> None:
        """`loop` is ours, whose first seed gives weights and batches; sequences are never cut here."""
        self.loop, config = loop, loop.config
        features = loop.features
        self.model = PlainDMD(cast(DMDConfig, config), features.dims, features.steps).to(loop.device)
        self.model.load_state_dict(plain_weights(loop.module))
        self.model.train()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_eps,
        )  # fmt: skip

    def add(self, order: Order, mark: Mark = lambda phase: None) -> None:
        """Add the gradients of the clips `order` (1, B), clamped."""
        feed = self.loop.feed
        if "train" in feed.resident:
            batch = feed.pick("train", torch.from_numpy(order).to(self.loop.device))
        else:
            batch = gather(feed.splits["train"], order, self.loop.device)
        mark("data")
        _, terms = self.model({m: x[0] for m, x in batch.inputs.items()}, batch.labels[0])
        mark("forward")  # the losses with it: they are written into one another here
        torch.stack([terms[name] * self.loop.weights[name] for name in terms]).sum().backward()
        clip_grad_value_(self.model.parameters(), self.loop.config.clip_value)
        mark("backward")

    def update(self) -> None:
        """Take an optimizer step."""
        self.optimizer.step()

    def train_batches(self, orders: Order, mark: Mark = lambda phase: None) -> None:
        """Train over the clips of the first seed in these orders (S, n)."""
        config = self.loop.config
        for i, piece in enumerate(batch_slices(orders.shape[1], config.batch_size)):
            if i % config.accumulate == 0:
                self.optimizer.zero_grad()
            self.add(np.ascontiguousarray(orders[:1, piece]), mark)
            if (i + 1) % config.accumulate == 0:
                self.update()
            mark("optimizer")
