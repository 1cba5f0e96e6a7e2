"""Graph-MFN's settings from the tensors of a file. The reference's own lack four of its nets."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told, by_modality, unequal, widths

NETWORKS = "graph_mfn.networks."


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes; unequal lengths need the pooling. Raises KeyError or IndexError on other tensors."""
    sizes: dict[str, Scalar] = by_modality("hidden", shapes, "lstm_*.weight_hh", 1)
    sizes |= {n: shapes[f"{n}_fc1.weight"][0] for n in ("att2", "gamma1", "gamma2", "out")}
    sizes |= {"node": shapes["att2_fc1.weight"][1], "memory": shapes["att2_fc2.weight"][0]}
    sizes |= {"align": "pool" if unequal(steps) else "none"}
    missing = mend = ""
    if not any(name.startswith(NETWORKS) for name in shapes):
        missing = f"its four node networks ({NETWORKS}*), which the reference leaves out of its checkpoints"
        mend = "Nothing can predict as it did; a run of ours keeps them, and dmd export writes them"
    return Told(sizes, dims=widths(shapes, "lstm_*.weight_ih"), beside=(NETWORKS,), missing=missing, mend=mend)
