"""MulT: the multimodal transformer (Tsai et al., ACL 2019) as its authors' code computes it, plain or with a GD-Unit.

The GD-Unit on its reinforced features is what Table 5 of the DMD paper adds.

Paper's symbol = our name: X̂_m = `x_m`, CM_{β→α} = `crossmodal`, Z_α at its last step = `reinforced_m`. Parameter names
follow the authors' state_dict behind `mult/`.

The GD-Unit (setting `gd`, on the command line `mult+gd`) is a reading of ours: the DMD paper says no more than that it
stands on MulT's reinforced features. It is DMD's HeteroGD, which has the same place: each modality's reinforced last
step (2d wide) goes through DMD's residual head, which gives the logit and the representation the unit sees; the heads
are supervised as DMD's hetero heads are; the prediction is MulT's own, so the unit acts through the shared encoders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.nn.encoder import EncoderBank
from dmd_repro.nn.layers import Conv1d, initialise
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, ModelOutput, UnitFeatures
from dmd_repro.systems.config import InputNeeds
from dmd_repro.systems.dmd.model import CROSSINGS
from dmd_repro.systems.edges import EDGES
from dmd_repro.systems.graph import GraphUnit
from dmd_repro.systems.heads import ResidualHead
from dmd_repro.systems.mult.config import SYSTEM, MulTConfig, mult_preset

LEAST_MEMORY_LAYERS = 3  # the authors ask for 3 self-attention layers and take the crossmodal depth where it is larger


class MulT(nn.Module):
    """Six crossmodal encoders, a self-attention encoder per modality, one residual head on the three last steps."""

    PARTS: ClassVar[frozenset[str]] = SYSTEM.parts
    PROTOCOLS: ClassVar[tuple[str, ...]] = SYSTEM.protocols
    INPUTS: ClassVar[InputNeeds] = SYSTEM.inputs
    STACKABLE: ClassVar[bool] = SYSTEM.stackable
    MODEL_VERSION: ClassVar[int] = SYSTEM.model_version
    CONFIG: ClassVar[type[MulTConfig]] = MulTConfig

    def __init__(
        self,
        config: MulTConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
        seeds: tuple[int, ...] = (0,),
    ) -> None:
        """`dims` and `steps`: feature width and number of time steps of l, a, v. Raises SpecError on any mask."""
        super().__init__()
        mask.check("mult", self.PARTS)
        config.check(steps)
        self.config, self.stream = config, DropoutStream(seeds)
        d, s = config.d, len(seeds)

        def bank(names: list[str], width: int, layers: int, rates: list[float]) -> EncoderBank:
            return EncoderBank(
                [f"mult/{name}" for name in names], width, config.heads, layers, rates=rates,
                embed_dropout=config.embed_dropout, relu_dropout=config.relu_dropout, res_dropout=config.res_dropout,
                stream=self.stream,
            )  # fmt: skip

        def head(names: list[tuple[str, str, str]], width: int) -> ResidualHead:
            return ResidualHead(names, width, width, config.output_dropout, self.stream)

        self.text_dropout = Dropout(config.embed_dropout, self.stream)
        self.project = nn.ModuleDict(
            {m: Conv1d([f"mult/proj_{m}"], dims[m], d, kernel=config.kernel(m), stack=s) for m in MODALITIES
             if dims[m] != d}
        )  # fmt: skip
        self.crossmodal = bank(
            [f"trans_{target}_with_{source}" for target, source in CROSSINGS], d, config.layers,
            [config.attention_rate(source) for _, source in CROSSINGS],
        )  # fmt: skip
        self.memory = bank(
            [f"trans_{m}_mem" for m in MODALITIES], 2 * d, max(config.layers, LEAST_MEMORY_LAYERS),
            [config.attn_dropout] * 3,
        )  # fmt: skip
        self.fusion_head = head([("mult/proj1", "mult/proj2", "mult/out_layer")], 6 * d)
        if config.gd:
            self.hetero_heads = head(
                [(f"mult/proj1_{m}_high", f"mult/proj2_{m}_high", f"mult/out_layer_{m}_high") for m in MODALITIES],
                2 * d,
            )
            self.hetero_unit = GraphUnit(
                "hetero", 2 * d, config.gd_hetero, softmax_scale=config.edge_softmax_scale, stack=s
            )
        initialise(self, seeds)

    @classmethod
    def preset(cls, dataset: str, *, aligned: bool, protocol: str) -> MulTConfig:
        """Return the configuration of a data set and setting."""
        return mult_preset(dataset, aligned=aligned)

    def window(self, spans: Mapping[str, tuple[int, int]]) -> None:
        """Return None: padding is data to the authors' code."""

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return one group, as the authors train it."""
        return [{"params": list(self.parameters())}]

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """Predict from a batch; with the GD-Unit its heads too, and in training or when asked for its edges."""
        keep = self.training or keep_features
        x = {m: self.text_dropout(batch.inputs[m]) if m == "l" else batch.inputs[m] for m in MODALITIES}
        x = {m: self.project[m](x[m]) if m in self.project else x[m] for m in MODALITIES}  # (S, B, T', d)
        crossed = self.crossmodal([x[t] for t, _ in CROSSINGS], [x[s] for _, s in CROSSINGS])
        paired = [torch.cat(crossed[2 * i : 2 * i + 2], dim=-1) for i in range(3)]  # (S, B, T', 2d), sources in order
        last = self.memory(paired, last_only=True)  # (S, B, 2d) for l, a, v
        prediction, _, _ = self.fusion_head(torch.cat(last, dim=-1))
        features = UnitFeatures(reinforced=dict(zip(MODALITIES, last, strict=True)))
        heads: dict[str, Tensor] = {}
        edges: dict[str, Tensor] = {}
        if self.config.gd:
            logits, reprs = self._vertices(torch.stack(last, dim=1))
            heads = {f"{m}_hetero": logit for m, logit in logits.items()}
            features.representations["hetero"] = reprs
            if keep:
                edges["hetero"], features.edge_scores["hetero"] = self.hetero_unit(logits, reprs)
        return ModelOutput(prediction, heads, edges, features if keep else UnitFeatures())

    def _vertices(self, reinforced: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(S, 3, B, 2d) -> what the unit sees of each modality: logits (S, B, 1) and representations (S, B, 2d)."""
        logits, _, summed = self.hetero_heads(reinforced.flatten(0, 1))
        stacked = reinforced.shape[:3]
        by_modality = (logits.view(*stacked, 1).unbind(1), summed.view(reinforced.shape).unbind(1))
        return dict(zip(MODALITIES, by_modality[0], strict=True)), dict(zip(MODALITIES, by_modality[1], strict=True))

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms, each (S,): the authors' L1 loss, and with the GD-Unit DMD's hetero terms."""
        terms = {"task.output": losses.mean_absolute(out.prediction, batch.labels)}
        terms |= {f"task.{name}": losses.mean_absolute(head, batch.labels) for name, head in out.heads.items()}
        if self.config.gd:
            edge, prior = out.edges["hetero"], self.hetero_unit.prior
            logits = {m: out.heads[f"{m}_hetero"] for m in MODALITIES}
            seen: UnitFeatures = out.features
            terms["dtl_hetero.reg"] = losses.edge_regulariser(edge, prior)
            terms["dtl_hetero.logit"] = losses.distil_logits(logits, edge, prior, EDGES)
            terms["dtl_hetero.repr"] = losses.distil_features(seen.representations["hetero"], edge, prior, EDGES)
        return terms

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of every term."""
        return self.config.loss_weights()
