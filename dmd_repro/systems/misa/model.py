"""MISA as a system: what it reads turned to the front and standardised, its four terms, what of BERT is frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dmd_repro.nn.padding import first_and_count, to_front, valid_steps
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.misa.config import UNUSED_NORM, MISAConfig
from dmd_repro.systems.misa.net import TwoSpaces, summed, terms
from dmd_repro.systems.plain import PlainSystem


class MISA(PlainSystem):
    """Private and shared codes of three modalities. Text is hidden states: BERT's own, or given."""

    INNER: ClassVar[str] = "net."
    config: MISAConfig

    def __init__(
        self,
        config: MISAConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError where the settings do not fit together."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        self.aligned = steps["a"] == steps["v"]
        unused = UNUSED_NORM["official" if config.orthogonal else "mmsa"]
        widths = {"t": dims["l"], "v": dims["v"], "a": dims["a"]}
        self.net = TwoSpaces(
            widths, config.d, config.dropout, unused_norm=unused, orthogonal=config.orthogonal,
            adversarial=config.similarity == "adversarial",
        )  # fmt: skip

    def frozen_text(self) -> Sequence[str]:
        """Return patterns of BERT's tensors that are not trained: its first layers, by name (src/solver.py)."""
        return [f"encoder.layer.{i}.*" for i in range(self.config.frozen_layers)]

    def forward(self, batch: Batch) -> ModelOutput:
        """l -> hidden states (B, L, D_l), a and v -> (B, T, D), padded on either side, to the prediction (B, 1)."""
        x = batch.inputs
        pieces = batch.pieces["l"] if "l" in batch.pieces else valid_steps(x["l"])
        rows = {m: valid_steps(x[m]) for m in ("v", "a")}
        if self.aligned:  # one row a word: a word without a voice or a face is a word
            rows = dict.fromkeys(rows, valid_steps(torch.cat([x["v"], x["a"]], dim=2)))
        turned, count = {}, {}
        for m, valid in rows.items():
            first, found = first_and_count(valid)
            turned[m] = to_front(x[m], first, found)
            if self.config.clip_scale:
                turned[m] = within_clips(turned[m], found)
            count[m] = found if self.config.lengths == "rows" else pieces.sum(1).clamp(max=x[m].shape[1])
        said, between = self.net(x["l"], pieces, turned["v"], turned["a"], count["v"], count["a"])
        codes = ("orig", "private", "shared", "recon", "domain")
        kept = {n: z for n, z in between.items() if n.split("_")[0] in codes} if self.training else {}
        return ModelOutput(said, {}, features=kept)

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the squared error, the difference, the moment discrepancy (or domain) and the reconstruction error."""
        task = (out.prediction[:, 0] - batch.labels).square().mean()
        return {"task.output": task, **summed(terms(out.features, self.config.cmd_epsilon))}

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of every term."""
        c = self.config
        similarity = "domain" if c.similarity == "adversarial" else "cmd"
        return {"task.output": 1.0, "diff": c.diff_weight, similarity: c.sim_weight, "recon": c.recon_weight}


def within_clips(x: Tensor, count: Tensor) -> Tensor:
    """(B, T, D) -> the same shape: each feature standardised over a clip's first `count` (B,) rows; zeros behind.

    By the population's deviation + 1e-6; a feature that is not a number becomes 0 (MISA, src/create_dataset.py).
    """
    inside = (torch.arange(x.shape[1], device=x.device) < count.unsqueeze(1)).unsqueeze(2).to(x.dtype)
    n = count.view(-1, 1, 1).to(x.dtype)
    mean = (x * inside).sum(1, keepdim=True) / n
    apart = (x - mean) * inside
    spread = (apart.square().sum(1, keepdim=True) / n).sqrt()
    return torch.nan_to_num(apart / (spread + 1e-6), nan=0.0)
