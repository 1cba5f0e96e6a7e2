"""PMR as a system: the net of `net.py`, MulT's loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.plain import PlainSystem
from dmd_repro.systems.pmr.config import PMRConfig
from dmd_repro.systems.pmr.net import MessageNet


class PMR(PlainSystem):
    """Our reconstruction of PMR: padding is data to it, as to MulT's authors' code."""

    INNER: ClassVar[str] = "net."
    config: PMRConfig

    def __init__(
        self,
        config: PMRConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError or DataError where settings do not fit together or steps are too few."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.net = MessageNet(dims, config)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T, D_m) to the prediction (B, 1)."""
        return ModelOutput(self.net(batch.inputs), {})
