"""TFN's settings from the tensors of a file: the port's and MMSA's names are the same."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.spec import Scalar
from dmd_repro.systems.told import Shapes, Told


def told(shapes: Shapes, steps: Mapping[str, int]) -> Told:
    """Read the sizes. Raises KeyError or IndexError on other tensors."""
    return pooled(shapes, {"post": shapes["post_fusion_layer_1.weight"][0]})


def pooled(shapes: Shapes, more: Mapping[str, Scalar]) -> Told:
    """Read the three subnets, which LMF has too."""
    (h_a, d_a), (h_v, d_v) = (shapes[f"{kind}_subnet.linear_1.weight"] for kind in ("audio", "video"))
    hidden = {"hidden_l": shapes["text_subnet.rnn.weight_hh_l0"][1], "hidden_a": h_a, "hidden_v": h_v}
    return Told(
        {**hidden, "text_out": shapes["text_subnet.linear_1.weight"][0], **more},
        dims={"l": shapes["text_subnet.rnn.weight_ih_l0"][1], "a": d_a, "v": d_v},
        open=("last_steps", "visual_scale", "pool_sum", "pad_side"),
    )
