"""DMD: decoupled multimodal distilling (Li, Wang, Cui, CVPR 2023), as the authors' published code computes it.

Paper's symbol = our name: X̃_m = `x_m`, X_m^com = `x_com_m` (their code: c), X_m^prt = `x_prt_m` (their code: s),
E^com = `encode_com`, E_m^prt = `encode_prt`, D_m = `decode`, Z_{→m} = `reinforced_m`, GD-Unit = `GraphUnit`.
Where code and paper differ, DEVIATIONS.md says how; parameter names follow the authors' state_dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmd_repro import losses
from dmd_repro.models.base import Batch, InputNeeds, ModelOutput
from dmd_repro.models.dmd_config import DMDConfig, dmd_preset
from dmd_repro.models.encoder import EncoderBank
from dmd_repro.models.graph import EDGES, VERTICES, GraphUnit
from dmd_repro.models.layers import Conv1d, Dropout, DropoutStream, Linear, initialise
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask

# (target, source) of the six crossmodal encoders; per target the sources come in the order l, a, v
CROSSINGS = tuple((target, source) for target in MODALITIES for source in MODALITIES if source != target)


class ResidualHead(nn.Module):
    """Linear, ReLU, dropout, Linear, plus the input, then Linear to 1: the authors' head, everywhere."""

    def __init__(
        self, names: list[tuple[str, str, str]], width: int, hidden: int, rate: float, stream: DropoutStream
    ) -> None:
        """`names` are the three maps' names for each of E heads of one shape."""
        super().__init__()
        first, second, last = (list(column) for column in zip(*names, strict=True))
        stack = len(stream.seeds)
        self.first = Linear(first, width, hidden, stack=stack)
        self.second = Linear(second, hidden, width, stack=stack)
        self.last = Linear(last, width, 1, stack=stack)
        self.dropout = Dropout(rate, stream)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(G, B, width) -> logit (G, B, 1), hidden after ReLU (G, B, hidden), residual sum (G, B, width)."""
        hidden = torch.relu(self.first(x))
        summed = self.second(self.dropout(hidden)) + x
        return self.last(summed), hidden, summed


class DMD(nn.Module):
    """The full model or any mask of it; a part that is off has no parameter, no loss term and no work."""

    PARTS: ClassVar[frozenset[str]] = frozenset({"fd", "homogd", "ca", "heterogd"})
    PROTOCOLS: ClassVar[tuple[str, ...]] = ("official",)
    INPUTS: ClassVar[InputNeeds] = InputNeeds()
    STACKABLE: ClassVar[bool] = True
    MODEL_VERSION: ClassVar[int] = 1
    CONFIG: ClassVar[type[DMDConfig]] = DMDConfig

    def __init__(
        self,
        config: DMDConfig,
        *,
        dims: Mapping[str, int],
        steps: Mapping[str, int],
        mask: AblationMask = AblationMask(),
        seeds: tuple[int, ...] = (0,),
    ) -> None:
        """`dims` and `steps`: feature width and number of time steps of l, a, v. Raises SpecError on a bad mask."""
        super().__init__()
        mask.check("dmd", self.PARTS)
        config.check(steps)
        self.config, self.stream = config, DropoutStream(seeds)
        self.on = {part: part not in mask.off for part in self.PARTS}
        d, s = config.d, len(seeds)
        # T', after convolution; a width that already is d is not convolved
        self.steps = {m: steps[m] if dims[m] == d else steps[m] - config.kernel(m) + 1 for m in MODALITIES}
        shared: dict[str, Any] = {
            "embed_dropout": config.embed_dropout, "relu_dropout": config.relu_dropout,
            "res_dropout": config.res_dropout, "stream": self.stream,
        }  # fmt: skip

        self.text_dropout = Dropout(config.text_dropout, self.stream)
        self.project = nn.ModuleDict(
            {m: Conv1d([f"dmd/proj_{m}"], dims[m], d, kernel=config.kernel(m), stack=s) for m in MODALITIES
             if dims[m] != d}
        )  # fmt: skip
        if self.on["fd"]:
            self._add_decoupling(d, s)
        self.encode_common = EncoderBank(
            [f"dmd/self_attentions_c_{m}" for m in MODALITIES], d, config.heads, config.layers,
            rates=[config.attention_rate(m) for m in MODALITIES], **shared,
        )  # fmt: skip
        if self.on["ca"]:
            self.crossmodal = EncoderBank(
                [f"dmd/trans_{target}_with_{source}" for target, source in CROSSINGS], d, config.heads, config.layers,
                rates=[config.attention_rate(source) for _, source in CROSSINGS], **shared,
            )  # fmt: skip
        wide = 2 * d if self.on["ca"] else d
        self.memory = EncoderBank(
            [f"dmd/trans_{m}_mem" for m in MODALITIES], wide, config.heads, config.layers,
            rates=[config.attn_dropout] * 3, **shared,
        )  # fmt: skip

        def head(names: list[tuple[str, str, str]], width: int, hidden: int) -> ResidualHead:
            return ResidualHead(names, width, hidden, config.output_dropout, self.stream)

        self.homo_heads = nn.ModuleDict({m: head([_head_names(f"{m}_low")], d * self.steps[m], d) for m in MODALITIES})
        self.common_head = head([_head_names("c")], 3 * d, 3 * d)
        self.hetero_heads = head([_head_names(f"{m}_high") for m in MODALITIES], wide, wide)
        self.gate_reinforced = Linear([f"dmd/weight_{m}" for m in MODALITIES], wide, wide, stack=s)
        self.gate_common = Linear(["dmd/weight_c"], 3 * d, 3 * d, stack=s)
        self.fusion_head = head([("dmd/proj1", "dmd/proj2", "dmd/out_layer")], 3 * wide + 3 * d, 3 * wide + 3 * d)
        if self.on["homogd"]:
            self.homo_unit = GraphUnit("homo", d, config.gd_homo, softmax_scale=config.edge_softmax_scale, stack=s)
        if self.on["heterogd"]:
            self.hetero_unit = GraphUnit(
                "hetero", wide, config.gd_hetero, softmax_scale=config.edge_softmax_scale, stack=s
            )
        initialise(self, seeds)

    def _add_decoupling(self, d: int, s: int) -> None:
        def maps(name: str, n_in: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {m: Linear([f"dmd/{name}_{m}"], n_in, d, stack=s, bias=False, kernel=1) for m in MODALITIES}
            )

        self.encode_prt, self.decode = maps("encoder_s", d), maps("decoder", 2 * d)
        self.encode_com = Linear(["dmd/encoder_c"], d, d, stack=s, bias=False, kernel=1)
        for name in ("align_c", "proj_cosine"):  # the second is created and never trained, as in the authors' code
            layers = {m: Linear([f"dmd/{name}_{m}"], d * self.steps[m], d, stack=s) for m in MODALITIES}
            self.add_module(name, nn.ModuleDict(layers))

    @classmethod
    def preset(cls, dataset: str, *, aligned: bool, protocol: str) -> DMDConfig:
        """Return the configuration of a data set: one for both settings, as none is published for unaligned."""
        return dmd_preset(dataset)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return one group: the authors train DMD and both graph units with one Adam."""
        return [{"params": list(self.parameters())}]

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """Predict from a batch; `features` hold what the losses need (in training) or everything (when asked for)."""
        keep = self.training or keep_features
        features: dict[str, Tensor] = {}
        heads: dict[str, Tensor] = {}
        edges: dict[str, Tensor] = {}
        com, prt = self._decouple(batch, features, keep, everything=keep_features)

        for m in MODALITIES:
            flat = com[m].flatten(2)  # (S, B, T' * d), time-major
            heads[f"{m}_homo"], features[f"repr_{m}_homo"], _ = self.homo_heads[m](flat)
        fused_common = torch.cat(
            [x for _, x in sorted(zip(MODALITIES, self.encode_common(list(com.values()), last_only=True), strict=True),
                                  key=lambda pair: VERTICES.index(pair[0]))], dim=-1,
        )  # fmt: skip
        heads["c"], _, _ = self.common_head(fused_common)  # (S, B, 3d) in the order l, v, a -> (S, B, 1)

        reinforced = self._reinforce(prt)  # (S, 3, B, wide)
        s, _, b, wide = reinforced.shape
        logits, _, summed = self.hetero_heads(reinforced.flatten(0, 1))
        gated = torch.sigmoid(self.gate_reinforced(reinforced.flatten(0, 1))).view(s, 3, b, wide)
        for e, m in enumerate(MODALITIES):
            heads[f"{m}_hetero"] = logits.view(s, 3, b, 1)[:, e]
            features[f"repr_{m}_hetero"] = summed.view(s, 3, b, wide)[:, e]
            features[f"reinforced_{m}"] = reinforced[:, e]
        parts = [gated[:, MODALITIES.index(m)] for m in VERTICES] + [torch.sigmoid(self.gate_common(fused_common))]
        prediction, _, _ = self.fusion_head(torch.cat(parts, dim=-1))

        for name in ("homo", "hetero"):
            if keep and self.on[f"{name}gd"]:
                unit = getattr(self, f"{name}_unit")
                edges[name], features[f"edge_scores_{name}"] = unit(
                    {m: heads[f"{m}_{name}"] for m in MODALITIES}, {m: features[f"repr_{m}_{name}"] for m in MODALITIES}
                )
        return ModelOutput(prediction, heads, edges, features if keep else {})

    def _decouple(
        self, batch: Batch, features: dict[str, Tensor], keep: bool, everything: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the common and private features of l, a, v, each (S, B, T', d); X̃_m for both when fd is off."""
        com, prt = {}, {}
        for m in MODALITIES:
            x = self.text_dropout(batch.inputs[m]) if m == "l" else batch.inputs[m]
            x = self.project[m](x) if m in self.project else x
            features[f"x_{m}"] = x
            com[m], prt[m] = (self.encode_com(x), self.encode_prt[m](x)) if self.on["fd"] else (x, x)
            if not (self.on["fd"] and keep):
                continue
            rec = self.decode[m](torch.cat([prt[m], com[m]], dim=-1))
            features |= {f"x_com_{m}": com[m], f"x_prt_{m}": prt[m], f"rec_{m}": rec}
            features[f"x_prt_cyc_{m}"] = self.encode_prt[m](rec)
            features[f"align_{m}"] = self.align_c[m](_channel_major(com[m]))  # type: ignore[index,operator]
            if everything:
                features[f"proj_cosine_{m}"] = self.proj_cosine[m](prt[m].flatten(2))  # type: ignore[index,operator]
        return com, prt

    def _reinforce(self, prt: Mapping[str, Tensor]) -> Tensor:
        """Private features {m: (S, B, T', d)} -> the reinforced last step of each modality, (S, 3, B, 2d or d)."""
        if self.on["ca"]:
            crossed = self.crossmodal([prt[t] for t, _ in CROSSINGS], [prt[s] for _, s in CROSSINGS])
            inputs = [torch.cat(crossed[2 * i : 2 * i + 2], dim=-1) for i in range(3)]
        else:
            inputs = [prt[m] for m in MODALITIES]
        return torch.stack(self.memory(inputs, last_only=True), dim=1)

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms of the authors' objective, each (S,); a part that is off adds none."""
        f, y = out.features, batch.labels
        terms = {"task.output": losses.mean_absolute(out.prediction, y)}
        terms |= {f"task.{name}": losses.mean_absolute(head, y) for name, head in out.heads.items()}
        if self.on["fd"]:
            for m in MODALITIES:
                terms[f"rec.{m}"] = losses.mean_squared(f[f"rec_{m}"], f[f"x_{m}"])
                terms[f"cyc.{m}"] = losses.mean_squared(f[f"x_prt_{m}"], f[f"x_prt_cyc_{m}"])
                terms[f"ort.{m}"] = losses.orthogonality(f[f"x_prt_{m}"], f[f"x_com_{m}"], "batch")
            rows = torch.cat([f[f"align_{m}"] for m in MODALITIES], dim=1)  # (S, 3B, d)
            terms["mar"] = losses.margin(rows, y.repeat(1, 3), self.config.margin_scale)
        for name in out.edges:
            prior, edge = getattr(self, f"{name}_unit").prior, out.edges[name]
            terms[f"dtl_{name}.reg"] = losses.edge_regulariser(edge, prior)
            logits = {m: out.heads[f"{m}_{name}"] for m in MODALITIES}
            terms[f"dtl_{name}.logit"] = losses.distil_logits(logits, edge, prior, EDGES)
            if name == "hetero":  # for homo the authors compute this term and drop it
                reprs = {m: f[f"repr_{m}_hetero"] for m in MODALITIES}
                terms["dtl_hetero.repr"] = losses.distil_features(reprs, edge, prior, EDGES)
        return terms

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of every term (paper: Eq. 6 and 11; the authors' inner constants included)."""
        return self.config.loss_weights()


def _channel_major(x: Tensor) -> Tensor:
    """(S, B, T, d) -> (S, B, d * T), as the authors flatten before this map; elsewhere they flatten time-major."""
    return x.transpose(2, 3).flatten(2)


def _head_names(suffix: str) -> tuple[str, str, str]:
    return (f"dmd/proj1_{suffix}", f"dmd/proj2_{suffix}", f"dmd/out_layer_{suffix}")
