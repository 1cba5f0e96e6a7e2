"""Graph-MFN as a system: the net of `net.py` behind its input stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dmd_repro.nn.align import pool_to
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.base import Batch, ModelOutput
from dmd_repro.systems.graph_mfn.config import GraphMFNConfig
from dmd_repro.systems.graph_mfn.net import GraphMemoryFusion
from dmd_repro.systems.inputs import InputStage
from dmd_repro.systems.plain import PlainSystem

MAPS = ("att2", "gamma1", "gamma2", "out")
INNER_MAP = "graph_mfn.pattern"  # the reference copies one map into five places, so they start equal


class GraphMFN(PlainSystem):
    """Aligned sequences of one length; the reference would silently read the first steps of longer ones."""

    INNER: ClassVar[str] = "net."
    SHARED_INIT: ClassVar[Mapping[str, str]] = {
        f"graph_mfn.{net}.1.0.{part}": f"{INNER_MAP}.{part}"
        for net in ("t_network", "networks.01", "networks.02", "networks.12", "networks.012")
        for part in ("weight", "bias")
    }
    config: GraphMFNConfig

    def __init__(
        self,
        config: GraphMFNConfig,
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
        self.net = GraphMemoryFusion(
            dims,
            {m: getattr(c, f"hidden_{m}") for m in MODALITIES},
            c.memory,
            c.node,
            {n: (getattr(c, n), getattr(c, f"dropout_{n}")) for n in MAPS},
            train_nodes=c.nodes == "trained",
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """l, a, v -> (B, T_m, D_m) to the prediction (B, 1)."""
        x = {m: v if v.shape[1] == self.steps else pool_to(v, self.steps) for m, v in batch.inputs.items()}
        said, _ = self.net(self.inputs(x))
        return ModelOutput(said, {})
