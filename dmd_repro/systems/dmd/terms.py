"""DMD's objective: which terms of Eq. 2 to 9 and of the authors' code a configuration has, as unweighted leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmd_repro.shapes import MODALITIES
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch, ModelOutput, UnitFeatures
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.edges import EDGES


@dataclass(frozen=True, slots=True)
class DMDFeatures(UnitFeatures):
    """What of a forward pass the losses read, by modality; all but `x` and `valid` are of the decoupling (fd)."""

    x: dict[str, Tensor] = field(default_factory=dict)  # X̃_m (S, B, T', d)
    valid: dict[str, Tensor] = field(default_factory=dict)  # (S, B, T') bool; empty where padding is data
    common: dict[str, Tensor] = field(default_factory=dict)  # X_m^com (S, B, T', d)
    private: dict[str, Tensor] = field(default_factory=dict)  # X_m^prt (S, B, T', d)
    rebuilt: dict[str, Tensor] = field(default_factory=dict)  # D_m of both (S, B, T', d)
    private_again: dict[str, Tensor] = field(default_factory=dict)  # E_m^prt of `rebuilt` (S, B, T', d)
    margin: dict[str, Tensor] = field(default_factory=dict)  # what the margin loss compares (S, B, d)
    proj_cosine: dict[str, Tensor] = field(default_factory=dict)  # of a map that is never trained; when asked for


def dmd_terms(
    config: DMDConfig, decoupled: Sequence[str], priors: Mapping[str, Tensor], out: ModelOutput, batch: Batch
) -> dict[str, Tensor]:
    """Return every term, each (S,): task, then decoupling of the modalities that have it, then the graph units."""
    labels = batch.labels
    terms = {"task.output": losses.mean_absolute(out.prediction, labels)}
    if config.heads_supervised:
        terms |= {f"task.{name}": losses.mean_absolute(head, labels) for name, head in out.heads.items()}
    if decoupled:
        terms |= _decoupling(config, decoupled, out.features, labels)
    for name, prior in priors.items():
        terms |= _distillation(config, name, prior, out)
    return terms


def _decoupling(config: DMDConfig, seen: Sequence[str], f: DMDFeatures, labels: Tensor) -> dict[str, Tensor]:
    terms = {}
    for m in seen:
        valid = f.valid.get(m)
        terms[f"rec.{m}"] = losses.squared_error(f.rebuilt[m], f.x[m], config.norm_reduction, valid)
        terms[f"cyc.{m}"] = losses.squared_error(f.private[m], f.private_again[m], config.norm_reduction, valid)
        terms[f"ort.{m}"] = losses.orthogonality(
            f.private[m], f.common[m], config.ort_axis, clamp=config.ort_clamp, valid=valid
        )
    rows = torch.cat([f.margin[m] for m in seen], dim=1)  # (S, n * B, d)
    if config.margin == "label_distance":
        terms["mar"] = losses.margin_by_distance(rows, labels.repeat(1, len(seen)), config.margin_scale)
    else:
        classes = labels.clamp(config.label_low, config.label_high).round()
        modality = torch.arange(len(seen), device=labels.device).repeat_interleave(labels.shape[1])
        terms["mar"] = losses.margin_of_triples(rows, classes.repeat(1, len(seen)), modality, config.margin_alpha)
    return terms


def _distillation(config: DMDConfig, name: str, prior: Tensor, out: ModelOutput) -> dict[str, Tensor]:
    edges = out.edges[name]
    logits = {m: out.heads[f"{m}_{name}"] for m in MODALITIES}
    terms = {f"dtl_{name}.logit": losses.distil_logits(logits, edges, prior, EDGES)}
    if config.edge_reg:
        terms[f"dtl_{name}.reg"] = losses.edge_regulariser(edges, prior)
    seen: UnitFeatures = out.features
    features = seen.representations[name]
    if name == "homo" and config.homo_repr:  # the distance the authors compute for this unit, and drop
        terms["dtl_homo.repr"] = losses.distil_logits(features, edges, prior, EDGES)
    if name == "hetero" and config.hetero_repr:
        terms["dtl_hetero.repr"] = losses.distil_features(features, edges, prior, EDGES)
    return terms
