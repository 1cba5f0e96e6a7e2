"""The graph distillation unit (GD-Unit): three vertices, six directed edges, weights learned from logits and features.

Paper: Eq. 7 (distance of logits), Eq. 8 (edge weights). What the authors' kernel does where it differs is noted at each
step; the losses on its edges are in `systems/losses.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmd_repro.nn.layers import Linear
from dmd_repro.systems.edges import EDGE_NAMES, EDGES, FAVOURED, PRIOR_TEMPERATURE, VERTICES

ENDS = tuple(tuple(VERTICES.index(edge[end]) for edge in EDGES) for end in (0, 1))  # student, teacher of each edge


def edge_prior(unit: str, kind: str = "authors") -> Tensor:
    """Return the fixed prior (6,) added to the learned edges of a unit ("homo" or "hetero").

    "authors": theirs; "uniform": 1/6 on each edge; "none": nothing is added (Eq. 9).
    """
    if kind != "authors":
        return torch.full((len(EDGES),), 1 / len(EDGES) if kind == "uniform" else 0.0)
    scores = torch.tensor([1.0 if name in FAVOURED[unit] else 0.0 for name in EDGE_NAMES])
    return torch.softmax(scores / PRIOR_TEMPERATURE, dim=0)


class GraphUnit(nn.Module):
    """Edge weights of one GD-Unit from the logits and representations of the three modalities."""

    prior: Tensor

    def __init__(
        self,
        unit: str,
        width: int,
        hidden: int,
        *,
        stack: int,
        softmax_scale: float = 1 / 8,
        softmax_over: str = "all",
        project: bool = True,
        prior: str = "authors",
    ) -> None:
        """`width` of the representations; `hidden` of the projections (g: 64 homo, 32 hetero in the authors' code).

        `softmax_over` "all" six edges or "per_target"; without `project` the edge map reads logits and
        representations themselves (Eq. 8).
        """
        super().__init__()
        self.softmax_scale, self.softmax_over, self.project = softmax_scale, softmax_over, project
        if project:
            self.w_logit = Linear([f"{unit}/W_logit"], 1, hidden, stack=stack)
            self.w_repr = Linear([f"{unit}/W_repr"], width, hidden, stack=stack)
        self.w_edge = Linear([f"{unit}/W_edge"], 4 * hidden if project else 2 * (1 + width), 1, stack=stack)
        self.register_buffer("prior", edge_prior(unit, prior), persistent=False)

    def forward(self, logits: Mapping[str, Tensor], reprs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """logits {m: (S, B, 1)}, reprs {m: (S, B, width)} -> weights (S, 6, B) and their scores before the softmax.

        One linear map on [student logit, student repr, teacher logit, teacher repr], shared by all pairs.
        """
        logit = torch.stack([logits[m] for m in VERTICES], dim=1)  # (S, 3, B, 1)
        feature = torch.stack([reprs[m] for m in VERTICES], dim=1)  # (S, 3, B, width)
        if self.project:
            logit, feature = self.w_logit(logit), self.w_repr(feature)
        z = torch.cat([logit, feature], dim=-1)  # (S, 3, B, 2g)
        # the map is linear in [student, teacher]: each half is applied once per vertex, then added per edge
        weight, bias = self.w_edge.group("weight", None), self.w_edge.group("bias", None)
        halves = weight.view(z.shape[0], 2, 1, -1, 1)  # (S, 2, 1, 2g, 1)
        as_student, as_teacher = (torch.matmul(z, halves[:, i]).squeeze(-1) for i in (0, 1))  # (S, 3, B)
        ends = ((as_student.unbind(1), ENDS[0]), (as_teacher.unbind(1), ENDS[1]))
        student, teacher = (torch.stack([x[place] for place in places], dim=1) for x, places in ends)
        scores = student + teacher  # (S, 6, B)
        scores = scores + bias.view(-1, 1, 1)
        scaled = scores * self.softmax_scale
        if self.softmax_over == "per_target":  # EDGES lists the two teachers of a student one after the other
            s, _, b = scaled.shape
            return torch.softmax(scaled.view(s, 3, 2, b), dim=2).view(s, 6, b), scores
        return torch.softmax(scaled, dim=1), scores
