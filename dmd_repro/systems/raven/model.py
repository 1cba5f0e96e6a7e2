"""RAVEN as a system: true words first, one acoustic and one visual vector a word, an aligner for unequal lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dmd_repro.nn.align import CTCAligner, ctc_cost
from dmd_repro.nn.padding import first_and_count, to_front, valid_steps
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.plain import PlainSystem
from dmd_repro.systems.raven.config import RAVENConfig
from dmd_repro.systems.raven.net import Shifted, Windows


class RAVEN(PlainSystem):
    """Words moved by what is seen and heard. Its acoustic norm is over the batch, in evaluation too."""

    INNER: ClassVar[str] = "net."
    MIXES_CLIPS: ClassVar[bool] = True
    config: RAVENConfig

    def __init__(
        self,
        config: RAVENConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError for unequal steps without an aligner."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        c = config
        self.net = Shifted(
            dict(dims), steps["l"], norm=c.norm, cell=c.cell, hidden=c.hidden, dropout=c.dropout, scale=c.scale,
            sigmoid=c.gates == "sigmoid", capped=c.scaling == "capped", attached=c.nonverbal == "attached",
        )  # fmt: skip
        self.ctc = c.align == "ctc" and len(set(steps.values())) > 1
        if self.ctc:
            self.a2l, self.v2l = CTCAligner(dims["a"], steps["l"]), CTCAligner(dims["v"], steps["l"])

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; with `test_dropout` its dropout stays on, keyed as all draws are."""
        super().train(mode)
        if self.config.test_dropout:
            for part in (self.net.drop_a, self.net.drop_v, self.net.drop_words):
                part.train()
        return self

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m), padded on either side, to the prediction (B, 1)."""
        x, scores = dict(batch.inputs), {}
        for m, aligner in (("a", "a2l"), ("v", "v2l")):
            if self.ctc:
                x[m], scores[f"ctc_{m}"] = getattr(self, aligner)(x[m])
        valid = valid_steps(x["l"])
        if self.config.padding == "as_given":
            valid = torch.ones_like(valid)
        first, count = first_and_count(valid)
        x = {m: to_front(s, first, count) for m, s in x.items()}
        one = to_front(valid.unsqueeze(2).long(), first, count).squeeze(2)  # a true word has one window
        a, v = (Windows(x[m].unsqueeze(2), one) for m in ("a", "v"))
        said, _ = self.net(x["l"], a, v, count)
        return ModelOutput(said, {}, features=scores if self.training else {})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the squared (or absolute) error and each aligner's CTC cost, summed over the batch."""
        apart = out.prediction[:, 0] - batch.labels
        task = apart.square().mean() if self.config.task_loss == "mse" else apart.abs().mean()
        return {"task.output": task} | {name: ctc_cost(s) for name, s in out.features.items()}

    def loss_weights(self) -> dict[str, float]:
        """Return 1 for every term."""
        return {"task.output": 1.0, "ctc_a": 1.0, "ctc_v": 1.0}

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the net's group without what is cut off, and one an aligner, clipped by itself (MulT, train.py)."""
        groups: list[dict[str, Any]] = [{"params": [p for p in self.net.parameters() if p.requires_grad]}]
        for aligner in (self.a2l, self.v2l) if self.ctc else ():
            alone = {"clip_norm": self.config.clip_norm} if self.config.clip_norm > 0 else {}
            groups.append({"params": list(aligner.parameters()), "plateau": False, **alone})
        return groups
