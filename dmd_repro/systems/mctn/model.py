"""MCTN as a system: it predicts from text alone, and translates where a loss is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from dmd_repro.nn.align import CTCAligner, ctc_cost
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.mctn.config import MCTNConfig
from dmd_repro.systems.mctn.net import CyclicTranslation
from dmd_repro.systems.plain import PlainSystem


class MCTN(PlainSystem):
    """Text to vision and back, its code to audio; acoustic and visual features are targets and never inputs."""

    INNER: ClassVar[str] = "net."
    config: MCTNConfig

    def __init__(
        self,
        config: MCTNConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError for unequal steps without an aligner."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        c = config
        self.inputs = InputStage(dims, last=c.last_steps, visual_scale=c.visual_scale, acoustic_scale=c.acoustic_scale)
        self.net = CyclicTranslation(
            max(dims.values()), c.hidden_1, c.hidden_2, c.regression, old_cell=c.cell == "old",
            static=c.attention == "static", shared_gate=c.forget_gate == "input",
        )  # fmt: skip
        self.ctc = c.align == "ctc" and len(set(steps.values())) > 1
        if self.ctc:
            self.a2l, self.v2l = CTCAligner(dims["a"], steps["l"]), CTCAligner(dims["v"], steps["l"])

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1); where a loss is asked for, what it needs."""
        translate = self.training or self.keep
        if not translate:
            said, _ = self.net(self.inputs.kept(batch.inputs["l"]), translate=False)
            return ModelOutput(said, {})
        x, scores = self.inputs.scaled(batch.inputs), {}
        for m, aligner in (("a", "a2l"), ("v", "v2l")):
            if self.ctc:
                x[m], scores[f"ctc_{m}"] = getattr(self, aligner)(x[m])
                x[m] = x[m].detach() if self.config.ctc_targets == "detached" else x[m]
        x = {m: self.inputs.kept(x[m]) for m in MODALITIES}
        said, found = self.net(x["l"], translate=True)
        return ModelOutput(said, {}, features=found | scores | {f"x_{m}": x[m] for m in MODALITIES})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, the translations, the penalty, and each aligner's CTC cost."""
        f = out.features
        terms = super().loss_terms(out, batch) | self.net.terms(f, {m: f[f"x_{m}"] for m in MODALITIES})
        return terms | {n: ctc_cost(x) for n, x in f.items() if n.startswith("ctc_")}

    def loss_weights(self) -> dict[str, float]:
        """Return the weights of the terms."""
        c = self.config
        return {
            "task.output": 1.0, "trans1": c.weight_trans1, "cycle": c.weight_cycle, "trans2": c.weight_trans2,
            "l2": c.weight_l2, "ctc_a": 1.0, "ctc_v": 1.0,
        }  # fmt: skip
