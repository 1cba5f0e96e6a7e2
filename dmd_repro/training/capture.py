"""On a GPU: the step of a stack, recorded once as a CUDA graph and replayed, thousands of launches in one call.

What differs from step to step is read from memory: the clips' indices, the step's number (dropout), the learning rate.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import torch

from dmd_repro.training.feed import Order

if TYPE_CHECKING:
    from dmd_repro.training.loop import Loop

WARM_UP = 3  # steps outside the graph, so that libraries and allocator have settled


class CapturedStep:
    """One batch of one shape: forward, losses and backward. Any other batch is left to the caller."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.graph: torch.cuda.CUDAGraph | None = None
        self.reason = ""  # why nothing is captured

    def run(self, order: Order, step: int) -> bool:
        """Replay the step for the clips `order` (S, B); False where it has to be computed the ordinary way."""
        loop = self.loop
        if self.reason or order.shape[1] != loop.config.batch_size:
            return False
        if loop.feed.trims:
            self.reason = "batches are cut to their longest clip, so their shapes differ"
            return False
        if self.graph is None:
            try:
                self._capture(order)
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                self.reason = str(error).partition("\n")[0]
                return False
        assert self.graph is not None
        self.order.copy_(torch.from_numpy(order), non_blocking=True)
        self.step.fill_(step)
        if loop.stream is not None:
            self.starts.copy_(loop.stream.starts)
        for name, value in self.tally.items():
            if name not in loop.tally:
                loop.tally[name] = value.zero_()
        self.graph.replay()
        return True

    def _once(self) -> None:
        loop = self.loop
        if loop.stream is not None:
            loop.stream.begin(self.step)
        loop.backward(loop.feed.pick("train", self.order), lambda phase: None)

    def _capture(self, order: Order) -> None:
        """Record the step; whatever comes of it, gradients, tally and stream are as they were."""
        loop, device = self.loop, self.loop.device
        self.order = torch.from_numpy(order).to(device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        held, stream = [None if p.grad is None else p.grad.clone() for p in loop.parameters], loop.stream
        own = None if stream is None else stream.starts
        self.starts = torch.zeros(0, device=device) if own is None else own.clone()
        tally, loop.tally = loop.tally, {}
        try:
            if stream is not None:
                stream.starts = self.starts
            aside = torch.cuda.Stream(device)
            aside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._once()
            torch.cuda.current_stream(device).wait_stream(aside)
            gc.collect()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._once()
            self.graph, self.tally = graph, loop.tally
        finally:
            loop.tally = tally
            if stream is not None and own is not None:
                stream.starts = own
            for p, before in zip(loop.parameters, held, strict=True):  # the trial steps leave nothing behind
                if p.grad is not None:
                    p.grad.zero_() if before is None else p.grad.copy_(before)
