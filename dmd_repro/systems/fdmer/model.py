"""FDMER as a system: the net of `net.py` on true steps, with its four terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from dmd_repro.nn.padding import valid_steps
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.fdmer.config import FDMERConfig
from dmd_repro.systems.fdmer.net import Disentangled, consistency, disparity
from dmd_repro.systems.plain import PlainSystem


class FDMER(PlainSystem):
    """Our reconstruction of FDMER: reads aligned sequences, whichever side is padded."""

    INNER: ClassVar[str] = "net."
    config: FDMERConfig

    def __init__(
        self,
        config: FDMERConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError where settings do not fit together."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.net = Disentangled(dims, config.d, config.heads, config.layers, config.dropout)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T, D_m) to the prediction (B, 1); in training the codes too."""
        valid = {m: batch.pieces[m] if m in batch.pieces else valid_steps(batch.inputs[m]) for m in MODALITIES}
        said, codes = self.net(batch.inputs, valid)
        return ModelOutput(said, {}, features=codes if self.training else {})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the task's error, the judge's, consistency and disparity."""
        codes, error = out.features, out.prediction[:, 0] - batch.labels
        return {
            "task.output": error.square().mean() if self.config.task == "mse" else error.abs().mean(),
            "adversary": self.net.adversary(codes),
            "consistency": consistency(codes),
            "disparity": disparity(codes, self.config.disparity),
        }

    def loss_weights(self) -> dict[str, float]:
        """Return the weights of the terms."""
        c = self.config
        return {
            "task.output": 1.0, "adversary": c.adversary_weight, "consistency": c.consistency_weight,
            "disparity": c.disparity_weight,
        }  # fmt: skip
