"""A simple roofline: what a step does, and the time three ceilings of the same machine would allow for it.

Counted are the floating point operations of matrix products and convolutions, the bytes of every operation's operands
and results, and the operations themselves. Ignored, so that the picture stays one of orders of magnitude: arithmetic
outside products (softmax, dropout, norms: it costs bytes here, not operations); caches, so that an operand counts in
full however often it is read from a cache (small tensors can beat the ceiling of bytes); that narrow products cannot
reach the speed of a large square one; and that ceilings add up where nothing overlaps. So a low fraction says that
there may be room, not how to get it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dmd_repro.bench.types import Ceilings, Counted, Roofline
from dmd_repro.nn.kernels.watch import WATCHERS

MATMUL = {"cpu": 1024, "cuda": 8192}  # rows and columns of a large product
COPY = {"cpu": 1 << 27, "cuda": 1 << 30}  # bytes of a large copy: beyond any cache
TINY = 2000  # operations on one number
TRIALS = 3  # the best counts: a ceiling is what can be reached

_FREE = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view", "detach", "alias"}
_WRITES_ONLY = {"copy_", "fill_", "zero_"}  # their first operand is not read


class Touched(TorchDispatchMode):
    """Counts the operations that run under it, and the bytes of what goes in and comes out of each."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.ops = 0
        self.flops = 0.0  # of kernels of our own, which no dispatch shows

    def __enter__(self) -> Self:
        WATCHERS.append(self._kernel)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        WATCHERS.remove(self._kernel)

    def _kernel(self, flops: float, touched: tuple[Tensor | None, ...]) -> None:
        self.flops += flops
        self.ops += 1
        self.bytes += sum(_moved(x) for x in touched if x is not None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count it, unless it moves nothing (a view, an allocation)."""
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name in _FREE:
            return out
        read = args[1:] if name in _WRITES_ONLY else (args, kwargs)
        tensors = [x for x in (*tree_leaves(read), *tree_leaves(out)) if isinstance(x, Tensor)]
        if tensors:
            self.ops += 1
            self.bytes += sum(_moved(x) for x in tensors)
        return out


def _added(into: torch.Size, a: torch.Size, b: torch.Size, **rest: Any) -> int:
    """Return the operations of products that are added in place, which torch's counter leaves out."""
    return 2 * a[0] * a[1] * a[2] * b[2]


def _moved(x: Tensor) -> int:
    """Return the bytes of a tensor, an axis along which it only repeats counted once."""
    n = x.element_size()
    for size, stride in zip(x.shape, x.stride(), strict=True):
        n *= size if stride else min(size, 1)
    return n


def count(batch: Callable[[], Any], update: Callable[[], Any], accumulate: int) -> Counted:
    """Count what a batch does and the share of an optimizer step that falls to it."""
    found = []
    for work in (batch, update):
        with (
            FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: _added}) as flops,
            Touched() as touched,
        ):
            work()
        found.append((flops.get_total_flops() + touched.flops, touched.bytes, touched.ops))
    return Counted(*(b + u / accumulate for b, u in zip(*found, strict=True)))


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measure a large product, a large copy, and operations on one number."""
    n, size = MATMUL[device.type], COPY[device.type] // 4
    a, b = torch.ones(n, n, device=device), torch.ones(n, n, device=device)
    product = _best(device, lambda: torch.mm(a, b))
    source, target = torch.ones(size, device=device), torch.empty(size, device=device)
    copy = _best(device, lambda: target.copy_(source))
    one = torch.ones(1, device=device)

    def tiny() -> None:
        for _ in range(TINY):
            one.mul_(1.0)

    return Ceilings(2 * n**3 / product, 2 * 4 * size / copy, _best(device, tiny) / TINY)


def _best(device: torch.device, work: Callable[[], Any]) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    found = []
    for _ in range(1 + TRIALS):
        wait()
        before = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - before)
    return min(found[1:])


def roofline(counted: Counted, ceilings: Ceilings, step_ms: float, *, captured: bool = False) -> Roofline:
    """Put what a step does under the ceilings; the highest of the three times binds.

    Calls bind no captured step: a replay is one of them.
    """
    ms = {
        "flops": 1e3 * counted.flops / ceilings.flops_per_s,
        "bytes": 1e3 * counted.bytes / ceilings.bytes_per_s,
        "ops": 1e3 * counted.ops * ceilings.s_per_op,
    }
    binding = max(("flops", "bytes") if captured else ms, key=lambda name: ms[name])
    return Roofline(counted, ceilings, ms, binding, ms[binding] / step_ms)
