"""All GPU kernels under one name: what `gpu_kernels` loads once it is known that the device can run them."""

from __future__ import annotations

from dmd_repro.nn.kernels.attention import attention
from dmd_repro.nn.kernels.elements import dropout, normalise

__all__ = ["attention", "dropout", "normalise"]
