"""LMF as a system: the net of `net.py` behind its input stage, which makes one acoustic and visual vector a clip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.nn.pooling import mean_of_steps
from dmd_repro.nn.recurrent import start_norms
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.lmf.config import LMFConfig
from dmd_repro.systems.lmf.net import LowRankFusion
from dmd_repro.systems.plain import PlainSystem


class LMF(PlainSystem):
    """Pooled acoustic and visual features: with the padding in the mean, a value grows with the clip's length."""

    INNER: ClassVar[str] = "net."
    config: LMFConfig

    def __init__(
        self,
        config: LMFConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.inputs = InputStage(dims, last=config.last_steps, visual_scale=config.visual_scale)
        self.net: nn.Module = LowRankFusion(dims, config.hidden, config.text_out, config.rank, config.rates)

    def reset_parameters(self) -> None:
        """Start the weights of batch normalisation as the configuration says; every other module has its own rule."""
        start_norms(self, self.config.norm_start)

    def fit_inputs(self, train: Mapping[str, NDArray[Any]]) -> None:
        """Take the visual maxima of the training split."""
        self.inputs.fit(train)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1)."""
        x, precision = self.inputs(batch.inputs), getattr(torch, self.config.pool_sum)
        said, _ = self.net(x["l"], mean_of_steps(x["a"], precision), mean_of_steps(x["v"], precision))
        return ModelOutput(said, {})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the absolute error, its mean or its sum over the batch."""
        errors = (out.prediction[:, 0] - batch.labels).abs()
        return {"task.output": errors.sum() if self.config.reduction == "sum" else errors.mean()}

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the three factors with a rate of their own, and the rest; the fusion weights only where trained."""
        left_out = () if self.config.train_fusion else ("fusion_weights", "fusion_bias")
        named = [(n, p) for n, p in self.net.named_parameters() if n not in left_out]
        factors = [p for n, p in named if n.endswith("_factor")]
        rest = [p for n, p in named if not n.endswith("_factor")]
        return [{"params": factors, "lr": self.config.factor_lr}, {"params": rest}]
