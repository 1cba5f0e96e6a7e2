"""EF-LSTM as a system: the net of `net.py` behind its input stage and, for unequal lengths, an aligner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmd_repro.nn.align import CTCAligner, ctc_cost, pool_to
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.ef_lstm.config import EFLSTMConfig
from dmd_repro.systems.ef_lstm.net import EarlyFusion, EarlyFusionMMSA
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.plain import PlainSystem


class EFLSTM(PlainSystem):
    """One LSTM over the joined modalities. With CTC the aligners are trained beside it, each clipped by itself."""

    INNER: ClassVar[str] = "net."
    config: EFLSTMConfig

    def __init__(
        self,
        config: EFLSTMConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError for unequal steps without an aligner."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        c, width, length = config, sum(dims.values()), steps["l"]
        kept = min(c.last_steps, length) if c.last_steps else length
        self.steps = length
        self.inputs = InputStage(dims, last=c.last_steps, visual_scale=c.visual_scale)
        self.net: nn.Module = (
            EarlyFusion(width, c.hidden, c.dropout)
            if c.net == "mfn"
            else EarlyFusionMMSA(width, kept, c.hidden, c.layers, c.dropout)
        )
        self.ctc = c.align == "ctc" and len(set(steps.values())) > 1
        if self.ctc:
            self.a2l, self.v2l = CTCAligner(dims["a"], length), CTCAligner(dims["v"], length)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1); in training the aligners' scores too."""
        x, scores = dict(batch.inputs), {}
        for m, aligner in (("a", "a2l"), ("v", "v2l")):
            if self.ctc:
                x[m], scores[f"ctc_{m}"] = getattr(self, aligner)(x[m])
            elif x[m].shape[1] != self.steps:
                x[m] = pool_to(x[m], self.steps)
        x = self.inputs(x)
        said, _ = self.net(torch.cat([x["l"], x["a"], x["v"]], dim=2))
        return ModelOutput(said, {}, features=scores if self.training else {})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error and each aligner's CTC cost, summed over the batch."""
        return super().loss_terms(out, batch) | {name: ctc_cost(x) for name, x in out.features.items()}

    def loss_weights(self) -> dict[str, float]:
        """Return 1 for every term, as the reference adds them."""
        return {"task.output": 1.0, "ctc_a": 1.0, "ctc_v": 1.0}

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the net's group, and one an aligner: same rate, a norm of its own, no plateau (src/train.py)."""
        groups: list[dict[str, Any]] = [{"params": list(self.net.parameters())}]
        for aligner in (self.a2l, self.v2l) if self.ctc else ():
            alone = {"clip_norm": self.config.clip_norm} if self.config.clip_norm > 0 else {}
            groups.append({"params": list(aligner.parameters()), "plateau": False, **alone})
        return groups

    def last_epoch(self) -> Sequence[str]:
        """Return the aligners' weights where they are the last epoch's, as in the reference."""
        return ("a2l.*", "v2l.*") if self.ctc and self.config.aligner_weights == "last_epoch" else ()
