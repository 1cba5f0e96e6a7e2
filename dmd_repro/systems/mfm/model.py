"""MFM as a system: the net of `net.py` behind its input stage, its four MMD terms on keyed normal samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from dmd_repro.nn.align import pool_to
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.mfm.config import MFMConfig
from dmd_repro.systems.mfm.net import (
    FACTORS,
    FactorizedModel,
    MFMSizes,
    maximum_mean_discrepancy,
    reconstruction,
)
from dmd_repro.systems.plain import PlainSystem

MAPS = ("att1", "att2", "gamma1", "gamma2", "out")


class MFM(PlainSystem):
    """Predicts from z_y alone; evaluation generates nothing and computes no MMD."""

    INNER: ClassVar[str] = "net."
    config: MFMConfig

    def __init__(
        self,
        config: MFMConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
    ) -> None:
        """Raises SpecError for unequal steps without a pooling."""
        super().__init__(config, dims=dims, steps=steps, mask=mask)
        config.check(steps, mask)
        c = config
        self.steps = steps["l"]
        self.inputs = InputStage(dims, last=c.last_steps, visual_scale=c.visual_scale)
        sizes = MFMSizes(
            h={m: getattr(c, f"h_{m}") for m in MODALITIES},
            z={k: getattr(c, f"z_{k}") for k in FACTORS},
            f={k: getattr(c, f"f_{k}") for k in FACTORS},
            memory=c.memory,
            hidden={n: getattr(c, n) for n in MAPS},
            hidden_dropout={n: getattr(c, f"dropout_{n}") for n in MAPS},
            factor_dropout={k: getattr(c, f"dropout_{k}") for k in FACTORS},
            output_dropout=c.dropout_output,
        )
        self.net = FactorizedModel(dims, sizes)

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1); in training what the losses need."""
        x = {m: v if v.shape[1] == self.steps else pool_to(v, self.steps) for m, v in batch.inputs.items()}
        x = self.inputs(x)
        said, found = self.net(x, generate=self.training)
        if not self.training:
            return ModelOutput(said, {})
        kept = {n: v for n, v in found.items() if n.startswith(("z", "xhat"))}
        return ModelOutput(said, {}, features=kept | {f"x_{m}": x[m] for m in MODALITIES})

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, the reconstruction of each modality, and MMD of each factor.

        The normal samples of MMD come from the run's stream, in the reference's order l, a, v, y.
        """
        f, terms = out.features, super().loss_terms(out, batch)
        terms |= {f"gen_{m}": reconstruction(f[f"xhat_{m}"], f[f"x_{m}"]) for m in MODALITIES}
        for k in (*MODALITIES, "y"):
            z = f[f"z{k}"]
            terms[f"mmd_{k}"] = maximum_mean_discrepancy(z, self.stream.normals(tuple(z.shape), z)[0])
        return terms

    def loss_weights(self) -> dict[str, float]:
        """Return the weights of the terms."""
        c = self.config
        weights = {"task.output": 1.0, "gen_l": c.lambda_l, "gen_a": c.lambda_a, "gen_v": c.lambda_v}
        return weights | {f"mmd_{k}": c.lambda_mmd for k in FACTORS}
