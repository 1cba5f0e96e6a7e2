"""MISA's settings from the tensors of a file: the authors' code or MMSA's, told by a norm that neither reads."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.systems.misa.config import UNUSED_NORM
from dmd_repro.systems.told import Shapes, Told


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes and whose code it is. Raises KeyError, IndexError or ValueError on other tensors."""
    [width] = shapes["tlayer_norm.weight"]
    protocol = {width: name for name, width in UNUSED_NORM.items()}[width]
    return Told(
        {
            "d": shapes["shared.shared_1.weight"][0],
            "orthogonal": protocol == "official",
            "similarity": "adversarial" if any(name.startswith("discriminator.") for name in shapes) else "cmd",
        },
        dims={
            "l": shapes["project_t.project_t.weight"][1],
            **{m: shapes[f"{m}rnn1.weight_ih_l0"][1] for m in "av"},
        },
        open=("clip_scale", "lengths"),
        protocol=protocol,
    )
