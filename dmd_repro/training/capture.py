"""On a GPU: the step of a stack, recorded once as a CUDA graph and replayed, thousands of launches in one call.

What differs from step to step is read from memory on the device: the clips' indices, the step's number (dropout), the
learning rates. A replay takes nothing from the host, which can so run ahead.
"""

from __future__ import annotations

import gc
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.training.execution import out_of_memory
from dmd_repro.training.feed import Feed, Order

log = logging.getLogger(__name__)
WARM_UP = 3  # steps outside the graph, so that libraries and allocator have settled


class Stepping(Protocol):
    """What of a training is captured: its memory, a batch's forward, losses and backward, and the optimizers' step."""

    feed: Feed
    module: nn.Module
    stream: DropoutStream | None
    parameters: list[nn.Parameter]
    tally: dict[str, Tensor]

    @property
    def device(self) -> torch.device: ...
    @property
    def seeds(self) -> int: ...
    def backward(self, batch: Any, mark: Callable[[str], None]) -> None: ...
    def step_seeds(self) -> None: ...


class Captured(ABC):
    """Something that is done again and again on the same memory."""

    def __init__(self, loop: Stepping) -> None:
        self.loop = loop
        self.graph: torch.cuda.CUDAGraph | None = None
        self.reason = ""  # why nothing is captured

    def ready(self) -> bool:
        """Tell whether there is a graph to replay, recording it first; where that is refused, keep the reason."""
        if self.graph is None and not self.reason:
            try:
                self.graph = self.record()
            except RuntimeError as error:
                if out_of_memory(error) or (error.__context__ is not None and out_of_memory(error.__context__)):
                    raise
                self.reason = str(error).partition("\n")[0]
                log.warning("a step is not captured, which is slower: %s", self.reason)
        return self.graph is not None

    @abstractmethod
    def record(self) -> torch.cuda.CUDAGraph:
        """Record it, and leave everything as it was."""


class CapturedStep(Captured):
    """The batches of one size of an epoch, one after the other: forward, losses and backward."""

    orders: Tensor  # (S, room, size): the clips of the batches that are next

    def __init__(self, loop: Stepping, size: int) -> None:
        super().__init__(loop)
        self.size = size  # clips of a batch
        self.starts = torch.zeros(loop.seeds, dtype=torch.int64, device=loop.device)  # of the dropout streams
        # of the batch that is next: its number in the epoch, and its place in `orders`
        self.at, self.slot = (torch.zeros((), dtype=torch.int64, device=loop.device) for _ in range(2))
        self.next = 0  # the number that `at` holds

    def begin(self, orders: Order, first: int) -> None:
        """Take the clips (S, batches * size) of the batches numbered from `first` on, which `run` is then asked for."""
        if self.reason:
            return
        self.coming, self.first = orders.reshape(len(orders), -1, self.size), first
        if self.graph is None:
            room = max(self.coming.shape[1], len(self.loop.feed.splits["train"]) // self.size)
            self.orders = torch.zeros(len(orders), room, self.size, dtype=torch.int64, device=self.loop.device)
        if self.loop.stream is not None:
            self.starts.copy_(self.loop.stream.starts)
        self._fill(first)

    def _fill(self, i: int) -> None:
        """Put the clips from batch `i` on, as many as there is room for, on the device."""
        pieces = self.coming[:, i - self.first : i - self.first + self.orders.shape[1]]
        self.orders[:, : pieces.shape[1]].copy_(torch.from_numpy(pieces))
        self.held = i, i + pieces.shape[1]
        self.slot.zero_()
        self.at.fill_(i)
        self.next = i

    def run(self, i: int) -> bool:
        """Replay batch `i`; False where it has to be computed the ordinary way."""
        if not self.ready():
            return False
        assert self.graph is not None
        if self.next != i or not self.held[0] <= i < self.held[1]:
            self._fill(i)
        self.graph.replay()
        self.next = i + 1
        return True

    def _once(self) -> None:
        loop = self.loop
        if loop.stream is not None:
            loop.stream.begin(self.at)
        # a tensor as an index would be asked for its value
        order = self.orders.index_select(1, self.slot.view(1))[:, 0]
        loop.backward(loop.feed.pick("train", order), lambda phase: None)
        self.at.add_(1)
        self.slot.add_(1)

    @contextmanager
    def as_before(self) -> Iterator[None]:
        """Let steps be tried: afterwards gradients, buffers, tally, stream and place are what they were."""
        loop, stream = self.loop, self.loop.stream
        grads = [None if p.grad is None else p.grad.clone() for p in loop.parameters]
        tally = {name: value.clone() for name, value in loop.tally.items()}
        buffers = [(buffer, buffer.clone()) for buffer in loop.module.buffers()]  # running statistics move in a step
        own = None if stream is None else stream.starts
        try:
            if stream is not None:
                stream.starts = self.starts
            yield
        finally:
            if stream is not None and own is not None:
                stream.starts = own
            for p, before in zip(loop.parameters, grads, strict=True):
                if p.grad is not None:
                    p.grad.zero_() if before is None else p.grad.copy_(before)
            for buffer, held in buffers:
                buffer.copy_(held)
            for name, value in loop.tally.items():
                value.copy_(tally[name]) if name in tally else value.zero_()
            self.at.fill_(self.next)
            self.slot.fill_(self.next - self.held[0])

    def record(self) -> torch.cuda.CUDAGraph:
        """Record the step after a few outside the graph."""
        device = self.loop.device
        with self.as_before():
            aside, usual = torch.cuda.Stream(device), torch.cuda.current_stream(device)
            aside.wait_stream(usual)
            try:
                with torch.cuda.stream(aside):
                    for _ in range(WARM_UP):
                        self.slot.zero_()
                        self._once()
            finally:
                usual.wait_stream(aside)
            self.slot.zero_()
            graph = recorded(self._once, device)
        return graph


class CapturedUpdate(Captured):
    """The optimizer's step of every seed."""

    begun = False

    def run(self) -> bool:
        """Replay it; False where it has to be computed the ordinary way, as the first is, which makes the moments."""
        if not self.begun:
            self.begun = True
            return False
        if not self.ready():
            return False
        assert self.graph is not None
        self.graph.replay()
        return True

    def record(self) -> torch.cuda.CUDAGraph:
        """Record it; nothing is computed by that."""
        return recorded(self.loop.step_seeds, self.loop.device)


def recorded(work: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Return the graph of what `work` launches; after a failure too the current stream is the one before."""
    gc.collect()
    graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside), torch.cuda.graph(graph, stream=aside):
        work()
    torch.cuda.current_stream(device).wait_stream(aside)
    return graph
