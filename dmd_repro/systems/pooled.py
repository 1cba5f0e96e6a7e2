"""TFN and LMF as systems: a net behind the input stage, which makes one acoustic and one visual vector a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmd_repro.nn.pooling import mean_of_steps
from dmd_repro.nn.recurrent import start_norms
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.plain import PlainSystem


class PooledSystem(PlainSystem):
    """Pooled acoustic and visual features: with the padding in the mean, a value grows with the clip's length.

    A system is this with `fusion`, its net.
    """

    INNER: ClassVar[str] = "net."

    def __init__(
        self,
        config: Any,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError on a setting that is none of its choices."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.inputs = InputStage(dims, last=config.last_steps, visual_scale=config.visual_scale)
        self.net = self.fusion(dims)

    def fusion(self, dims: Mapping[str, int]) -> nn.Module:
        """Return the net: l (B, T, D_l), a (B, D_a), v (B, D_v) to the prediction (B, 1) and what lies between."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Start the weights of batch normalisation as the configuration says; every other module has its own rule."""
        start_norms(self, self.config.norm_start)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1)."""
        x, precision = self.inputs(batch.inputs), getattr(torch, self.config.pool_sum)
        said, _ = self.net(x["l"], mean_of_steps(x["a"], precision), mean_of_steps(x["v"], precision))
        return ModelOutput(said, {})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the absolute error, its mean or its sum over the batch."""
        errors = (out.prediction[:, 0] - batch.labels).abs()
        return {"task.output": errors.sum() if self.config.reduction == "sum" else errors.mean()}
