"""TFN as a system: the net of `net.py` behind the stage of pooled systems."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dmd_repro.systems.pooled import PooledSystem
from dmd_repro.systems.tfn.config import TFNConfig
from dmd_repro.systems.tfn.net import TensorFusion


class TFN(PooledSystem):
    """The outer product of three vectors, each with a 1."""

    config: TFNConfig

    def fusion(self, dims: Mapping[str, int]) -> nn.Module:
        """Return TFN's net."""
        c = self.config
        return TensorFusion(dims, c.hidden, c.text_out, c.post, c.rates, (c.label_low, c.label_high))
