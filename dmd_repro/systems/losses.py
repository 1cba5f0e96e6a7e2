"""One pure function per term of Eq. 2 to 9, and the weighted total.

S stacked seeds lead every tensor and every result is (S,): seeds never mix. Terms are unweighted leaves; every
constant, the authors' inner 10 and 0.05 too, is a weight in the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dmd_repro.errors import SpecError


def mean_absolute(prediction: Tensor, labels: Tensor) -> Tensor:
    """(S, B, 1), (S, B) -> (S,): the task loss of one head (paper: L_task)."""
    return (prediction.squeeze(-1) - labels).abs().mean(1)


def squared_error(x: Tensor, y: Tensor, reduction: str, valid: Tensor | None = None) -> Tensor:
    """Eq. 2, 3: (S, B, T, d) twice -> (S,). `valid` (S, B, T) leaves padded steps out.

    "mean" over all elements, as the authors compute; "sum" is the squared Frobenius norm of each clip, mean over clips.
    """
    squares = (x - y).square()
    if valid is not None:
        squares = squares * valid.unsqueeze(3)
    if reduction == "sum":
        return squares.flatten(2).sum(2).mean(1)
    if valid is None:
        return squares.flatten(1).mean(1)
    return squares.flatten(1).sum(1) / (valid.flatten(1).sum(1) * x.shape[3])


def margin_by_distance(aligned: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Eq. 4 as the authors compute it: (S, R, d) rows of all modalities, their labels (S, R) -> (S,).

    Positives of an anchor are all other rows with exactly its label, negatives all rows with another; the margin is
    `scale` * |y_i - y_k|. Mean over positives times negatives per anchor, then over anchors that have both; 0 if none.
    """
    norm = (aligned.square().sum(2) + 1e-8).sqrt()
    unit = aligned / norm.unsqueeze(2)
    cosine = torch.matmul(unit, unit.transpose(1, 2))  # (S, R, R)
    difference = (labels.unsqueeze(2) - labels.unsqueeze(1)).abs()
    same = difference == 0
    self_pair = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
    positive, negative = (same & ~self_pair).to(aligned.dtype), (~same).to(aligned.dtype)
    # (S, anchor i, positive j, negative k)
    hinge = torch.relu((scale * difference + cosine).unsqueeze(2) - cosine.unsqueeze(3))
    pairs = positive.sum(2) * negative.sum(2)
    summed = torch.einsum("sijk,sij,sik->si", hinge, positive, negative)
    per_anchor = summed / pairs.clamp_min(1)
    usable = (pairs > 0).to(aligned.dtype)
    return (per_anchor * usable).sum(1) / usable.sum(1).clamp_min(1)


def margin_of_triples(rows: Tensor, classes: Tensor, modalities: Tensor, alpha: float) -> Tensor:
    """Eq. 4 as printed: (S, R, d) rows, their classes (S, R) and modalities (R,) -> (S,).

    Mean over all triples (i, j, k) of max(0, alpha - cos(i, j) + cos(i, k)): i, j of one class and two modalities, i, k
    of one modality and two classes. 0 where a batch has no triple.
    """
    unit = torch.nn.functional.normalize(rows, dim=2, eps=1e-8)
    cosine = torch.matmul(unit, unit.transpose(1, 2))  # (S, R, R)
    same_class = classes.unsqueeze(2) == classes.unsqueeze(1)
    same_modality = modalities.unsqueeze(1) == modalities.unsqueeze(0)
    positive = (same_class & ~same_modality).to(rows.dtype)
    negative = (~same_class & same_modality).to(rows.dtype)
    hinge = torch.relu(alpha - cosine.unsqueeze(3) + cosine.unsqueeze(2))  # (S, i, j, k)
    summed = torch.einsum("sijk,sij,sik->s", hinge, positive, negative)
    return summed / torch.einsum("sij,sik->s", positive, negative).clamp_min(1)


def orthogonality(
    private: Tensor, common: Tensor, axis: str, *, clamp: bool = True, valid: Tensor | None = None
) -> Tensor:
    """Eq. 5: (S, B, T, d) twice -> (S,). `valid` (S, B, T) leaves padded steps out.

    `axis` "batch" is what torch 1.9 computed for the authors: their CosineEmbeddingLoss(target -1) sees (T, B, d) and
    takes axis 1, so the cosine runs over the clips of the batch for each step and channel. "feature" is the cosine the
    paper's words describe, over d for each clip and step. `clamp` counts negative cosines as 0.
    """
    if valid is not None:
        private = private * valid.unsqueeze(3)
    cosine = _cosine(private, common, axis={"batch": 1, "feature": 3}[axis])
    cosine = cosine.clamp_min(0) if clamp else cosine
    if valid is None:
        return cosine.flatten(1).mean(1)
    if axis == "batch":  # a padded clip adds 0 to a cosine over clips; steps that are padding in all of them are none
        return cosine.flatten(1).sum(1) / (valid.any(1).sum(1) * private.shape[3])
    return cosine.flatten(1).sum(1) / valid.flatten(1).sum(1)


def _cosine(x: Tensor, y: Tensor, axis: int) -> Tensor:
    """Cosine along an axis, 1e-12 added to each squared norm, as torch's CosineEmbeddingLoss does."""
    product = (x * y).sum(axis)
    norms = ((x * x).sum(axis) + 1e-12) * ((y * y).sum(axis) + 1e-12)
    return product / norms.sqrt()


def edge_regulariser(edges: Tensor, prior: Tensor) -> Tensor:
    """(S, 6, B), (6,) -> (S,): squared distance of the batch-mean edges from the prior. Not in the paper."""
    return (edges.mean(2) - prior).square().sum(1)


def distil_logits(
    logits: Mapping[str, Tensor], edges: Tensor, prior: Tensor, pairs: Sequence[tuple[str, str]]
) -> Tensor:
    """Eq. 9: {m: (S, B, w)}, w = 1 for logits, edges (S, 6, B), (student, teacher) pairs -> (S,).

    |student - teacher|_1 times (edge + prior), batch mean, summed over edges; the teacher is detached, the edge is not.
    """
    distance = torch.stack([(logits[j] - logits[i].detach()).abs().sum(-1) for j, i in pairs], dim=1)
    return (distance * (edges + prior.view(-1, 1))).mean(2).sum(1)


def distil_features(
    features: Mapping[str, Tensor], edges: Tensor, prior: Tensor, pairs: Sequence[tuple[str, str]]
) -> Tensor:
    """The authors' extra term on representations {m: (S, B, w)} -> (S,). Not in the paper.

    CosineEmbeddingLoss(student, teacher, -1), which pushes the two APART, is a mean over the batch already, so the
    per-clip weight enters through its own mean.
    """
    cosine = torch.stack(
        [_cosine(features[j], features[i].detach(), axis=2).clamp_min(0).mean(1) for j, i in pairs], dim=1
    )  # (S, 6)
    return (cosine * (edges.mean(2) + prior)).sum(1)


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of the weighted terms, (S,). Raises SpecError on a term without a weight, so none is dropped in silence."""
    if missing := sorted(set(terms) - set(weights)):
        raise SpecError.at(
            "loss", expected="a weight for every term", got=f"none for {', '.join(missing)}", do="Add it to the config"
        )
    return torch.stack([terms[name] * weights[name] for name in terms]).sum(0)
