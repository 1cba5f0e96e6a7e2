"""LF-LSTM as a system: the net of `net.py` behind its input stage; lengths need not agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.lf_lstm.config import LFLSTMConfig
from dmd_repro.systems.lf_lstm.net import LateFusion
from dmd_repro.systems.plain import PlainSystem


class LFLSTM(PlainSystem):
    """One LSTM a modality."""

    INNER: ClassVar[str] = "net."

    def __init__(
        self,
        config: LFLSTMConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.inputs = InputStage(dims, last=config.last_steps, visual_scale=config.visual_scale)
        self.net = LateFusion(dims, config.hidden, config.head, config.dropout)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1)."""
        said, _ = self.net(self.inputs(batch.inputs))
        return ModelOutput(said, {})
