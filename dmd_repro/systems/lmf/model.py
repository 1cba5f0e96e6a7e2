"""LMF as a system: the net of `net.py` behind the stage of pooled systems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from dmd_repro.systems.lmf.config import LMFConfig
from dmd_repro.systems.lmf.net import LowRankFusion
from dmd_repro.systems.pooled import PooledSystem


class LMF(PooledSystem):
    """The outer product of three vectors in low rank; its factors have a rate of their own."""

    config: LMFConfig

    def fusion(self, dims: Mapping[str, int]) -> nn.Module:
        """Return LMF's net."""
        c = self.config
        return LowRankFusion(dims, c.hidden, c.text_out, c.rank, c.rates)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the three factors with a rate of their own, and the rest; the fusion weights only where trained."""
        left_out = () if self.config.train_fusion else ("fusion_weights", "fusion_bias")
        named = [(n, p) for n, p in self.net.named_parameters() if n not in left_out]
        factors = [p for n, p in named if n.endswith("_factor")]
        rest = [p for n, p in named if not n.endswith("_factor")]
        return [{"params": factors, "lr": self.config.factor_lr}, {"params": rest}]
