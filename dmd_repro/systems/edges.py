"""The six directed edges of a graph distillation unit and those the authors favour. No torch: reports need them too."""

from __future__ import annotations

# The authors stack language, visual, acoustic in their units (not l, a, v as elsewhere); this fixes the edges' order.
VERTICES = ("l", "v", "a")
EDGES = tuple((student, teacher) for student in VERTICES for teacher in VERTICES if student != teacher)
EDGE_NAMES = tuple(f"{teacher}->{student}" for student, teacher in EDGES)

# Teacher -> student pairs the authors favour: a 1 here, divided by the temperature, then softmax over the six edges.
FAVOURED = {"homo": ("l->v", "l->a"), "hetero": ("l->v", "l->a", "v->a")}
PRIOR_TEMPERATURE = 0.25
