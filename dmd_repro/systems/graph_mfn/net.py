"""Graph-MFN: MFN with a dynamic fusion graph in the place of its attention.

Source: thuiar/MMSA (Graph_MFN.py), whose graph is CMU-MultimodalSDK's dynamic_fusion_graph. The authors' own code is
not public. Every node is a product of affine maps and efficacies, without an activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from dmd_repro.nn.memory import TwoLayerMaps, run_memory
from dmd_repro.nn.recurrent import lstm_states
from dmd_repro.shapes import MODALITIES

PATTERN = 100  # width inside every map of the graph, fixed in the reference
# node -> the vertices it reads; l, a, v are 0, 1, 2 in its name, and each edge has one of 19 efficacies, in this order
NODES = {
    "01": ("l", "a"),
    "02": ("l", "v"),
    "12": ("a", "v"),
    "012": ("l", "a", "v", "01", "02", "12"),
    "t": ("l", "a", "v", "01", "02", "12", "012"),
}
EFFICACIES = sum(len(vertices) for vertices in NODES.values())


def two_maps(n_in: int, width: int) -> nn.Sequential:
    """A map to the pattern's width and one to the node's, named `0` and `1.0` as in the reference."""
    return nn.Sequential(nn.Linear(n_in, PATTERN), nn.Sequential(nn.Linear(PATTERN, width)))


class FusionGraph(nn.Module):
    """All combinations of the modalities as nodes; each edge is weighed by an efficacy computed from the vertices."""

    def __init__(self, hidden: Mapping[str, int], width: int, *, train_nodes: bool) -> None:
        """`train_nodes`: the reference holds four of the five node nets where no optimizer finds them (frozen)."""
        super().__init__()
        total = sum(hidden.values())
        sizes = {**hidden, **dict.fromkeys(NODES, width)}
        inputs = {node: sum(sizes[v] for v in vertices) for node, vertices in NODES.items()}
        self.t_network = two_maps(inputs["t"], width)
        self.efficacy_model = nn.Sequential(
            nn.Linear(total, PATTERN), nn.Sequential(nn.Linear(PATTERN, width)), nn.Linear(width, EFFICACIES)
        )
        self.networks = nn.ModuleDict({node: two_maps(inputs[node], width) for node in NODES if node != "t"})
        self.networks.requires_grad_(train_nodes)

    def forward(self, vertices: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (..., H_m) to the top node (..., N), and efficacies and nodes by name."""
        efficacies = self.efficacy_model(torch.cat([vertices[m] for m in MODALITIES], dim=-1))
        known, edge = dict(vertices), 0
        for node, reads in NODES.items():
            weighed = [known[v] * efficacies[..., edge + i, None] for i, v in enumerate(reads)]
            edge += len(reads)
            net = self.t_network if node == "t" else self.networks[node]
            known[node] = net(torch.cat(weighed, dim=-1))
        top = known["t"]
        return top, {"efficacies": efficacies, **{f"node_{n}": known[n] for n in NODES if n != "t"}, "tau": top}


class GraphMemoryFusion(TwoLayerMaps):
    """Three LSTMs, the graph over the hidden states of two neighbouring steps, a gated memory, two linear maps."""

    def __init__(
        self, dims: Mapping[str, int], hidden: Mapping[str, int], memory: int, width: int,
        maps: Mapping[str, tuple[int, float]], *, train_nodes: bool,
    ) -> None:  # fmt: skip
        """`maps`: hidden width and dropout of att2, gamma1, gamma2 and out."""
        super().__init__()
        for m in MODALITIES:
            self.add_module(f"lstm_{m}", nn.LSTMCell(dims[m], hidden[m]))
        for m in MODALITIES:
            self.add_module(f"{m}_transform", nn.Linear(2 * hidden[m], hidden[m]))
        self.graph_mfn = FusionGraph(hidden, width, train_nodes=train_nodes)
        total = sum(hidden.values())
        ends = {"att2": (width, memory), "gamma1": (width + memory, memory), "gamma2": (width + memory, memory)}
        for name, (n_in, n_out) in {**ends, "out": (total + memory, 1)}.items():
            size, dropout = maps[name]
            self.add_maps(name, n_in, size, n_out, dropout)

    def forward(self, x: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """l, a, v -> (B, T, D_m), one T, to the prediction (B, 1), and what lies between by name, (T, B, .)."""
        between: dict[str, Tensor] = {}
        last, vertices = [], {}
        for m in MODALITIES:
            states, _ = lstm_states(getattr(self, f"lstm_{m}"), x[m])
            before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
            moved = getattr(self, f"{m}_transform")(torch.cat([before, states], dim=2))
            between[f"{m}_transform"], vertices[m] = moved, torch.relu(moved)
            last.append(states[-1])
        top, graph = self.graph_mfn(vertices)
        proposal = self.maps("att2", top)
        memory, gates = run_memory(top, proposal, partial(self.maps, "gamma1"), partial(self.maps, "gamma2"))
        summary = torch.cat([*last, memory], dim=1)
        said = self.maps("out", summary)
        return said, {**between, **graph, "att2": proposal, **gates, "last": summary}
