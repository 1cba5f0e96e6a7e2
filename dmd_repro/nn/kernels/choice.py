"""Whether this device can run the kernels of our own, and what they offer."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Kernels(Protocol):
    """What `kernels/gpu.py` offers."""

    def attention(self, q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
        """Compute `nn.attention.attention`."""

    def normalise(self, x: Tensor) -> Tensor:
        """Compute `nn.layers.normalise`."""

    def dropout(self, x: Tensor, keys: Tensor, noise: Tensor, least: int, scale: float) -> Tensor:
        """Compute `nn.dropout.Dropout`."""


@lru_cache(maxsize=8)
def gpu_kernels(device: torch.device) -> Kernels | None:
    """Return the kernels, if this device and installation can run them; else None, and say why, once."""
    if device.type != "cuda":
        return None
    try:
        kernels = importlib.import_module("dmd_repro.nn.kernels.gpu")
        kernels.normalise(torch.zeros(1, 1, device=device))
    except Exception as error:  # no Triton, no compiler, a card it does not know: whatever it is, there is another way
        log.warning("training goes without GPU kernels, which is slower: %s", str(error).partition("\n")[0])
        return None
    return cast(Kernels, kernels)
