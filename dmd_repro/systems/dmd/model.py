"""DMD: decoupled multimodal distilling (Li, Wang, Cui, CVPR 2023): the authors' code, or the paper's equations.

Paper's symbol = our name: X̃_m = `x_m`, X_m^com = `x_com_m` (their code: c), X_m^prt = `x_prt_m` (their code: s),
E^com = `encode_com`, E_m^prt = `encode_prt`, D_m = `decode`, Z_{→m} = `reinforced_m`, GD-Unit = `GraphUnit`.
Where code and paper differ a switch of the configuration decides (`systems/dmd/switches.py`, docs/deviations.md); the
defaults are the code's. Parameter names follow the authors' state_dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.nn.encoder import EncoderBank, Laid, Layout
from dmd_repro.nn.layers import Conv1d, Linear, initialise
from dmd_repro.nn.padding import after_convolution, mean_over_steps, valid_steps
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.config import InputNeeds
from dmd_repro.systems.dmd.config import SYSTEM, DMDConfig, dmd_preset
from dmd_repro.systems.dmd.terms import DMDFeatures, dmd_terms
from dmd_repro.systems.edges import VERTICES
from dmd_repro.systems.graph import GraphUnit
from dmd_repro.systems.heads import ResidualHead

# (target, source) of the six crossmodal encoders; per target the sources come in the order l, a, v
CROSSINGS = tuple((target, source) for target in MODALITIES for source in MODALITIES if source != target)


class DMD(nn.Module):
    """The full model or any mask of it; a part that is off has no parameter, no loss term and no work."""

    PARTS: ClassVar[frozenset[str]] = SYSTEM.parts
    PROTOCOLS: ClassVar[tuple[str, ...]] = SYSTEM.protocols
    INPUTS: ClassVar[InputNeeds] = SYSTEM.inputs
    STACKABLE: ClassVar[bool] = SYSTEM.stackable
    MODEL_VERSION: ClassVar[int] = SYSTEM.model_version
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
        config.check(steps, mask)
        self.config, self.stream, self.seen = config, DropoutStream(seeds), config.seen
        self.on = {part: part not in mask.off for part in self.PARTS}
        n, d, s = len(self.seen), config.d, len(seeds)
        # T', after convolution; a width that already is d is not convolved
        keeps = config.conv_padding == "same"
        self.steps = {m: steps[m] if keeps or dims[m] == d else steps[m] - config.kernel(m) + 1 for m in self.seen}
        self.text_dropout = Dropout(config.text_dropout, self.stream)
        self.project = nn.ModuleDict(
            {m: Conv1d([f"dmd/proj_{m}"], dims[m], d, kernel=config.kernel(m), stack=s, same=keeps)
             for m in self.seen if dims[m] != d}
        )  # fmt: skip
        if self.on["fd"]:
            self._add_decoupling(d, s)
        if config.common_summary == "encoder":
            self.encode_common = self._bank(
                {f"dmd/self_attentions_c_{m}": config.attention_rate(m) for m in self.seen}, d
            )
        self.crossings = tuple((t, source) for t, source in CROSSINGS if {t, source} <= set(self.seen))
        if self.on["ca"]:
            rates = {f"dmd/trans_{t}_with_{source}": config.attention_rate(source) for t, source in self.crossings}
            self.crossmodal = self._bank(rates, d)
        wide = (n - 1) * d if self.on["ca"] else d
        self.memory = self._bank({f"dmd/trans_{m}_mem": config.attn_dropout for m in self.seen}, wide)

        def head(names: list[tuple[str, str, str]], width: int, hidden: int) -> ResidualHead:
            return ResidualHead(names, width, hidden, config.output_dropout, self.stream)

        if config.heads_supervised or self.on["homogd"]:
            self.homo_heads = nn.ModuleDict({m: head([_names(f"{m}_low")], d * self.steps[m], d) for m in self.seen})
        if config.heads_supervised:
            self.common_head = head([_names("c")], n * d, n * d)
        if config.heads_supervised or self.on["heterogd"]:
            self.hetero_heads = head([_names(f"{m}_high") for m in self.seen], wide, wide)
        self.gate_reinforced = Linear([f"dmd/weight_{m}" for m in self.seen], wide, wide, stack=s)
        self.gate_common = Linear(["dmd/weight_c"], n * d, n * d, stack=s)
        fused = n * (wide + d)
        self.fusion_head = head([("dmd/proj1", "dmd/proj2", "dmd/out_layer")], fused, fused)
        for unit, width, hidden in (("homo", d, config.gd_homo), ("hetero", wide, config.gd_hetero)):
            if self.on[f"{unit}gd"]:
                graph = GraphUnit(
                    unit, width, hidden, stack=s, softmax_scale=config.edge_softmax_scale,
                    softmax_over=config.edge_softmax, project=config.edge_projection, prior=config.edge_prior,
                )  # fmt: skip
                self.add_module(f"{unit}_unit", graph)
        initialise(self, seeds)

    def _bank(self, rates: Mapping[str, float], width: int) -> EncoderBank:
        """Return encoders by name, with the attention dropout of each."""
        c = self.config
        return EncoderBank(
            list(rates), width, c.heads, c.layers, rates=list(rates.values()), embed_dropout=c.embed_dropout,
            relu_dropout=c.relu_dropout, res_dropout=c.res_dropout, stream=self.stream, causal=c.causal_mask,
        )  # fmt: skip

    def _add_decoupling(self, d: int, s: int) -> None:
        def maps(name: str, n_in: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {m: Linear([f"dmd/{name}_{m}"], n_in, d, stack=s, bias=False, kernel=1) for m in self.seen}
            )

        self.encode_prt, self.decode = maps("encoder_s", d), maps("decoder", 2 * d)
        self.encode_com = Linear(["dmd/encoder_c"], d, d, stack=s, bias=False, kernel=1)
        if self.config.margin_space == "aligned":
            # the second is created and never trained, as in the authors' code: their checkpoints hold it
            for name in ("align_c", "proj_cosine"):
                layers = {m: Linear([f"dmd/{name}_{m}"], d * self.steps[m], d, stack=s) for m in self.seen}
                self.add_module(name, nn.ModuleDict(layers))

    @classmethod
    def preset(cls, dataset: str, *, aligned: bool, protocol: str) -> DMDConfig:
        """Return the configuration of a data set: one for both settings, as none is published for unaligned."""
        return dmd_preset(dataset, protocol)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return one group: the authors train DMD and both graph units with one Adam."""
        return [{"params": list(self.parameters())}]

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """Predict from a batch; `features` hold what the losses need (in training) or everything (when asked for)."""
        keep = self.training or keep_features
        features = DMDFeatures()
        heads: dict[str, Tensor] = {}
        edges: dict[str, Tensor] = {}
        layouts = self._layouts(batch)
        com, prt = self._decouple(batch, features, layouts, keep, everything=keep_features)
        if hasattr(self, "homo_heads"):
            for m in self.seen:
                flat = whole(com[m], layouts[m]).flatten(2)  # (S, B, T' * d), time-major
                heads[f"{m}_homo"], features.representations["homo"][m], _ = self.homo_heads[m](flat)
        common = self._summarise(com, layouts)  # (S, B, n * d)
        if hasattr(self, "common_head"):
            heads["c"], _, _ = self.common_head(common)
        prediction = self._fuse(self._reinforce(prt, layouts), common, heads, features)
        for name in ("homo", "hetero"):
            if keep and self.on[f"{name}gd"]:
                unit = getattr(self, f"{name}_unit")
                edges[name], features.edge_scores[name] = unit(
                    {m: heads[f"{m}_{name}"] for m in MODALITIES}, features.representations[name]
                )
        return ModelOutput(prediction, heads, edges, features if keep else DMDFeatures())

    def _layouts(self, batch: Batch) -> dict[str, Layout]:
        """Return where X̃_m lies in the whole sequence and which of its steps are not padding, (S, B, T') each."""
        found: dict[str, Layout] = {}
        for m in self.seen:
            valid = None  # padding is data
            if self.config.padding != "zeros":
                valid = after_convolution(valid_steps(batch.inputs[m]), self._shortened(m) + 1)
            found[m] = Layout(batch.first.get(m, 0), self.steps[m], valid)
        return found

    def _shortened(self, m: str) -> int:
        """Return by how many steps the convolution of a modality shortens it."""
        return self.config.kernel(m) - 1 if m in self.project and self.config.conv_padding == "valid" else 0

    def window(self, spans: Mapping[str, tuple[int, int]]) -> Mapping[str, slice] | None:
        """Return the steps that reach a result where padding is hidden; None where padding is data.

        One step more than the clips need may stay: a query that comes before its whole source attends to padding (all
        alike), and must still find some.
        """
        if self.config.padding == "zeros":
            return None
        lost = {m: self._shortened(m) for m in self.seen}
        ends = {m: (spans[m][0] - lost[m], spans[m][1] + lost[m]) for m in self.seen}
        for m in self.seen:  # sequences of one length stay so, and run together
            alike = [ends[o] for o in self.seen if (self.steps[o], lost[o]) == (self.steps[m], lost[m])]
            ends[m] = (max(0, min(first for first, _ in alike)), max(past for _, past in alike))
        if self.config.causal_mask and self.on["ca"]:
            for _ in self.seen:  # each pass may lower one that another is bound by
                for target, source in self.crossings:
                    latest = ends[target][0] + abs(self.steps[source] - self.steps[target])
                    ends[source] = (min(ends[source][0], latest), ends[source][1])
        most = {m: self.steps[m] + lost[m] for m in self.seen}
        return {m: slice(min(first, most[m] - lost[m] - 1), min(past, most[m])) for m, (first, past) in ends.items()}

    def _decouple(
        self,
        batch: Batch,
        features: DMDFeatures,
        layouts: Mapping[str, Layout],
        keep: bool,
        everything: bool,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the common and private features of each modality, (S, B, T', d); X̃_m for both when fd is off."""
        com, prt = {}, {}
        for m in self.seen:
            x = self.text_dropout(batch.inputs[m]) if m == "l" else batch.inputs[m]
            x = self.project[m](x) if m in self.project else x
            valid = layouts[m].valid
            if valid is not None:
                x = x * valid.unsqueeze(3)
                features.valid[m] = valid
            features.x[m] = x
            com[m], prt[m] = (self.encode_com(x), self.encode_prt[m](x)) if self.on["fd"] else (x, x)
            if not (self.on["fd"] and keep):
                continue
            rec = self.decode[m](torch.cat([prt[m], com[m]], dim=-1))
            features.common[m], features.private[m], features.rebuilt[m] = com[m], prt[m], rec
            features.private_again[m] = self.encode_prt[m](rec)
            if self.config.margin_space == "pooled":
                features.margin[m] = mean_over_steps(com[m], valid)
                continue
            aligned = whole(com[m], layouts[m]).transpose(2, 3).flatten(2)
            features.margin[m] = self.align_c[m](aligned)  # type: ignore[index,operator]
            if everything:
                flat = whole(prt[m], layouts[m]).flatten(2)
                features.proj_cosine[m] = self.proj_cosine[m](flat)  # type: ignore[index,operator]
        return com, prt

    def _summarise(self, com: Mapping[str, Tensor], layouts: Mapping[str, Layout]) -> Tensor:
        """Return one vector for the common features of all modalities, (S, B, n * d), in the order l, v, a."""
        if self.config.common_summary == "mean":
            found = {m: mean_over_steps(com[m], layouts[m].valid) for m in self.seen}
        else:
            last = self.encode_common([Laid(x, layouts[m]) for m, x in com.items()], last_only=True)
            found = dict(zip(self.seen, last, strict=True))
        return torch.cat([found[m] for m in VERTICES if m in found], dim=-1)

    def _reinforce(self, prt: Mapping[str, Tensor], layouts: Mapping[str, Layout]) -> Tensor:
        """Private features {m: (S, B, T', d)} -> the reinforced last step of each modality, (S, n, B, wide)."""
        inputs = list(prt.values())
        if self.on["ca"]:
            laid = {m: Laid(x, layouts[m]) for m, x in prt.items()}
            crossed = self.crossmodal([laid[t] for t, _ in self.crossings], [laid[s] for _, s in self.crossings])
            per = len(self.seen) - 1
            inputs = [torch.cat(crossed[per * i : per * (i + 1)], dim=-1) for i in range(len(self.seen))]
        last = self.memory([Laid(x, layouts[m]) for m, x in zip(self.seen, inputs, strict=True)], last_only=True)
        return torch.stack(last, dim=1)

    def _fuse(self, reinforced: Tensor, common: Tensor, heads: dict[str, Tensor], features: DMDFeatures) -> Tensor:
        """Reinforced features (S, n, B, wide) and the common summary -> the prediction (S, B, 1); adds hetero heads."""
        s, n, b, wide = reinforced.shape
        flat = reinforced.flatten(0, 1)
        if hasattr(self, "hetero_heads"):
            logits, _, summed = self.hetero_heads(flat)
            for e, m in enumerate(self.seen):
                heads[f"{m}_hetero"] = logits.view(s, n, b, 1)[:, e]
                features.representations["hetero"][m] = summed.view(s, n, b, wide)[:, e]
        for e, m in enumerate(self.seen):
            features.reinforced[m] = reinforced[:, e]
        gate, gate_common = torch.sigmoid(self.gate_reinforced(flat)), torch.sigmoid(self.gate_common(common))
        if self.config.fusion == "weigh":
            gate, gate_common = gate * flat, gate_common * common
        gate = gate.view(s, n, b, wide)
        parts = [gate[:, self.seen.index(m)] for m in VERTICES if m in self.seen]
        return self.fusion_head(torch.cat([*parts, gate_common], dim=-1))[0]

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms of the objective, each (S,); a part that is off adds none."""
        priors = {name: getattr(self, f"{name}_unit").prior for name in out.edges}
        return dmd_terms(self.config, self.seen if self.on["fd"] else (), priors, out, batch)

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of every term (paper: Eq. 6 and 11; the authors' inner constants included)."""
        return self.config.loss_weights()


def whole(x: Tensor, place: Layout) -> Tensor:
    """(S, B, T, d) -> (S, B, steps, d): what was cut off is zero again, for a map that counts steps absolutely."""
    after = place.steps - place.first - x.shape[2]
    return x if not (place.first or after) else F.pad(x, (0, 0, place.first, after))


def _names(suffix: str) -> tuple[str, str, str]:
    return (f"dmd/proj1_{suffix}", f"dmd/proj2_{suffix}", f"dmd/out_layer_{suffix}")
